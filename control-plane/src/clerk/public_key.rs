//! Turns a key that an operator gave (PEM, or a shared secret) into the form the edge takes. It must not read files.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use der::{Decode as _, Document};
use spki::SubjectPublicKeyInfoRef;
use tollgate_protocol::issuer::Jwk;

use super::jwks;

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const HEADER: &str = "-----BEGIN PUBLIC KEY-----";
const FOOTER: &str = "-----END PUBLIC KEY-----";

/// Why a text is no public key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyFault {
    /// A private key was given.
    #[error("is a private key: give the public one, and treat this one as leaked")]
    Private,
    /// No PEM of a public key.
    #[error("is not a PEM public key (BEGIN PUBLIC KEY)")]
    Pem,
    /// Another kind of key than the algorithm needs.
    #[error("is another kind of key than its algorithm needs")]
    Kind,
    /// Too short, too long, or with an exponent that is refused.
    #[error("is an RSA key outside 2048 to 4096 bits or with a bad exponent")]
    Strength,
}

/// Clerk's PEM key, RS256. As Clerk's own SDKs do, the text is taken with or without its first and last line, on one
/// line or many, and with `\n` spelt out.
///
/// # Errors
/// Says what is wrong with it.
pub fn rsa_for_clerk(text: &str) -> Result<Jwk, PublicKeyFault> {
    from_pem(text, "RS256")
}

/// A PEM public key of one algorithm.
///
/// # Errors
/// Says what is wrong with it.
pub fn from_pem(text: &str, algorithm: &str) -> Result<Jwk, PublicKeyFault> {
    if text.contains("PRIVATE KEY") {
        return Err(PublicKeyFault::Private);
    }
    let text = text.replace("\\n", "\n");
    let trimmed = text.trim();
    let inner = match trimmed.strip_prefix(HEADER) {
        Some(rest) => rest.strip_suffix(FOOTER).ok_or(PublicKeyFault::Pem)?,
        None => trimmed,
    };
    let encoded: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| PublicKeyFault::Pem)?;
    let document = Document::try_from(bytes).map_err(|_| PublicKeyFault::Pem)?;
    let info = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).map_err(|_| PublicKeyFault::Pem)?;
    let key = info.subject_public_key.as_bytes().ok_or(PublicKeyFault::Pem)?;
    let curve = info.algorithm.parameters_oid().ok().map(|oid| oid.to_string());
    match (algorithm, info.algorithm.oid.to_string().as_str(), curve.as_deref()) {
        ("RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512", RSA_ENCRYPTION, _) => rsa(key, algorithm),
        ("ES256", EC_PUBLIC_KEY, Some(P256)) => point(key, algorithm, "P-256", 32),
        ("ES384", EC_PUBLIC_KEY, Some(P384)) => point(key, algorithm, "P-384", 48),
        ("EdDSA", ED25519, _) if key.len() == 32 => {
            Ok(Jwk { crv: Some("Ed25519".into()), x: Some(URL_SAFE_NO_PAD.encode(key)), ..empty("OKP", algorithm) })
        }
        _ => Err(PublicKeyFault::Kind),
    }
}

/// A shared secret, as its bytes stand.
pub fn oct(algorithm: &str, secret: &[u8]) -> Jwk {
    Jwk { k: Some(URL_SAFE_NO_PAD.encode(secret)), ..empty("oct", algorithm) }
}

fn rsa(key: &[u8], algorithm: &str) -> Result<Jwk, PublicKeyFault> {
    let key = pkcs1::RsaPublicKeyRef::from_der(key).map_err(|_| PublicKeyFault::Pem)?;
    let n = URL_SAFE_NO_PAD.encode(key.modulus.as_bytes());
    let e = URL_SAFE_NO_PAD.encode(key.public_exponent.as_bytes());
    if !jwks::modulus_is_fine(&n) || !jwks::exponent_is_fine(&e) {
        return Err(PublicKeyFault::Strength);
    }
    Ok(Jwk { n: Some(n), e: Some(e), ..empty("RSA", algorithm) })
}

fn point(key: &[u8], algorithm: &str, curve: &str, size: usize) -> Result<Jwk, PublicKeyFault> {
    let coordinates = key.strip_prefix(&[4]).filter(|rest| rest.len() == 2 * size).ok_or(PublicKeyFault::Kind)?;
    let (x, y) = coordinates.split_at(size);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    Ok(Jwk { crv: Some(curve.to_owned()), x: Some(x), y: Some(y), ..empty("EC", algorithm) })
}

fn empty(kty: &str, alg: &str) -> Jwk {
    let (kty, alg) = (kty.to_owned(), alg.to_owned());
    Jwk { kty, alg, kid: None, crv: None, n: None, e: None, x: None, y: None, k: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Ed25519 key of RFC 8410 section 10.1.
    const RFC_8410: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    #[test]
    fn pem_is_read_in_every_usual_spelling() {
        let pem = format!("{HEADER}\n{RFC_8410}\n{FOOTER}\n");
        let key = from_pem(&pem, "EdDSA").unwrap();
        assert_eq!(key.x.as_deref(), Some("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"));
        for spelling in [RFC_8410.to_owned(), pem.replace('\n', "\\n"), pem.replace('\n', " "), pem.replace('\n', "")] {
            assert_eq!(from_pem(&spelling, "EdDSA").as_ref(), Ok(&key), "{spelling}");
        }
    }

    #[test]
    fn other_keys_are_refused() {
        assert_eq!(rsa_for_clerk(RFC_8410), Err(PublicKeyFault::Kind));
        assert_eq!(rsa_for_clerk("-----BEGIN PRIVATE KEY-----"), Err(PublicKeyFault::Private));
        for text in ["", "hello", HEADER, "AAAA", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(rsa_for_clerk(text), Err(PublicKeyFault::Pem), "{text}");
        }
    }
}
