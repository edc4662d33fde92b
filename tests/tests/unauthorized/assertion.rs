//! Assertions: the right one, and every kind of wrong one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use tollgate::clock::{Clock as _, SystemClock};
use tollgate_protocol::edge::AssertionKey;

/// Signs as an edge does.
pub(crate) struct Signer {
    key: SigningKey,
    kid: String,
}

impl Signer {
    pub(crate) fn new(key: AssertionKey) -> Self {
        let seed = URL_SAFE_NO_PAD.decode(key.seed).expect("base64url");
        Self { key: SigningKey::from_bytes(&seed.try_into().expect("32 bytes")), kid: key.kid }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    pub(crate) fn now(&self) -> u64 {
        SystemClock.now().unix_seconds()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"}), claims)
    }

    fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let signed = signed(header, claims);
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, claims: &Value) -> String {
    format!("{}.{}", part(header), part(claims))
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = signed(header, claims);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("any length is fine");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

type Headers = Vec<(&'static str, String)>;

/// Every kind of request that must be refused: what it is, and its headers.
pub(crate) fn attempts(signer: &Signer, claims: &Value) -> Vec<(String, Headers)> {
    let good = signer.sign(claims);
    let kid = &signer.kid;
    let with = |member: &str, value: Value| {
        let mut changed = claims.clone();
        changed[member] = value;
        signer.sign(&changed)
    };
    let without = |member: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().expect("an object").remove(member);
        signer.sign(&changed)
    };
    let now = signer.now();
    let own = SigningKey::from_bytes(&[7; 32]);
    let forger = Signer { key: own, kid: kid.clone() };
    let hs = json!({"alg": "HS256", "kid": kid, "typ": "JWT"});
    let public = signer.key.verifying_key();
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let (header, payload) = head.split_once('.').expect("three parts");
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    flipped[10] ^= 1;
    let none = json!({"alg": "none", "kid": kid, "typ": "JWT"});
    let other_payload = part(&json!({"sub": "someone-else"}));
    let alg = |alg: &str| signer.sign_with(&json!({"alg": alg, "kid": kid, "typ": "JWT"}), claims);
    let tokens = [
        ("a forged signature", forger.sign(claims)),
        ("a flipped bit", format!("{head}.{}", URL_SAFE_NO_PAD.encode(&flipped))),
        ("no signature", format!("{head}.")),
        ("two parts", head.to_owned()),
        ("four parts", format!("{good}.x")),
        ("a half signature", format!("{head}.{}", &signature[..40])),
        ("another payload under the signature", format!("{header}.{other_payload}.{signature}")),
        ("an all-zero signature", format!("{head}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("alg none, unsigned", format!("{}.{payload}.", part(&none))),
        ("alg none, signed", signer.sign_with(&none, claims)),
        ("alg None", alg("None")),
        ("alg ES256 over an EdDSA signature", alg("ES256")),
        ("alg eddsa", alg("eddsa")),
        ("HS256 with the public key's bytes", hs256(&hs, claims, public.as_bytes())),
        ("HS256 with the public key's text", hs256(&hs, claims, signer.public().as_bytes())),
        ("HS256 with nothing", hs256(&hs, claims, b"")),
        ("HS256 with the edge secret", hs256(&hs, claims, super::SECRET.as_bytes())),
        ("another key name", signer.sign_with(&json!({"alg": "EdDSA", "kid": "other", "typ": "JWT"}), claims)),
        ("no key name", signer.sign_with(&json!({"alg": "EdDSA", "typ": "JWT"}), claims)),
        ("another type", signer.sign_with(&json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}), claims)),
        ("its own key in the header", {
            let x = URL_SAFE_NO_PAD.encode(forger.key.verifying_key().as_bytes());
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            forger.sign_with(&json!({"alg": "EdDSA", "kid": kid, "typ": "JWT", "jwk": jwk}), claims)
        }),
        ("expired", with("exp", json!(now - 6))),
        ("expired long ago", {
            let mut old = claims.clone();
            (old["iat"], old["exp"]) = (json!(now - 3600), json!(now - 3570));
            signer.sign(&old)
        }),
        ("of the future", {
            let mut future = claims.clone();
            (future["iat"], future["exp"]) = (json!(now + 30), json!(now + 60));
            signer.sign(&future)
        }),
        ("valid too long", with("exp", json!(now + 3600))),
        ("no expiry", without("exp")),
        ("no issue time", without("iat")),
        ("expiry before issue", with("iat", json!(now + 31))),
        ("expiry as text", with("exp", json!((now + 30).to_string()))),
        ("expiry 2^64", with("exp", json!(1.844_674_407_370_955_2e19))),
        ("negative issue time", with("iat", json!(-1))),
        ("another audience", with("aud", json!("backend"))),
        ("an audience list", with("aud", json!(["tollgate"]))),
        ("no audience", without("aud")),
        ("another issuer", with("iss", json!("https://clerk.test"))),
        ("no issuer", without("iss")),
        ("no subject", without("sub")),
        ("an empty subject", with("sub", json!(""))),
        ("a subject that is a number", with("sub", json!(7))),
        ("a huge subject", with("sub", json!("x".repeat(500)))),
        ("an unknown method", with("method", json!("root"))),
        ("no method", without("method")),
        ("scopes as text", with("scopes", json!("a b"))),
        ("a token of 40 KB", with("name", json!("x".repeat(30_000)))),
        ("claims that are a list", signer.sign(&json!([1, 2]))),
        ("nothing", String::new()),
        ("junk", "junk".to_owned()),
        ("dots", "..".to_owned()),
        ("a prefix", format!("Bearer {good}")),
        ("bytes that are not ASCII", "\u{e9}.\u{e9}.\u{e9}".to_owned()),
    ];
    let mut all: Vec<(String, Headers)> =
        tokens.into_iter().map(|(what, token)| (what.to_owned(), vec![("x-auth-assertion", token)])).collect();
    let user = claims["sub"].as_str().expect("a subject").to_owned();
    all.push(("no assertion".to_owned(), vec![]));
    all.push((
        "identity headers alone".to_owned(),
        vec![
            ("x-auth-user-id", user.clone()),
            ("x-auth-role", "admin".to_owned()),
            ("x-auth-method", "clerk".to_owned()),
        ],
    ));
    all.push((
        "two assertions".to_owned(),
        vec![("x-auth-assertion", good.clone()), ("x-auth-assertion", good.clone())],
    ));
    all.push((
        "the assertion elsewhere".to_owned(),
        vec![
            ("authorization", format!("Bearer {good}")),
            ("cookie", format!("x-auth-assertion={good}")),
            ("x_auth_assertion", good.clone()),
        ],
    ));
    all
}
