//! What the feed tells: which facts an Envoy must look at anew. It must not hold the facts themselves.

use tollgate_protocol::{KeyHash, Revocation};

use super::{Timestamp, UserId};

/// Something that happened and that edges must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A user's facts changed, or the user is gone.
    User(UserId),
    /// A key was issued or changed.
    Key(KeyHash),
    /// A key is refused from now on.
    KeyRevoked(KeyHash),
    /// A session, a token or a signing key is refused from now on.
    Revoked(Revocation),
    /// Somebody waits for tokens of this user that Envoys hold.
    Recall(UserId),
    /// A kind that this version does not know: written by a newer one.
    Unknown,
}

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its number.
    pub seq: u64,
    /// When it happened, where that is known.
    pub at: Option<Timestamp>,
    /// What happened.
    pub happening: Happening,
}
