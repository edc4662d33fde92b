//! A refusal to an answer: the one place that turns a code into status, headers and body. It must not see why.

use core::cell::RefCell;
use std::{collections::BTreeMap, rc::Rc};

use tollgate_protocol::{Code, problem};

use super::encode::encode;
use crate::{
    limits::{Exceeded, told},
    request::RequestView,
};

/// A complete local answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why; also Envoy's response-code detail.
    pub code: Code,
    /// What is the same for every refusal with this code.
    made: Rc<Made>,
    is_grpc: bool,
    /// What answers of limits tell beside.
    more: Vec<(&'static str, Vec<u8>)>,
    /// `application/problem+json`; in gRPC, the text of `grpc-message`.
    pub body: Vec<u8>,
    /// The limit that was exceeded, encoded.
    limit: Option<Vec<u8>>,
}

impl Reply {
    /// Names and values; every value is visible ASCII and spaces.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let made = self.made.headers.iter().filter(|(name, _)| match *name {
            // Envoy makes a trailers-only answer of one of gRPC: our content type would stand where gRPC needs its own.
            CONTENT_TYPE => !self.is_grpc,
            // The catalogue's time is a guess; that of a limit is known, or not to be told.
            RETRY_AFTER => self.limit.is_none(),
            _ => true,
        });
        made.chain(&self.more).map(|(name, value)| (*name, value.as_slice()))
    }

    /// For filter state: names below `wasm.`, and values.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let limit = self.limit.as_ref().map(|limit| ("tollgate.limit", limit.as_slice()));
        core::iter::once(("tollgate.code", self.code.as_str().as_bytes())).chain(limit)
    }
}

const CONTENT_TYPE: &str = "content-type";
const RETRY_AFTER: &str = "retry-after";

/// What a code makes of an answer, whoever gets it.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    headers: Vec<(&'static str, Vec<u8>)>,
    /// The body of a request without an id.
    body: Vec<u8>,
}

/// All refusals of one plugin. Each is made once: a flood of junk is answered by copying.
#[derive(Debug)]
pub struct Replies {
    realm: Box<str>,
    made: RefCell<BTreeMap<Code, Rc<Made>>>,
}

impl Replies {
    /// `realm` is checked when the plugin is configured.
    pub fn new(realm: &str) -> Self {
        Self { realm: realm.into(), made: RefCell::default() }
    }

    /// The answer to a request that is refused with this code.
    pub fn refuse(&self, code: Code, request: &RequestView<'_>) -> Reply {
        let made = Rc::clone(self.made.borrow_mut().entry(code).or_insert_with(|| Rc::new(self.make(code))));
        let body = if request.grpc {
            // The body becomes `grpc-message`, which people read.
            format!("{code}: {}", code.detail()).into_bytes()
        } else {
            with_id(&made.body, request.request_id)
        };
        Reply { code, made, is_grpc: request.grpc, more: Vec::new(), body, limit: None }
    }

    /// The answer to a request that came too soon.
    pub fn limited(&self, exceeded: &Exceeded, request: &RequestView<'_>) -> Reply {
        let mut reply = self.refuse(Code::RateLimited, request);
        let retry_after = exceeded.retry_after().map(|seconds| (RETRY_AFTER, seconds.to_string().into_bytes()));
        reply.more = retry_after.into_iter().chain(told(&exceeded.standings)).collect();
        reply.limit = exceeded.standings.iter().max_by_key(|standing| standing.wait).map(|limit| encode(&limit.name));
        reply
    }

    fn make(&self, code: Code) -> Made {
        let mut headers =
            vec![(CONTENT_TYPE, problem::MEDIA_TYPE.as_bytes().to_vec()), ("cache-control", b"no-store".to_vec())];
        if let Some(challenge) = code.challenge() {
            let mut value = format!("Bearer realm=\"{}\"", self.realm);
            if let Some(error) = challenge.error() {
                value.push_str(&format!(", error=\"{error}\""));
            }
            headers.push(("www-authenticate", value.into_bytes()));
        }
        if let Some(seconds) = code.retry_after() {
            headers.push((RETRY_AFTER, seconds.to_string().into_bytes()));
        }
        // A struct of texts and numbers always serializes.
        Made { headers, body: serde_json::to_vec(&problem::Problem::new(code, "")).unwrap_or_default() }
    }
}

