//! The body of a refusal (RFC 9457, `application/problem+json`). It must not hold anything a client sent,
//! but the request id that Envoy made.

use serde::{Deserialize, Serialize};

use crate::Code;

/// The media type of [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One refusal, as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URN that names the kind of problem: `urn:tollgate:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short human title.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// The word of the catalogue.
    pub code: Code,
    /// What a client can do about it.
    pub detail: String,
    /// Envoy's `x-request-id`, empty where there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

impl Problem {
    /// The problem of a code. `request_id` is what Envoy put into `x-request-id`.
    pub fn new(code: Code, request_id: &str) -> Self {
        Self {
            kind: format!("urn:tollgate:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: code.detail().to_owned(),
            request_id: request_id.to_owned(),
        }
    }
}
