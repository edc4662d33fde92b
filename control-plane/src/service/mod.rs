//! The use cases: who a credential belongs to, users, keys, sessions, settings. Nothing here knows HTTP or a database driver.

pub mod board;
pub mod credits;
pub mod directory;
mod error;
pub mod foresee;
pub mod identities;
pub mod key_sets;
pub mod keys;
pub mod policies;
pub mod policy;
mod policy_cost;
pub mod policy_file;
pub mod policy_place;
pub mod profile;
pub mod refusals;
pub mod resolve;
pub mod revocations;
pub mod seen;
pub mod sessions;
pub mod shared_limits;
pub mod sign_in;
pub mod transfer;
pub mod users;
pub mod webhooks;

pub use error::{InputFault, ServiceError};

use crate::domain::PageKey;

/// Most records of one page of a list.
pub const MAX_PAGE: usize = 200;

/// Cuts a list, of which one more than `limit` was asked for, into a page and the place where the next one begins.
fn page<T>(mut found: Vec<T>, limit: usize, key: impl Fn(&T) -> PageKey) -> (Vec<T>, Option<PageKey>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(key);
    (found, next)
}