/// The body with the id that Envoy gave the request: the last member. An id that would have to be escaped was not made by
/// Envoy, and is left out.
fn with_id(body: &[u8], id: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    match body.strip_suffix(b"}") {
        Some(open) if !id.is_empty() && id.len() <= 128 && id.iter().all(is_plain) => {
            [open, br#","request_id":""#, id, br#""}"#].concat()
        }
        _ => body.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_protocol::Rate;

    use super::*;
    use crate::limits::{Pace, Standing, Tells};

    fn refuse(code: Code, request_id: &[u8], grpc: bool) -> Reply {
        Replies::new("shop").refuse(code, &RequestView { request_id, grpc, ..RequestView::default() })
    }

    #[test]
    fn a_401_challenges_and_a_503_says_when_to_come_back() {
        let header = |reply: &Reply, name: &str| {
            reply.headers().find(|(n, _)| *n == name).map(|(_, v)| String::from_utf8(v.to_vec()).unwrap())
        };
        let reply = refuse(Code::TokenExpired, b"id-1", false);
        assert_eq!(header(&reply, "www-authenticate").unwrap(), r#"Bearer realm="shop", error="invalid_token""#);
        let body: problem::Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((body.status, body.code, body.request_id.as_str()), (401, Code::TokenExpired, "id-1"));
        let reply = refuse(Code::MissingCredential, b"", false);
        assert_eq!(header(&reply, "www-authenticate").unwrap(), r#"Bearer realm="shop""#);
        let reply = refuse(Code::NotReady, b"", false);
        assert_eq!(header(&reply, "retry-after").unwrap(), "1");
        assert_eq!(header(&reply, "www-authenticate"), None);
    }

    #[test]
    fn the_limit_that_was_exceeded_is_told() {
        let pace = Pace::at_most(Rate { requests: 1, seconds: 1, burst: None });
        // The limit that a key brings itself has a name with a space.
        let standing =
            |name: &str, wait| Standing { name: name.into(), pace, tells: Tells::ALL, left: 0, reset: 1, wait };
        let exceeded = Exceeded { standings: vec![standing("calls", 1), standing("api key", 1_500_000_000)] };
        let reply = Replies::new("shop").limited(&exceeded, &RequestView::default());
        let facts: Vec<_> = reply.facts().collect();
        assert_eq!(facts, [("tollgate.code", b"rate_limited".as_slice()), ("tollgate.limit", b"api%20key")]);
        let after: Vec<_> = reply.headers().filter(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value).collect();
        assert_eq!(after, [b"2"], "once, and not the catalogue's guess");
    }

    #[test]
    fn a_call_of_grpc_gets_a_message_and_no_content_type_of_ours() {
        let reply = refuse(Code::TokenExpired, b"id-1", true);
        assert!(reply.headers().all(|(name, _)| name != "content-type"));
        assert!(reply.headers().any(|(name, _)| name == "www-authenticate"));
        assert_eq!(reply.body, b"token_expired: The token has expired. Get a new one.");
    }

    #[test]
    fn a_hostile_request_id_is_left_out() {
        let long = [b'a'; 129];
        for (id, told) in [
            (b"id-1".as_slice(), "id-1"),
            (b"", ""),
            (b"a\r\nset-cookie: x", ""),
            (b"a\",\"code\":\"x", ""),
            (b"a\\", ""),
            (b"\xff", ""),
            (&long, ""),
        ] {
            let body = refuse(Code::RouteDenied, id, false).body;
            let expected = problem::Problem::new(Code::RouteDenied, told);
            assert_eq!(body, serde_json::to_vec(&expected).unwrap(), "{told}");
        }
    }
}
