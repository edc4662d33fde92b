//! The use cases: who a credential belongs to, users, keys, settings. Nothing here knows HTTP or a database driver.

pub mod board;
mod error;
pub mod key_sets;
pub mod keys;
pub mod policy;
pub mod policy_file;
pub mod resolve;
pub mod users;

pub use error::{InputFault, ServiceError};
