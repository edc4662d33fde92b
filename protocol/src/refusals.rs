//! What an edge tells of requests that it refused, or would have refused on routes that are only watched: counts, and
//! what can be asked about a single one for some minutes. Nothing here is a secret: no credential, no path as it was sent.

use serde::{Deserialize, Serialize};

use crate::Code;

/// Path of the reports: `POST /edge/v1/refusals`.
pub const REFUSALS_PATH: &str = "/edge/v1/refusals";
/// Path by which a command asks about one refusal: `GET /edge/v1/refusals/{request id}`.
pub const REFUSAL_PATH: &str = "/edge/v1/refusals/{id}";
/// Largest report, in bytes.
pub const MAX_REFUSALS_BODY: usize = 1024 * 1024;
/// Most entries of each list of one report.
pub const MAX_REFUSALS: usize = 512;
/// Most request ids of one count.
pub const MAX_SAMPLES: usize = 5;

/// A batch. One that was not answered is sent again as it was; the next one comes after it, so a batch is known by its
/// node and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReport {
    /// Name of the reporting worker for as long as it lives.
    pub node: String,
    /// Number of the batch, from 1.
    pub batch: u64,
    /// What would have been refused on routes that are only watched, since the last batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<WatchedCount>,
    /// Single requests: all of them, or the first ones of each second where there were too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// How often a route would have refused requests for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedCount {
    /// The route, as [`Refused::route`] has it.
    pub route: String,
    /// Why.
    pub code: Code,
    /// How often.
    pub count: u64,
    /// The first time, in unix seconds.
    pub first: u64,
    /// The last time, in unix seconds.
    pub last: u64,
    /// Ids of some of the requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

/// One request that was refused, or would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its id, which its answer names, too.
    pub request_id: String,
    /// When, in unix seconds.
    pub at: u64,
    /// Why.
    pub code: Code,
    /// Its HTTP method.
    pub method: String,
    /// The route that decided, as it is written: `GET,PUT api.example.com/a/**`; `default` where none does, and `none`
    /// where it came to no route.
    pub route: String,
    /// What carried its credential.
    pub carrier: Carrier,
    /// Whose credential it was, where that was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// It passed all the same: the route is only watched.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub watched: bool,
}

/// What carries a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// Nothing.
    None,
    /// An API key.
    ApiKey,
    /// A token in a header.
    Token,
    /// A token in a cookie.
    Cookie,
    /// Something that cannot be read, or a carrier that this version does not know.
    #[serde(other)]
    Unreadable,
}

impl Carrier {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ApiKey => "api_key",
            Self::Token => "token",
            Self::Cookie => "cookie",
            Self::Unreadable => "unreadable",
        }
    }
}
