//! A refusal to an answer: the one place that turns a code into status, headers and body. It must not see why.

use tollgate_protocol::{Code, problem};

use super::{Facts, encode::encode};
use crate::limits::{Exceeded, told};

/// A complete local answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why; also Envoy's response-code detail.
    pub code: Code,
    /// Names and values; every value is visible ASCII and spaces.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// `application/problem+json`; in gRPC, the text of `grpc-message`.
    pub body: Vec<u8>,
    /// For filter state.
    pub facts: Facts,
}

impl Reply {
    /// The answer to a request that came too soon.
    pub fn limited(exceeded: &Exceeded, realm: &str, request_id: &[u8]) -> Self {
        let mut reply = Self::refuse(Code::RateLimited, realm, request_id);
        // The catalogue's time is a guess; this one is known, or not to be told.
        reply.headers.retain(|(name, _)| *name != "retry-after");
        if let Some(seconds) = exceeded.retry_after() {
            reply.headers.push(("retry-after", seconds.to_string().into_bytes()));
        }
        reply.headers.extend(told(&exceeded.standings));
        let longest = exceeded.standings.iter().max_by_key(|standing| standing.wait);
        if let Some(limit) = longest {
            reply.facts.push(("tollgate.limit", encode(&limit.name)));
        }
        reply
    }

    /// The answer for a code. `realm` is checked when the plugin is configured; `request_id` may be any bytes.
    pub fn refuse(code: Code, realm: &str, request_id: &[u8]) -> Self {
        let id_is_plain = request_id.len() <= 128 && request_id.iter().all(u8::is_ascii_graphic);
        let request_id = if id_is_plain { core::str::from_utf8(request_id).unwrap_or_default() } else { "" };
        let problem = problem::Problem::new(code, request_id);
        let mut headers =
            vec![("content-type", problem::MEDIA_TYPE.as_bytes().to_vec()), ("cache-control", b"no-store".to_vec())];
        if let Some(challenge) = code.challenge() {
            let mut value = format!("Bearer realm=\"{realm}\"");
            if let Some(error) = challenge.error() {
                value.push_str(&format!(", error=\"{error}\""));
            }
            headers.push(("www-authenticate", value.into_bytes()));
        }
        if let Some(seconds) = code.retry_after() {
            headers.push(("retry-after", seconds.to_string().into_bytes()));
        }
        Self {
            code,
            headers,
            // A struct of texts and numbers always serializes.
            body: serde_json::to_vec(&problem).unwrap_or_default(),
            facts: vec![("tollgate.code", encode(code.as_str()))],
        }
    }

    /// The same for a call of gRPC. Envoy makes a trailers-only answer of it: our content type would stand where gRPC
    /// needs its own, and the body becomes `grpc-message`, which people read.
    #[must_use]
    pub fn into_grpc(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != "content-type");
        self.body = format!("{}: {}", self.code, self.code.detail()).into_bytes();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_401_challenges_and_a_503_says_when_to_come_back() {
        let header = |reply: &Reply, name: &str| {
            reply.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| String::from_utf8(v.clone()).unwrap())
        };
        let reply = Reply::refuse(Code::TokenExpired, "shop", b"id-1");
        assert_eq!(header(&reply, "www-authenticate").unwrap(), r#"Bearer realm="shop", error="invalid_token""#);
        let body: problem::Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((body.status, body.code, body.request_id.as_str()), (401, Code::TokenExpired, "id-1"));
        let reply = Reply::refuse(Code::MissingCredential, "shop", b"");
        assert_eq!(header(&reply, "www-authenticate").unwrap(), r#"Bearer realm="shop""#);
        let reply = Reply::refuse(Code::NotReady, "shop", b"");
        assert_eq!(header(&reply, "retry-after").unwrap(), "1");
        assert_eq!(header(&reply, "www-authenticate"), None);
    }

    #[test]
    fn a_call_of_grpc_gets_a_message_and_no_content_type_of_ours() {
        let reply = Reply::refuse(Code::TokenExpired, "shop", b"id-1").into_grpc();
        assert!(reply.headers.iter().all(|(name, _)| *name != "content-type"));
        assert!(reply.headers.iter().any(|(name, _)| *name == "www-authenticate"));
        assert_eq!(reply.body, b"token_expired: The token has expired. Get a new one.");
    }

    #[test]
    fn a_hostile_request_id_is_left_out() {
        let reply = Reply::refuse(Code::RouteDenied, "r", b"a\r\nset-cookie: x");
        let body: problem::Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body.request_id, "");
    }
}
