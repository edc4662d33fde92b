//! What answers tell about limits (draft-ietf-httpapi-ratelimit-headers-10, and the older `X-RateLimit-*`). It must not
//! count anything.

use core::fmt::Write as _;

use super::{
    Tells,
    pace::{Pace, seconds},
};

/// How a subject stands under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Name of the limit.
    pub name: Box<str>,
    /// Its rate for this subject.
    pub pace: Pace,
    /// What is told about it.
    pub tells: Tells,
    /// Requests left now; between two readings of the shared count as this worker knows it.
    pub left: u64,
    /// Seconds until all of them are there again.
    pub reset: u64,
    /// Nanoseconds until there is one; 0: there is.
    pub wait: u64,
}

/// Too many: how the subject stands under every limit that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// All of them, at least one with a wait.
    pub standings: Vec<Standing>,
}

impl Exceeded {
    /// Seconds until another attempt can succeed; `None` where the limit that takes longest does not tell.
    pub fn retry_after(&self) -> Option<u64> {
        let longest = self.standings.iter().max_by_key(|standing| standing.wait)?;
        longest.tells.retry_after.then(|| seconds(longest.wait).max(1))
    }
}

/// The headers of an answer. Names are plain and the rest are numbers: nothing in them has to be encoded.
pub fn told(standings: &[Standing]) -> Vec<(&'static str, Vec<u8>)> {
    let mut headers = Vec::new();
    let (mut policy, mut now) = (String::new(), String::new());
    for Standing { name, pace, left, reset, .. } in standings.iter().filter(|standing| standing.tells.ratelimit) {
        let comma = if policy.is_empty() { "" } else { ", " };
        let rate = pace.rate();
        // Writing into a text cannot fail.
        let _ = write!(policy, "{comma}\"{name}\";q={};w={}", rate.requests, rate.seconds);
        let _ = write!(now, "{comma}\"{name}\";r={left};t={reset}");
    }
    if !policy.is_empty() {
        headers.push(("ratelimit-policy", policy.into_bytes()));
        headers.push(("ratelimit", now.into_bytes()));
    }
    let strictest = standings.iter().filter(|standing| standing.tells.x_ratelimit);
    if let Some(one) = strictest.min_by_key(|standing| (standing.left, core::cmp::Reverse(standing.wait))) {
        for (name, value) in [
            ("x-ratelimit-limit", u64::from(one.pace.rate().requests)),
            ("x-ratelimit-remaining", one.left),
            ("x-ratelimit-reset", one.reset),
        ] {
            headers.push((name, value.to_string().into_bytes()));
        }
    }
    headers
}
