//! The edge API's messages about credits: what an Envoy has counted, and pieces of balances that are leased to it. All
//! of them may be sent again: the second time changes nothing and is answered the same.

use serde::{Deserialize, Serialize};

/// Path of counted use: `POST /edge/v1/usage`.
pub const USAGE_PATH: &str = "/edge/v1/usage";
/// Path of leases: `POST /edge/v1/leases`.
pub const LEASES_PATH: &str = "/edge/v1/leases";
/// Most counts, and most reports about leases, of one [`UsageReport`].
pub const MAX_REPORTED: usize = 500;
/// Most leases that one [`LeaseRequest`] takes, renews and settles in all.
pub const MAX_LEASES: usize = 200;
/// Largest body of both, in bytes.
pub const MAX_CREDITS_BODY: usize = 256 * 1024;

/// Body of `usage`: a numbered batch of what one Envoy has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Which Envoy: a random name of this one life of it, 1 to 64 printable ASCII characters.
    pub node: String,
    /// Number of the batch in that life; below 2^53. The same number again is the same batch.
    pub batch: u64,
    /// Requests since the last batch, by user and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<UsageCount>,
    /// What has been used of leases, in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<LeaseUse>,
}

/// Requests of one user and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCount {
    /// The user's id in the store.
    pub user_id: String,
    /// The key's public id, where the credential was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// How many requests.
    pub requests: u64,
    /// How many tokens they cost. For statistics: leases charge for them.
    #[serde(default)]
    pub tokens: u64,
    /// When the last of them was, in Unix seconds.
    pub last_used_at: u64,
}

/// What an Envoy has used of a lease so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseUse {
    /// The lease.
    pub id: String,
    /// Tokens used in all, since it was taken: late, twice or out of order does no harm.
    pub used: u64,
}

/// Answer to `usage`: what could not be applied. The rest was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageAnswer {
    /// Users that do not exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_users: Vec<String>,
    /// Leases that do not exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_leases: Vec<String>,
    /// Leases that are settled: what was used is booked, but nothing more may be drawn from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_leases: Vec<String>,
}

/// Body of `leases`. Settlements go first, then renewals, then new leases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Which Envoy: as in [`UsageReport::node`].
    pub node: String,
    /// Leases to be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub take: Vec<LeaseTake>,
    /// Leases to be kept longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renew: Vec<LeaseRenewal>,
    /// Leases to be given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settle: Vec<LeaseUse>,
}

/// A wish for a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTake {
    /// Name of the wish among all of this node, 1 to 64 printable ASCII characters: the same name again is the same wish.
    pub request: String,
    /// Whose tokens.
    pub user_id: String,
    /// How many tokens, at most.
    pub wanted: u64,
    /// How many tokens, at least; if not so many are there, none.
    pub least: u64,
    /// For how long, in seconds: 1 to 600.
    pub seconds: u32,
    /// No more than this part of what is there: 8 means an eighth. But never less than `least`, if that is there.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub share: u32,
    /// Somebody waits for it: where it is not there, all Envoys are asked to give back what they do not need.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub recall: bool,
}

const fn whole() -> u32 {
    1
}

fn is_whole(share: &u32) -> bool {
    *share == 1
}

/// A lease that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRenewal {
    /// The lease.
    pub id: String,
    /// Tokens used in all.
    pub used: u64,
    /// For how long from now, in seconds: 1 to 600. A lease never becomes shorter.
    pub extend_seconds: u32,
}

/// Answer to `leases`, each list in the order of the request's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Of the wishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<LeaseTaken>,
    /// Of the renewals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renewed: Vec<LeaseState>,
    /// Of the settlements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<LeaseState>,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTaken {
    /// Name of the wish.
    pub request: String,
    /// The lease, or why there is none.
    #[serde(flatten)]
    pub outcome: TakeOutcome,
}

/// A lease, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TakeOutcome {
    /// Here it is.
    Granted {
        /// Its name from now on.
        id: String,
        /// How many tokens it holds.
        amount: u64,
        /// Unix seconds, by the control plane's clock, from which on nothing may be drawn any more.
        expires_at: u64,
    },
    /// Not enough is there.
    Exhausted {
        /// Tokens that other leases of this user hold: what might come back.
        reserved: u64,
    },
    /// The wish is an old one, whose lease has been settled.
    Ended,
    /// No such user, or an outcome that this version does not know: there is no lease.
    #[serde(other)]
    Unknown,
}

/// What became of a renewal or a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseState {
    /// The lease.
    pub id: String,
    /// How it stands.
    #[serde(flatten)]
    pub outcome: LeaseOutcome,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LeaseOutcome {
    /// It goes on.
    Open {
        /// How many tokens it holds in all, used ones included.
        amount: u64,
        /// As in [`TakeOutcome::Granted`].
        expires_at: u64,
    },
    /// It is settled.
    Ended,
    /// No such lease, or an outcome that this version does not know: nothing may be drawn.
    #[serde(other)]
    Unknown,
}
