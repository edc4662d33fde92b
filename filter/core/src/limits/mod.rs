//! How often somebody may come. Counted over all workers of one Envoy: the times of buckets (`limits/pace.rs`) lie in sets
//! in the memory that the workers share (`limits/set.rs`); a worker takes a few requests at once and uses them up
//! (`limits/limiter.rs`), so that it does not write for each. Of a limit over all Envoys, each counts a share in the same
//! way, and hears from the control plane how much is left for all (`limits/shares.rs`). Nothing here knows a header of the request or a credential.

mod address;
mod limiter;
mod pace;
mod set;
mod shares;
#[cfg(test)]
mod tests;
mod told;

use std::rc::Rc;

pub use address::client;
pub use limiter::{ABSENT, Limiter, Want};
pub use pace::{MAX_SPAN_SECONDS, Moment, Pace};
pub use set::{Kind, PLACES, SETS, Set};
pub use told::{Exceeded, Standing, told};
use tollgate_protocol::policy::{By, LimitHeader, Scope};

/// A limit, compiled.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Its name: small letters, digits, `-` and `_`.
    pub name: Box<str>,
    /// Who has a count of their own.
    pub by: By,
    /// Where requests are counted together.
    pub scope: Scope,
    /// What answers tell about it.
    pub tells: Tells,
    /// For whoever has no tier.
    pub(crate) rate: Pace,
    pub(crate) tiers: Box<[(Box<str>, Pace)]>,
}

impl Limit {
    /// The rate for a user of this subscription.
    pub fn pace(&self, subscription: Option<&str>) -> Pace {
        let tier = self.tiers.iter().find(|(name, _)| Some(&**name) == subscription);
        tier.map_or(self.rate, |(_, pace)| *pace)
    }
}

/// Limits of a route. Compiled once for all routes that name them.
pub type Limits = Box<[Rc<Limit>]>;

/// What answers tell about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tells {
    ratelimit: bool,
    x_ratelimit: bool,
    retry_after: bool,
}

impl Tells {
    /// Nothing.
    pub const NOTHING: Self = Self { ratelimit: false, x_ratelimit: false, retry_after: false };
    /// Everything.
    pub const ALL: Self = Self { ratelimit: true, x_ratelimit: true, retry_after: true };

    /// Whether anything is told of a request that passes.
    pub(crate) const fn of_passing(self) -> bool {
        self.ratelimit || self.x_ratelimit
    }

    /// These.
    pub fn of(headers: &[LimitHeader]) -> Self {
        let has = |header| headers.contains(&header);
        Self {
            ratelimit: has(LimitHeader::Ratelimit),
            x_ratelimit: has(LimitHeader::XRatelimit),
            retry_after: has(LimitHeader::RetryAfter),
        }
    }
}

/// Who is counted. Two with the same name under different limits are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// A user, by id.
    User(&'a str),
    /// An API key, by its public id.
    Key(&'a str),
    /// A client, by [`client`].
    Address([u8; 16]),
    /// A route, as it is written.
    Endpoint(&'a str),
}
