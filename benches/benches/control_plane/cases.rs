//! What is asked. It must not know how it is measured.

use serde_json::{Value, json};
use tollgate_protocol::{
    KeyHash,
    credits::{LEASES_PATH, USAGE_PATH},
    edge::{RESOLVE_PATH, ResolveRequest},
};
use tollgate_tests::http::Request;

use crate::world::{SECRET, World, clerk};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// The key of a user.
    KnownKey,
    /// A key that was never issued.
    UnknownKey,
    /// The session of a user who is linked.
    KnownClerk,
    /// The first session of somebody: a user is made.
    NewClerk,
    /// A hundred counts in one batch.
    Usage,
    /// A lease is taken.
    Lease,
    /// All held long polls hear of one change.
    FanOut,
}

/// Every case, in the order of each turn.
pub(crate) const CASES: &[Case] =
    &[Case::KnownKey, Case::UnknownKey, Case::KnownClerk, Case::NewClerk, Case::Usage, Case::Lease, Case::FanOut];

/// Counts of one batch.
pub(crate) const BATCH: usize = 100;

impl Case {
    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KnownKey => "resolve, known API key",
            Self::UnknownKey => "resolve, unknown API key",
            Self::KnownClerk => "resolve, known Clerk user",
            Self::NewClerk => "resolve, new Clerk user",
            Self::Usage => "usage, batch of 100",
            Self::Lease => "leases, take one",
            Self::FanOut => "sync, fan-out of a change",
        }
    }

    /// The request of a number; every number's is another one.
    pub(crate) fn request(self, world: &World, number: u64) -> Request {
        // A large odd step walks over all of them without following the order in which they were made.
        let known = number.wrapping_mul(7_919) % world.users.len().max(1) as u64;
        let at = usize::try_from(known).unwrap_or_default();
        match self {
            Self::KnownKey => post(RESOLVE_PATH, &resolve(&ResolveRequest::ApiKey { hash: world.hashes[at] })),
            Self::UnknownKey => {
                let mut hash = [0xA5; 32];
                hash[..8].copy_from_slice(&number.to_be_bytes());
                post(RESOLVE_PATH, &resolve(&ResolveRequest::ApiKey { hash: KeyHash(hash) }))
            }
            Self::KnownClerk => post(RESOLVE_PATH, &resolve(&clerk(known))),
            Self::NewClerk | Self::FanOut => post(RESOLVE_PATH, &resolve(&clerk(1_000_000_000 + number))),
            Self::Usage => post(USAGE_PATH, &batch(world, at, number)),
            Self::Lease => post(LEASES_PATH, &lease(world, at, number)),
        }
    }
}

fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body.to_string()).header("Content-Type", "application/json").bearer(SECRET)
}

fn resolve(request: &ResolveRequest) -> Value {
    serde_json::to_value(request).unwrap_or_default()
}

fn batch(world: &World, first: usize, number: u64) -> Value {
    let counts = world.users.iter().cycle().skip(first).take(BATCH).map(|(user, key)| {
        json!({"user_id": user, "key_id": key, "requests": 3, "tokens": 5, "last_used_at": 1_790_000_000_u64})
    });
    json!({"node": "bench", "batch": number, "requests": counts.collect::<Vec<_>>()})
}

fn lease(world: &World, at: usize, number: u64) -> Value {
    let take = json!({
        "request": format!("r{number}"), "user_id": world.users[at].0, "wanted": 1, "least": 1, "seconds": 60,
    });
    json!({"node": "bench", "take": [take]})
}
