//! What the filter and the control plane say to each other, and the words both use for the same thing.
//!
//! This crate holds shapes and names only: the edge API's messages, the plugin configuration, the reserved headers,
//! the closed catalogue of refusal codes and the format of an API key. It must not know a host, a clock, a network,
//! randomness or a store. Operator input ([`config`]) refuses unknown fields; machine input tolerates them, so that
//! a newer control plane can speak to an older filter.

#![warn(missing_docs)]

pub mod api_key;
pub mod code;
pub mod config;
pub mod credits;
pub mod cursor;
pub mod edge;
pub mod headers;
pub mod identity;
pub mod issuer;
pub mod limits;
pub mod policy;
pub mod problem;
pub mod rate;
pub mod refusals;
pub mod revocation;

pub use api_key::KeyHash;
pub use code::Code;
pub use cursor::Cursor;
pub use identity::{Identity, KeyFacts, Method};
pub use rate::Rate;
pub use revocation::{Revocation, Revoked};
