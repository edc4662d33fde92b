//! Users, keys, sessions and changes: data and their rules. Nothing here knows JSON, a store or HTTP.

mod api_key;
pub mod audit;
mod bucket;
mod change;
pub mod clerk;
mod email;
mod imported;
pub mod ledger;
mod page;
mod rate;
mod session;
mod time;
mod user;

pub use api_key::{ApiKey, KeyFilter, KeyId, KeyStanding, MAX_NAME_CHARS, MAX_SCOPES, PlainKey, Scope};
pub use audit::{Actor, AuditEntry, Stamp};
pub use bucket::BucketPace;
pub use change::{FeedEntry, Happening};
pub use email::Email;
pub use imported::ImportedUser;
pub use page::PageKey;
pub use rate::{Rate, RateFault};
pub use session::{Presented, Session, SessionId, TokenHash};
pub use time::Timestamp;
pub use user::{ClerkIdentity, FIRST_TOKENS, Revision, Role, Subscription, User, UserFilter, UserId, UserPatch};
