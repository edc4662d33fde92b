//! The edge API's message about limits that hold over all Envoys. An Envoy lets requests through on a small share of each
//! bucket that it holds in advance, reports what it has used, and hears how much is left for all.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// Path of reports: `POST /edge/v1/limits`.
pub const LIMITS_PATH: &str = "/edge/v1/limits";
/// Most buckets of one [`LimitsReport`].
pub const MAX_BUCKETS: usize = 500;
/// Largest body of it, in bytes.
pub const MAX_LIMITS_BODY: usize = 128 * 1024;
/// An Envoy that uses such limits reports at least this often, in seconds: so it is counted as one that shares.
pub const REPORT_SECONDS: u64 = 5;
/// Who has not reported for so many seconds does not share any more.
pub const GONE_SECONDS: u64 = 15;

/// Body of `limits`: what one worker of an Envoy has let through since its last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsReport {
    /// Which Envoy: the same for all its workers, 1 to 64 printable ASCII characters.
    pub node: String,
    /// What was used of which bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<BucketUse>,
}

/// What was used of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUse {
    /// The name of the bucket: the same at every Envoy, 1 to 64 printable ASCII characters.
    pub bucket: String,
    /// Its rate for this subject.
    pub rate: Rate,
    /// Requests since the last report.
    pub used: u32,
}

/// Answer to `limits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsAnswer {
    /// How many Envoys share these limits.
    pub envoys: u32,
    /// How the buckets of the report stand, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketState>,
}

/// How a bucket stands after a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketState {
    /// Requests that are left for all Envoys together.
    pub left: u64,
    /// Where none is left: microseconds until there is one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_us: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
