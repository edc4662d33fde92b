//! Tokens (credits) at the edge: what a worker holds of users' balances, and what a request has cost. Nothing here knows
//! a host, a header map or the network: messages to the control plane are data.
//!
//! Each worker is a node of its own for the control plane, with leases of its own. To share leases among the workers of
//! an Envoy, each request would have to read, open, change, seal and write a shared slot behind the one mutex of the
//! host; so it costs nothing but memory of the VM, and what other workers hold is recalled like what other Envoys hold.

mod json;
mod meter;
mod purse;
mod report;
mod wallet;

pub use json::Finder;
pub use meter::{Charge, Meter};
pub use report::Place;
pub use wallet::{HOLD_MS, Reserved, Wallet};
