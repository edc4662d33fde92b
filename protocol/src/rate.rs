//! So many requests in a time. It must not know who is counted, nor what a text of it looks like.

use serde::{Deserialize, Serialize};

/// So many requests in so many seconds, and how many may come at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests in one period, at least 1.
    pub requests: u32,
    /// Length of the period in seconds, at least 1.
    pub seconds: u32,
    /// Most requests at one moment, at least 1; absent: as many as in one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}
