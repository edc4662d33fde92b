//! Every algorithm in a real Envoy: its own verifier where it has one, ours where it has none, the same verdicts from
//! both.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use serde_json::{Map, Value, json};
use sha2::{Sha256, Sha384, Sha512};
use tollgate::dev::mint::{IssuerKey, signing_input, tamper, with_signature};
use tollgate_protocol::{Code, issuer::Jwk};
use tollgate_tests::{
    http::Request,
    stack::{Options, Stack, new_key},
    wait::{PATIENCE, until},
};

const SECRET: [u8; 64] = [9; 64];

/// Every algorithm, and whether Envoy's own verifier knows it.
const ALGORITHMS: [(&str, bool); 12] = [
    ("RS256", true),
    ("RS384", true),
    ("RS512", true),
    ("ES256", true),
    ("ES384", true),
    ("PS256", false),
    ("PS384", false),
    ("PS512", false),
    ("EdDSA", false),
    ("HS256", false),
    ("HS384", false),
    ("HS512", false),
];

/// One key for each kind.
struct Keys {
    rsa: IssuerKey,
    p256: p256::ecdsa::SigningKey,
    p384: p384::ecdsa::SigningKey,
    ed25519: ed25519_dalek::SigningKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            rsa: new_key(),
            p256: p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap(),
            p384: p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap(),
            ed25519: ed25519_dalek::SigningKey::from_bytes(&[7; 32]),
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let rsa = self.rsa.private();
        match algorithm {
            "RS256" => rsa.pkcs1v15_sign::<Sha256>(message).unwrap(),
            "RS384" => rsa.pkcs1v15_sign::<Sha384>(message).unwrap(),
            "RS512" => rsa.pkcs1v15_sign::<Sha512>(message).unwrap(),
            "PS256" => rsa.pss_sign_with_rng::<Sha256, _>(&mut SysRng, message).unwrap(),
            "PS384" => rsa.pss_sign_with_rng::<Sha384, _>(&mut SysRng, message).unwrap(),
            "PS512" => rsa.pss_sign_with_rng::<Sha512, _>(&mut SysRng, message).unwrap(),
            "ES256" => {
                let signature: p256::ecdsa::Signature = self.p256.sign(message);
                signature.to_bytes().to_vec()
            }
            "ES384" => {
                let signature: p384::ecdsa::Signature = self.p384.sign(message);
                signature.to_bytes().to_vec()
            }
            "EdDSA" => self.ed25519.sign(message).to_bytes().to_vec(),
            "HS256" => {
                Hmac::<Sha256>::new_from_slice(&SECRET).unwrap().chain_update(message).finalize().into_bytes().to_vec()
            }
            "HS384" => {
                Hmac::<Sha384>::new_from_slice(&SECRET).unwrap().chain_update(message).finalize().into_bytes().to_vec()
            }
            _ => {
                Hmac::<Sha512>::new_from_slice(&SECRET).unwrap().chain_update(message).finalize().into_bytes().to_vec()
            }
        }
    }

    /// The key set's entry; the key's name is its algorithm's.
    fn jwk(&self, algorithm: &str) -> Jwk {
        let members = match algorithm.split_at(2).0 {
            "RS" | "PS" => self.rsa.public_jwk(),
            "ES" if algorithm == "ES256" => point("P-256", self.p256.verifying_key().to_sec1_point(false).as_bytes()),
            "ES" => point("P-384", self.p384.verifying_key().to_sec1_point(false).as_bytes()),
            "Ed" => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(self.ed25519.verifying_key().as_bytes()) }),
            _ => json!({ "kty": "oct", "k": encode(&SECRET) }),
        };
        let mut members: Map<String, Value> = serde_json::from_value(members).unwrap();
        members.extend([("alg".to_owned(), algorithm.into()), ("kid".to_owned(), algorithm.into())]);
        serde_json::from_value(Value::Object(members)).unwrap()
    }

    fn token(&self, stack: &Stack, algorithm: &str, user: &str) -> String {
        let header = json!({ "alg": algorithm, "kid": algorithm, "typ": "JWT" });
        let claims = json!({ "sub": user, "iat": stack.now(), "exp": stack.now() + 300 });
        let input = signing_input(header.as_object().unwrap(), claims.as_object().unwrap());
        with_signature(&input, &self.sign(algorithm, input.as_bytes()))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(curve: &str, bytes: &[u8]) -> Value {
    let (x, y) = bytes[1..].split_at(bytes.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
}

/// Sends a good token and a bad one of each algorithm; `native` says whether Envoy's verifier may be used.
async fn check(native: bool) {
    let keys = Keys::new();
    let legacy_keys = ALGORITHMS.iter().map(|(algorithm, _)| keys.jwk(algorithm)).collect();
    let filter_settings = vec![format!("native_crypto: {native}")];
    let stack = Stack::start(Options { legacy_keys, filter_settings, ..Options::default() }).await;
    let user = stack.user("ada@example.com").await;
    let checks = async || stack.envoy.stat("wasmcustom.tollgate_native_signature_checks_total").await;
    assert_eq!(stack.envoy.stat("wasmcustom.tollgate_native_crypto").await, u64::from(native));

    let mut expected = 0;
    for (algorithm, native_knows) in ALGORITHMS {
        let token = keys.token(&stack, algorithm, user.id.as_str());
        let good = stack.send(&Request::get("/api/a").bearer(&token)).await;
        assert_eq!(good.status, 200, "{algorithm}: {}", good.text());
        let bad = stack.send(&Request::get("/api/a").bearer(&tamper(&token))).await;
        assert_eq!(bad.json()["code"], Code::TokenBadSignature.as_str(), "{algorithm}: {}", bad.text());
        if native && native_knows {
            expected += 2;
            let counted = || async { (checks().await >= expected).then_some(()) };
            until(&format!("{expected} checks by Envoy after {algorithm}"), PATIENCE, counted).await;
        }
        // A signature of the right key for another algorithm than the key's is no signature at all.
        let (other, _) =
            ALGORITHMS[(ALGORITHMS.iter().position(|(name, _)| *name == algorithm).unwrap() + 1) % ALGORITHMS.len()];
        let header = json!({ "alg": other, "kid": algorithm, "typ": "JWT" });
        let claims = json!({ "sub": user.id.as_str(), "exp": stack.now() + 300 });
        let input = signing_input(header.as_object().unwrap(), claims.as_object().unwrap());
        let confused = with_signature(&input, &keys.sign(other, input.as_bytes()));
        let answer = stack.send(&Request::get("/api/a").bearer(&confused)).await;
        assert_eq!(answer.json()["code"], Code::TokenAlgorithm.as_str(), "{other} for {algorithm}: {}", answer.text());
    }
    assert_eq!(checks().await, expected, "checks by Envoy, of those that it can make");
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_own_verifier_judges_what_it_knows() {
    check(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_every_algorithm_is_judged_the_same() {
    check(false).await;
}
