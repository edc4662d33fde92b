//! Development mode: everything a newcomer needs on one machine, without an account anywhere. It starts the same
//! control plane as `tollgate serve`; nothing in a server may depend on it.

mod args;
mod banner;
pub mod certs;
pub mod credentials;
pub mod data;
pub mod echo;
pub mod envoy;
mod fault;
pub mod issuer;
pub mod mint;
pub mod ports;
mod run;
mod settings;
pub mod shipped;
mod signals;
mod template;

pub use args::{Args, BackendArgs, CertsArgs, Command, CredentialsArgs, Faults, RunArgs};
pub use fault::DevFault;
pub use run::run;
