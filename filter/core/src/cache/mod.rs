//! What is remembered between requests, always within fixed bounds. Nothing here decides who may pass, and nothing
//! here reads a clock: what an entry is worth now is asked again at each hit.

mod bounded;
mod fresh;
mod revoked;
mod seal;

pub use bounded::Bounded;
pub use fresh::{Freshness, Touch};
pub use revoked::{Mark, PAGES, Page, RevokedSet};
pub use seal::{Sealer, slot};
