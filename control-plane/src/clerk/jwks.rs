//! Reads a key set (RFC 7517) that someone else serves: what cannot be used is left out, and a set without one usable
//! key is a fault, so that it never replaces a good one. It must not know where the bytes came from.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tollgate_protocol::issuer::Jwk;

/// Largest document that is read.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most keys that are kept of one document.
pub const MAX_KEYS: usize = 32;

/// Which keys of a set are kept, and which algorithm they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Clerk: named RSA keys of RS256, RS384 or RS512; RS256 where the set does not say.
    Clerk,
    /// Keys that can do this one algorithm.
    Algorithm(&'static str),
}

/// Why a document is no key set that can be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksFault {
    /// Larger than [`MAX_BYTES`].
    #[error("the key set is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON of a key set.
    #[error("not a JSON key set (line {}, column {})", .0.line(), .0.column())]
    Json(serde_json::Error),
    /// None of its keys can be used.
    #[error("none of the {0} keys in the set can be used")]
    NoUsableKey(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set.
///
/// # Errors
/// [`JwksFault`]: whoever has a former set keeps it.
pub fn parse(bytes: &[u8], rules: Rules) -> Result<Vec<Jwk>, JwksFault> {
    if bytes.len() > MAX_BYTES {
        return Err(JwksFault::TooLarge);
    }
    let document: Document = serde_json::from_slice(bytes).map_err(JwksFault::Json)?;
    let offered = document.keys.len();
    let mut kept: Vec<Jwk> = Vec::new();
    for entry in document.keys {
        let Ok(entry) = serde_json::from_value::<Entry>(entry) else { continue };
        let Some(key) = usable(entry, rules) else { continue };
        // Two keys of one name: which one a token means could not be said, so the first one holds.
        if kept.len() < MAX_KEYS && kept.iter().all(|other| other.kid != key.kid) {
            kept.push(key);
        }
    }
    if kept.is_empty() { Err(JwksFault::NoUsableKey(offered)) } else { Ok(kept) }
}

fn usable(entry: Entry, rules: Rules) -> Option<Jwk> {
    if entry.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    let kid = entry.kid.filter(|kid| !kid.is_empty() && kid.len() <= 256);
    let alg = match rules {
        Rules::Clerk => {
            kid.as_ref()?;
            match entry.alg.as_deref() {
                None | Some("RS256") => "RS256",
                Some("RS384") => "RS384",
                Some("RS512") => "RS512",
                Some(_) => return None,
            }
        }
        Rules::Algorithm(wanted) => match entry.alg.as_deref() {
            Some(given) if given != wanted => return None,
            None | Some(_) => wanted,
        },
    };
    let mut key =
        Jwk { kty: entry.kty, alg: alg.to_owned(), kid, crv: None, n: None, e: None, x: None, y: None, k: None };
    match (alg, key.kty.as_str()) {
        ("RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512", "RSA") => {
            key.n = entry.n.filter(|n| modulus_is_fine(n));
            key.e = entry.e.filter(|e| exponent_is_fine(e));
            (key.n.is_some() && key.e.is_some()).then_some(key)
        }
        ("ES256", "EC") => point(key, entry.crv, entry.x, entry.y, "P-256", 32),
        ("ES384", "EC") => point(key, entry.crv, entry.x, entry.y, "P-384", 48),
        ("EdDSA", "OKP") if entry.crv.as_deref() == Some("Ed25519") => {
            key.crv = entry.crv;
            key.x = entry.x.filter(|x| length(x) == Some(32));
            key.x.is_some().then_some(key)
        }
        _ => None,
    }
}

fn point(
    mut key: Jwk,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    curve: &str,
    size: usize,
) -> Option<Jwk> {
    key.crv = crv.filter(|crv| crv == curve);
    key.x = x.filter(|x| length(x) == Some(size));
    key.y = y.filter(|y| length(y) == Some(size));
    (key.crv.is_some() && key.x.is_some() && key.y.is_some()).then_some(key)
}

fn length(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

/// 2048 to 4096 bits, odd.
pub(super) fn modulus_is_fine(n: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(n) else { return false };
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let (Some(first), Some(last)) = (significant.first(), significant.last()) else { return false };
    let bits = significant.len() * 8 - first.leading_zeros() as usize;
    (2048..=4096).contains(&bits) && last % 2 == 1
}

/// Odd, at least 3, at most 32 bits.
pub(super) fn exponent_is_fine(e: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(e) else { return false };
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let value = significant.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    significant.len() <= 4 && value >= 3 && value % 2 == 1
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rsa(kid: &str, bytes: usize) -> Value {
        let modulus = URL_SAFE_NO_PAD.encode(vec![0xC3_u8; bytes]);
        json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": modulus, "e": "AQAB"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn kids(keys: Vec<Value>) -> Result<Vec<String>, JwksFault> {
        let bytes = serde_json::to_vec(&json!({"keys": keys, "more": 1})).unwrap();
        parse(&bytes, Rules::Clerk).map(|keys| keys.into_iter().map(|key| key.kid.unwrap()).collect())
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_the_rest_is_kept() {
        let good = rsa("good", 256);
        let no_alg = {
            let mut key = rsa("no-alg", 256);
            key.as_object_mut().unwrap().remove("alg");
            key
        };
        let keys = vec![
            good.clone(),
            no_alg,
            with(rsa("enc", 256), "use", json!("enc")),
            with(rsa("ec", 256), "kty", json!("EC")),
            with(rsa("hs", 256), "alg", json!("HS256")),
            with(rsa("none", 256), "alg", json!("none")),
            with(rsa("e1", 256), "e", json!("AQ")),
            with(rsa("e2", 256), "e", json!("Ag")),
            with(rsa("n", 256), "n", json!("")),
            with(rsa("type", 256), "n", json!(7)),
            with(rsa("", 256), "kid", json!("")),
            rsa("short", 128),
            rsa("long", 513),
            json!({"kty": "oct", "k": "AAAA", "kid": "oct"}),
            json!("text"),
            json!(null),
            with(rsa("good", 512), "e", json!("Aw")),
        ];
        assert_eq!(kids(keys).unwrap(), ["good", "no-alg"]);
    }

    #[test]
    fn a_set_without_a_usable_key_is_a_fault() {
        assert!(matches!(kids(vec![]), Err(JwksFault::NoUsableKey(0))));
        assert!(matches!(kids(vec![rsa("short", 128)]), Err(JwksFault::NoUsableKey(1))));
        for bad in [&b""[..], b"<html>", b"{}", b"[]", b"{\"keys\":{}}", b"{\"keys\":null}", b"\xff\xfe"] {
            assert!(matches!(parse(bad, Rules::Clerk), Err(JwksFault::Json(_))), "{bad:?}");
        }
        assert!(matches!(parse(&vec![b' '; MAX_BYTES + 1], Rules::Clerk), Err(JwksFault::TooLarge)));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let many: Vec<Value> = (0..100).map(|i| rsa(&format!("k{i}"), 256)).collect();
        assert_eq!(kids(many).unwrap().len(), MAX_KEYS);
    }
}
