//! A token whose shape and header are in order, and of which nothing is believed yet.
//!
//! Must not know issuers, keys or time. The compact form is split and decoded once ([`Parts`]), and its two objects are
//! read in place by `tollgate-json`. `jwt-compact` did a part of this before, and decoded everything a second time:
//! for a token that was not seen before that was about half of what the filter added to its calls to the host.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate_json::{Object, Value};
use tollgate_protocol::config::Limits;

use super::fault::VerifyFault;

/// Header parameters that no token may carry: they bring a key or name a place to fetch one (RFC 7515 sections
/// 4.1.2, 4.1.3, 4.1.5, 4.1.6), demand extensions (4.1.11, RFC 7797), or make it another kind of object (RFC 7516).
/// The thumbprints `x5t` and `x5t#S256` only point at a certificate; they are ignored.
const FORBIDDEN: &[&str] = &["crit", "jwk", "jku", "x5u", "x5c", "b64", "enc", "zip", "epk"];

/// Header parameters that are read, all strings.
const STRINGS: &[&str] = &["alg", "typ", "kid", "cat", "cty"];

/// Longest `kid` that is looked up, in bytes. Clerk's are about 30 (Clerk facts 1.2), thumbprints 43.
const MAX_KID: usize = 256;

/// What the payload says about its issuer, before anything is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimedIssuer<'a> {
    /// No `iss`.
    Absent,
    /// A string.
    Named(&'a str),
    /// Any other JSON.
    NotAString,
}

/// The three segments of a token, decoded (RFC 7515 section 7.1).
pub(super) struct Parts<'a> {
    message: &'a [u8],
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Splits and decodes. The only function that makes [`Parts`].
    pub(super) fn split(token: &'a [u8], limits: &Limits) -> Result<Self, VerifyFault> {
        if token.len() > limits.token_bytes {
            return Err(VerifyFault::TooLong);
        }
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(VerifyFault::Shape);
        };
        // Both, and the dot between them.
        let signed = header.len().saturating_add(payload.len()).saturating_add(1);
        let message = token.get(..signed).ok_or(VerifyFault::Shape)?;
        let decode = |segment: &[u8]| URL_SAFE_NO_PAD.decode(segment).map_err(|_| VerifyFault::Shape);
        Ok(Self { message, header: decode(header)?, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// A token in good shape.
pub(super) struct Unverified<'a> {
    parts: &'a Parts<'a>,
    header: Object<'a>,
}

impl<'a> Unverified<'a> {
    /// Reads and judges the header. The only function that makes an [`Unverified`].
    pub(super) fn read(parts: &'a Parts<'a>, limits: &Limits) -> Result<Self, VerifyFault> {
        let header = Object::read(&parts.header, limits.claim_depth).map_err(|_| VerifyFault::HeaderJson)?;
        check_header(&header)?;
        Ok(Self { parts, header })
    }

    /// The bytes that are signed: header and payload as sent, with the dot (RFC 7515 section 5.2).
    pub(super) fn message(&self) -> &'a [u8] {
        self.parts.message
    }

    /// The signature.
    pub(super) fn signature(&self) -> &'a [u8] {
        &self.parts.signature
    }

    /// `alg` as sent.
    pub(super) fn alg(&self) -> &str {
        self.parameter("alg").unwrap_or_default()
    }

    /// `kid` as sent.
    pub(super) fn kid(&self) -> Option<&str> {
        self.parameter("kid")
    }

    /// `typ` as sent.
    pub(super) fn typ(&self) -> Option<&str> {
        self.parameter("typ")
    }

    /// Clerk's tag of the token's class, `cat` (Clerk facts 1.2), as sent.
    pub(super) fn cat(&self) -> Option<&str> {
        self.parameter("cat")
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    /// The payload as sent, base64url undone.
    pub(super) fn payload(&self) -> &'a [u8] {
        &self.parts.payload
    }

    /// The payload as an object, of which nothing is believed.
    pub(super) fn claimed(&self, limits: &Limits) -> Result<Claimed<'a>, VerifyFault> {
        Object::read(self.payload(), limits.claim_depth).map(Claimed).map_err(|_| VerifyFault::PayloadJson)
    }
}

/// What a payload says, before anything is believed: it can be asked for its issuer.
pub(super) struct Claimed<'a>(Object<'a>);

impl<'a> Claimed<'a> {
    /// `iss` as sent. May choose a key set and nothing else.
    pub(super) fn issuer(&self) -> ClaimedIssuer<'_> {
        match self.0.get("iss") {
            None => ClaimedIssuer::Absent,
            Some(Value::Text(name)) => ClaimedIssuer::Named(name),
            Some(_) => ClaimedIssuer::NotAString,
        }
    }

    /// All of it, for whoever has checked the signature.
    pub(super) fn signed(self) -> Object<'a> {
        self.0
    }
}

fn check_header(header: &Object<'_>) -> Result<(), VerifyFault> {
    if let Some(name) = FORBIDDEN.iter().find(|name| header.get(name).is_some()) {
        return Err(VerifyFault::HeaderForbidden(name));
    }
    if let Some(name) = STRINGS.iter().find(|name| header.get(name).is_some_and(|value| value.as_str().is_none())) {
        return Err(VerifyFault::HeaderParameter(name));
    }
    if header.get("alg").is_none() {
        return Err(VerifyFault::HeaderParameter("alg"));
    }
    let text = |name| header.get(name).and_then(Value::as_str);
    if text("kid").is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
        return Err(VerifyFault::HeaderParameter("kid"));
    }
    // What is signed is JSON: a nested token (`JWT`, RFC 7519 section 5.2) or any other content is not read.
    if text("cty").is_some_and(|content| !content.eq_ignore_ascii_case("json")) {
        return Err(VerifyFault::HeaderParameter("cty"));
    }
    Ok(())
}
