//! What is asked. It must not know how it is measured.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate::clock::{Clock as _, SystemClock};
use tollgate_protocol::{
    credits::{LEASES_PATH, USAGE_PATH},
    edge::{RESOLVE_PATH, ResolveRequest},
};
use tollgate_tests::http::{Answer, Request};

use crate::{
    people,
    world::{SECRET, World},
};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// An answer that needs no store: what any call costs.
    Health,
    /// The key of a user.
    KnownKey,
    /// A key that was never issued.
    UnknownKey,
    /// The session of a user who is linked.
    KnownClerk,
    /// The first session of somebody: a user is made.
    NewClerk,
    /// A user issues a key.
    IssueKey,
    /// A hundred counts in one batch.
    Usage,
    /// A lease is taken.
    Lease,
    /// All held long polls hear of one change.
    FanOut,
}

/// Every case, in the order of each turn.
pub(crate) const CASES: &[Case] = &[
    Case::Health,
    Case::KnownKey,
    Case::UnknownKey,
    Case::KnownClerk,
    Case::NewClerk,
    Case::IssueKey,
    Case::Usage,
    Case::Lease,
    Case::FanOut,
];

/// Counts of one batch.
const BATCH: u64 = 100;

impl Case {
    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Health => "an answer without the store",
            Self::KnownKey => "resolve, known API key",
            Self::UnknownKey => "resolve, unknown API key",
            Self::KnownClerk => "resolve, known Clerk user",
            Self::NewClerk => "resolve, new Clerk user",
            Self::IssueKey => "issue an API key",
            Self::Usage => "usage, batch of 100",
            Self::Lease => "leases, take one",
            Self::FanOut => "sync, fan-out of a change",
        }
    }

    /// Who is asked: the public API where people ask, else the listener of the edges.
    pub(crate) fn listener(self, world: &World) -> SocketAddr {
        if self == Self::IssueKey { world.api } else { world.edge }
    }

    /// Whether an answer is the one that the case is about: not, for example, a refusal of somebody who is not there.
    pub(crate) fn is_good(self, answer: &Answer) -> bool {
        let says = |word: &str| answer.status == 200 && answer.text().contains(word);
        match self {
            Self::KnownKey | Self::KnownClerk | Self::NewClerk => says("\"identity\":"),
            Self::UnknownKey => says("\"refused\":"),
            Self::IssueKey => answer.status == 201,
            Self::Health | Self::Usage | Self::Lease | Self::FanOut => answer.status == 200,
        }
    }

    /// The request of a number; every number's is another one.
    pub(crate) fn request(self, world: &World, number: u64) -> Request {
        // A large odd step walks over all of them without following the order in which they were made.
        let known = number.wrapping_mul(7_919) % world.people;
        let of_key = |hash| post(RESOLVE_PATH, &resolve(&ResolveRequest::ApiKey { hash }));
        match self {
            Self::Health => Request::get("/healthz"),
            Self::KnownKey => of_key(people::key_hash(known)),
            Self::UnknownKey => of_key(people::unknown_hash(number)),
            Self::KnownClerk => post(RESOLVE_PATH, &resolve(&people::clerk(known))),
            Self::NewClerk | Self::FanOut => post(RESOLVE_PATH, &resolve(&people::clerk(1_000_000_000 + number))),
            Self::IssueKey => {
                let request = json_request("/api/keys", &json!({"name": "laptop"}));
                request.header(
                    "x-auth-assertion",
                    world.signer.sign(&people::user_id(known), SystemClock.now().unix_seconds()),
                )
            }
            Self::Usage => post(USAGE_PATH, &batch(world, known, number)),
            Self::Lease => post(LEASES_PATH, &lease(known, number)),
        }
    }
}

fn json_request(path: &str, body: &Value) -> Request {
    Request::post(path, body.to_string()).header("Content-Type", "application/json")
}

/// As an Envoy asks.
fn post(path: &str, body: &Value) -> Request {
    json_request(path, body).bearer(SECRET)
}

fn resolve(request: &ResolveRequest) -> Value {
    serde_json::to_value(request).unwrap_or_default()
}

fn batch(world: &World, first: u64, number: u64) -> Value {
    let counts = (first..first + BATCH).map(|person| {
        let person = person % world.people;
        let (user, key) = (people::user_id(person), people::key_id(person));
        json!({"user_id": user, "key_id": key, "requests": 3, "tokens": 5, "last_used_at": 1_790_000_000_u64})
    });
    json!({"node": "bench", "batch": number, "requests": counts.collect::<Vec<_>>()})
}

fn lease(person: u64, number: u64) -> Value {
    let take = json!({
        "request": format!("r{number}"), "user_id": people::user_id(person), "wanted": 1, "least": 1, "seconds": 60,
    });
    json!({"node": "bench", "take": [take]})
}
