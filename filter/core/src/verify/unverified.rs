//! A token whose shape and header are in order, and of which nothing is believed yet.
//!
//! Must not know issuers, keys or time. The compact form is split and its header read by `jwt-compact`; what that
//! crate leaves open (repeated names, depth, parameters that bring their own key) is refused here.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::UntrustedToken;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use tollgate_protocol::config::Limits;

use super::fault::VerifyFault;
use super::strict;

/// Header parameters that no token may carry: they bring a key or name a place to fetch one (RFC 7515 sections
/// 4.1.2, 4.1.3, 4.1.5, 4.1.6), demand extensions (4.1.11, RFC 7797), or make it another kind of object (RFC 7516).
/// The thumbprints `x5t` and `x5t#S256` only point at a certificate; they are ignored.
const FORBIDDEN: &[&str] = &["crit", "jwk", "jku", "x5u", "x5c", "b64", "enc", "zip", "epk"];

/// Header parameters that are read, all strings.
const STRINGS: &[&str] = &["alg", "typ", "kid", "cat", "cty"];

/// Longest `kid` that is looked up, in bytes. Clerk's are about 30 (Clerk facts 1.2), thumbprints 43.
const MAX_KID: usize = 256;

/// The parameters that `jwt-compact` does not know.
#[derive(Debug, Clone, Deserialize)]
struct OtherFields {
    /// Clerk's tag of the token's class (Clerk facts 1.2).
    #[serde(default)]
    cat: Option<String>,
}

/// What the payload says about its issuer, before anything is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClaimedIssuer {
    /// No `iss`.
    Absent,
    /// A string.
    Named(String),
    /// Any other JSON.
    NotAString,
}

/// A token in good shape.
pub(super) struct Unverified<'a> {
    parsed: UntrustedToken<'a, OtherFields>,
    message: &'a [u8],
    payload: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Reads the shape and the header. The only function that makes an [`Unverified`].
    pub(super) fn read(token: &'a [u8], limits: &Limits) -> Result<Self, VerifyFault> {
        if token.len() > limits.token_bytes {
            return Err(VerifyFault::TooLong);
        }
        if !token.is_ascii() {
            return Err(VerifyFault::Shape);
        }
        let text = core::str::from_utf8(token).map_err(|_| VerifyFault::Shape)?;
        let (message, _) = text.rsplit_once('.').ok_or(VerifyFault::Shape)?;
        let (header, payload) = message.split_once('.').ok_or(VerifyFault::Shape)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| VerifyFault::Shape)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| VerifyFault::Shape)?;
        check_header(&strict::object(&header, limits.claim_depth).map_err(|_| VerifyFault::HeaderJson)?)?;
        let parsed = UntrustedToken::try_from(text).map_err(|fault| match fault {
            jwt_compact::ParseError::UnsupportedContentType(_) => VerifyFault::HeaderParameter("cty"),
            jwt_compact::ParseError::MalformedHeader(_) => VerifyFault::HeaderJson,
            _ => VerifyFault::Shape,
        })?;
        Ok(Self { parsed, message: message.as_bytes(), payload })
    }

    /// The bytes that are signed: header and payload as sent, with the dot (RFC 7515 section 5.2).
    pub(super) fn message(&self) -> &[u8] {
        self.message
    }

    /// The payload as sent, base64url undone.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature.
    pub(super) fn signature(&self) -> &[u8] {
        self.parsed.signature_bytes()
    }

    /// `alg` as sent.
    pub(super) fn alg(&self) -> &str {
        self.parsed.algorithm()
    }

    /// `kid` as sent.
    pub(super) fn kid(&self) -> Option<&str> {
        self.parsed.header().key_id.as_deref()
    }

    /// `typ` as sent.
    pub(super) fn typ(&self) -> Option<&str> {
        self.parsed.header().token_type.as_deref()
    }

    /// Clerk's `cat` as sent.
    pub(super) fn cat(&self) -> Option<&str> {
        self.parsed.header().other_fields.cat.as_deref()
    }

    /// `iss` as sent. May choose a key set and nothing else.
    pub(super) fn claimed_issuer(&self) -> Result<ClaimedIssuer, VerifyFault> {
        claimed_issuer(&self.payload)
    }
}

fn check_header(header: &Map<String, Value>) -> Result<(), VerifyFault> {
    if let Some(name) = FORBIDDEN.iter().find(|name| header.contains_key(**name)) {
        return Err(VerifyFault::HeaderForbidden(name));
    }
    if let Some(name) = STRINGS.iter().find(|name| header.get(**name).is_some_and(|value| !value.is_string())) {
        return Err(VerifyFault::HeaderParameter(name));
    }
    if !header.contains_key("alg") {
        return Err(VerifyFault::HeaderParameter("alg"));
    }
    let kid = header.get("kid").and_then(Value::as_str);
    if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
        return Err(VerifyFault::HeaderParameter("kid"));
    }
    Ok(())
}

/// Reads `iss` of an object and skips all else without building it.
fn claimed_issuer(payload: &[u8]) -> Result<ClaimedIssuer, VerifyFault> {
    let text = core::str::from_utf8(payload).map_err(|_| VerifyFault::PayloadJson)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let issuer = reader.deserialize_map(OnlyIssuer).map_err(|_| VerifyFault::PayloadJson)?;
    reader.end().map_err(|_| VerifyFault::PayloadJson)?;
    Ok(issuer)
}

struct OnlyIssuer;

impl<'de> Visitor<'de> for OnlyIssuer {
    type Value = ClaimedIssuer;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ClaimedIssuer, A::Error> {
        let mut issuer = ClaimedIssuer::Absent;
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if name != "iss" {
                members.next_value::<IgnoredAny>()?;
            } else if issuer == ClaimedIssuer::Absent {
                issuer = match members.next_value::<Value>()? {
                    Value::String(name) => ClaimedIssuer::Named(name),
                    _ => ClaimedIssuer::NotAString,
                };
            } else {
                return Err(A::Error::custom("repeated name"));
            }
        }
        Ok(issuer)
    }
}
