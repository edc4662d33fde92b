//! The signed twin of the identity headers: a short-lived EdDSA JWT (RFC 7519, RFC 8037) that a backend can check
//! against the control plane's published key. It must not see the credential.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use serde::Serialize;

use crate::{decide::Permit, settings::Signer};

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    method: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clerk_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a str>,
}

/// Signs the facts of a permit for one audience.
pub(super) fn sign(signer: &Signer, permit: &Permit<'_>, audience: &str, now_seconds: u64) -> Vec<u8> {
    let caller = permit.caller();
    let identity = caller.identity;
    let header = Header { alg: "EdDSA", kid: &signer.kid, typ: "JWT" };
    let claims = Claims {
        iss: &signer.issuer,
        aud: audience,
        sub: &identity.user_id,
        iat: now_seconds,
        exp: now_seconds.saturating_add(signer.lifetime_seconds),
        method: caller.method.as_str(),
        role: &identity.role,
        email: identity.email.as_deref(),
        name: identity.name.as_deref(),
        clerk_id: identity.clerk_id.as_deref(),
        sid: caller.session_id,
        key_id: identity.key.as_ref().map(|key| key.id.as_str()),
        scopes: caller.scopes,
        subscription: identity.subscription.as_deref(),
        act: caller.actor,
    };
    let mut token = encode(&header);
    token.push('.');
    token.push_str(&encode(&claims));
    let signature = signer.key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature.to_bytes()));
    token.into_bytes()
}

/// Structs of texts and numbers always serialize.
fn encode(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}
