//! A session of the older sign-in: from a login to a logout, and which of its refresh tokens is good. It must not make
//! randomness, nor hold a token.

use super::{Timestamp, UserId};

/// How long the refresh token before the last one may be used again, in seconds: its answer may have been lost.
const RETRY_SECONDS: i64 = 10;

/// Id of a session, the claim `sid` of its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// Takes an id over.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of a secret that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last made.
    pub refreshed_at: Timestamp,
    /// From when on its refresh token is refused.
    pub expires_at: Timestamp,
    /// Unix seconds from which on none of its access tokens is good by itself.
    pub access_until: u64,
    /// Of the part that all refresh tokens of this session share: whoever shows it has had one of them.
    pub family: TokenHash,
    /// Of the refresh token that is good.
    pub current: TokenHash,
    /// Of the one before it, and when it was used.
    pub previous: Option<(TokenHash, Timestamp)>,
    /// From which address, shortened.
    pub address: Option<String>,
    /// With which program, shortened.
    pub user_agent: Option<String>,
}

/// What a refresh token of the session is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// It is the good one.
    Current,
    /// It was used a moment ago, and its answer may have been lost.
    Retry,
    /// It was used before: two parties have the tokens of this session (RFC 9700 section 4.14.2).
    Reused,
    /// The session is over.
    Over,
}

impl Session {
    /// Judges a refresh token that belongs to this session by its family.
    pub fn judge(&self, token: &TokenHash, now: Timestamp) -> Presented {
        let retry = |(previous, used_at): (TokenHash, Timestamp)| {
            previous == *token && now < used_at.plus_seconds(RETRY_SECONDS)
        };
        if self.expires_at <= now {
            Presented::Over
        } else if self.current == *token {
            Presented::Current
        } else if self.previous.is_some_and(retry) {
            Presented::Retry
        } else {
            Presented::Reused
        }
    }

    /// The session after a refresh token was used: `next` is the good one then. The token that a retry shows stays the
    /// one before, and the moment of its first use counts.
    #[must_use]
    pub fn rotated(&self, used: TokenHash, next: TokenHash, now: Timestamp, expires_at: Timestamp) -> Self {
        let first_use = self.previous.filter(|(previous, _)| *previous == used).map_or(now, |(_, at)| at);
        let previous = Some((used, first_use));
        Self { current: next, previous, refreshed_at: now, expires_at, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const fn hash(byte: u8) -> TokenHash {
        TokenHash([byte; 32])
    }

    fn session() -> Session {
        Session {
            id: SessionId::new("ses_1"),
            user_id: UserId::new("u"),
            created_at: NOW,
            refreshed_at: NOW,
            expires_at: NOW.plus_seconds(100),
            access_until: 0,
            family: hash(0),
            current: hash(1),
            previous: None,
            address: None,
            user_agent: None,
        }
    }

    #[test]
    fn each_token_is_good_once_and_the_last_one_for_ten_seconds_more() {
        let later = |seconds| NOW.plus_seconds(seconds);
        let first = session();
        let second = first.rotated(hash(1), hash(2), later(10), later(200));
        let retried = second.rotated(hash(1), hash(3), later(15), later(200));
        for (what, session, token, at, expect) in [
            ("good", &first, 1, 99, Presented::Current),
            ("over", &first, 1, 100, Presented::Over),
            ("invented", &first, 9, 0, Presented::Reused),
            ("good", &second, 2, 11, Presented::Current),
            ("lost answer", &second, 1, 19, Presented::Retry),
            ("used again", &second, 1, 20, Presented::Reused),
            ("good", &retried, 3, 16, Presented::Current),
            ("lost again", &retried, 1, 19, Presented::Retry),
            ("the time is not made longer", &retried, 1, 20, Presented::Reused),
            ("somebody else has retried", &retried, 2, 16, Presented::Reused),
            ("over", &retried, 9, 200, Presented::Over),
        ] {
            assert_eq!(session.judge(&hash(token), later(at)), expect, "{what}: {token} at {at}");
        }
    }
}
