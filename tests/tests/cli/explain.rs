//! `policy check` and `explain`: the filter's own decision, told step by step, without a credential in it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Shop;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const RULES: &str = r#"default = "deny"
[[routes]]
path = "/api/**"
[[routes]]
path = "/api/admin/**"
roles = ["admin"]
[[routes]]
path = "/api/reports"
methods = ["GET"]
scopes = ["reports:read"]
[[routes]]
path = "/public/**"
auth = "none"
[limits.calls]
by = "user"
rate = "60/min"
[[routes]]
path = "/watched/**"
mode = "shadow"
roles = ["admin"]
[[routes]]
path = "/watched/dear"
mode = "shadow"
cost = 1000000
[[routes]]
path = "/paid/dear"
cost = 1000000
[[routes]]
path = "/paid/cheap"
cost = 3
limits = ["calls"]
"#;

#[expect(clippy::disallowed_methods, reason = "tokens are made for the clock of the machine")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn token(claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn rules_are_checked_with_their_places() {
    let shop = Shop::sqlite().await;
    let good = shop.file("good.toml", RULES);
    assert!(
        shop.run(&["policy", "check", &good]).await.ended(0).out.contains("8 routes, default = \"deny\", no faults")
    );
    for (method, path, decides, wider) in [
        ("GET", "/api/reports?x=1", "routes[2] GET /api/reports", 1),
        ("POST", "/api/reports", "routes[0] /api/**", 0),
        ("GET", "/api/admin", "routes[1] /api/admin/**", 1),
        ("GET", "/other", "default = \"deny\"", 0),
        ("GET", "/api//reports", "none", 0),
    ] {
        let args = ["policy", "check", &good, "--path", path, "--method", method, "--json"];
        let said = shop.run(&args).await.ended(0).json();
        assert_eq!(
            (&said["decides"], said["also_match"].as_array().map(Vec::len)),
            (&json!(decides), Some(wider)),
            "{said}"
        );
    }
    let bad = shop.file("bad.toml", "default = \"open\"\n[[routes]]\npath = \"/a\"\n  roles = [\"root\"]\n");
    let ran = shop.run(&["policy", "check", &bad]).await.ended(4);
    assert!(
        ran.err.contains("bad.toml:1:1: default: must be") && ran.err.contains("bad.toml:4:3: routes[0] (/a).roles:"),
        "{}",
        ran.err
    );
    let faults = shop.run(&["policy", "check", &bad, "--json"]).await.ended(4).json();
    assert_eq!((&faults["faults"][1]["line"], &faults["faults"][1]["column"]), (&json!(4), &json!(3)));
    let broken = shop.file("broken.toml", "default = \"deny\"\n[[routes]\n");
    assert!(shop.run(&["policy", "check", &broken]).await.ended(4).err.contains("broken.toml:2:"));
}

#[tokio::test]
async fn a_policy_is_got_and_put() {
    let shop = Shop::sqlite().await;
    let built_in = shop.run(&["policy", "get"]).await.ended(0).out;
    assert!(built_in.contains("path = \"/api/admin/**\""), "{built_in}");
    let good = shop.file("good.toml", RULES);
    let put = shop.run(&["policy", "put", &good, "--if-match", "0", "--json"]).await.ended(0);
    assert_eq!((&put.json()["revision"], &put.json()["changed_by"]), (&json!("1"), &json!("command")));
    assert!(put.err.contains("no administrator reaches"), "{}", put.err);
    assert_eq!(shop.run(&["policy", "get"]).await.ended(0).out, RULES);
    assert!(shop.run(&["policy", "put", &good, "--if-match", "0"]).await.ended(4).err.contains("changed meanwhile"));
    let whole = shop.file("whole.toml", &built_in);
    assert!(!shop.run(&["policy", "put", &whole]).await.ended(0).err.contains("warning"));
    let bad = shop.file("bad.toml", "default = \"open\"\n");
    assert!(shop.run(&["policy", "put", &bad]).await.ended(4).err.contains("bad.toml:1:1: default: must be"));
    assert_eq!(shop.run(&["policy", "get"]).await.ended(0).out, built_in, "the last good one stays");
    let explained = shop.run(&["explain", "--path", "/api/admin/x", "--json"]).await.ended(0);
    assert!(explained.out.contains("/api/admin/**"), "explain asks the store: {}", explained.out);

    let dead = "[[routes]]\npath = \"/\"\n[[routes]]\npath = \"/{a}/**\"\n[[routes]]\npath = \"/**\"\n";
    let dead = shop.file("dead.toml", dead);
    let told = shop.run(&["policy", "check", &dead]).await.ended(0);
    assert!(told.err.contains("dead.toml:6:1: warning: routes[2] (/**).path: can never decide"), "{}", told.err);
    assert!(told.out.contains("no faults, 1 warnings"), "{}", told.out);
    shop.run(&["policy", "check", &dead, "--strict"]).await.ended(4);
    let told = shop.run(&["policy", "check", &dead, "--json"]).await.ended(0).json();
    assert_eq!(told["warnings"][0]["line"], 6, "{told}");

    let shop = shop.with("TOLLGATE_POLICY_FILE", good.clone());
    assert_eq!(shop.run(&["policy", "get"]).await.ended(0).out, RULES);
    assert!(shop.run(&["policy", "put", &whole]).await.ended(4).err.contains("name a policy file"));
}

/// Path, carrier, credential, the code of the refusal (on a route that is only watched: it passes all the same), what must be
/// said.
type Case<'c> = (&'c str, &'c str, Option<String>, Option<&'c str>, Vec<&'c str>);

pub(crate) async fn each_step_of_a_decision_is_told(shop: Shop) {
    let rules = shop.file("rules.toml", RULES);
    let ada = shop.user("ada@x.y").await;
    let shop = shop.with("LEGACY_JWT_SECRET", SECRET).with("TOLLGATE_POLICY_FILE", rules);
    let issued =
        shop.run(&["keys", "issue", &ada, "--name", "laptop", "--scope", "reports:read", "--json"]).await.ended(0);
    let (key, key_id) = (issued.json()["key"].clone(), issued.json()["_id"].clone());
    let (key, key_id) = (key.as_str().expect("a key"), key_id.as_str().expect("an id"));
    let (at, good) = (now(), json!({"sub": ada, "iat": now(), "exp": now() + 300}));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let unknown_key = format!("{}{}", &key[..48], if key.ends_with('a') { 'b' } else { 'a' });
    let tokens = [
        ("good", token(&good, SECRET)),
        ("named", token(&with("jti", json!("jti_1")), SECRET)),
        ("old", token(&json!({"sub": ada, "iat": at - 900, "exp": at - 60}), SECRET)),
        ("forged", token(&good, "another-secret-another-secret-12")),
        ("foreign", token(&with("iss", json!("https://elsewhere.test")), SECRET)),
        ("nobody", token(&with("sub", json!("nobody")), SECRET)),
    ];
    let token = |name: &str| tokens.iter().find(|(known, _)| *known == name).expect(name).1.clone();
    let cases: Vec<Case<'_>> = vec![
        (
            "/public/x",
            "--bearer",
            Some(token("forged")),
            None,
            vec!["routes[3] /public/**", "open: credentials are not looked at"],
        ),
        ("/api/x", "--bearer", None, Some("missing_credential"), vec!["routes[0] /api/**", "needs a credential"]),
        ("/nowhere", "--bearer", None, Some("route_denied"), vec!["default = \"deny\""]),
        ("/api/../x", "--bearer", None, Some("ambiguous_path"), vec!["more than one way"]),
        (
            "/api/x",
            "--bearer",
            Some(token("good")),
            None,
            vec!["a token in Authorization", "older sign-in", "holds", &ada],
        ),
        ("/api/x", "--bearer", Some(token("old")), Some("token_expired"), vec!["refused: it expired at"]),
        ("/api/x", "--bearer", Some(token("forged")), Some("token_bad_signature"), vec!["signature does not hold"]),
        (
            "/api/x",
            "--bearer",
            Some(token("foreign")),
            Some("token_wrong_issuer"),
            vec!["https://elsewhere.test", "none of those"],
        ),
        ("/api/x", "--bearer", Some(token("nobody")), Some("user_unknown"), vec!["holds", "none:"]),
        (
            "/api/admin/x",
            "--bearer",
            Some(token("good")),
            Some("role_required"),
            vec!["routes[1]", "role admin", "role user"],
        ),
        ("/api/reports", "--bearer", Some(token("good")), Some("scope_required"), vec!["scopes reports:read"]),
        (
            "/api/reports",
            "--api-key",
            Some(key.to_owned()),
            None,
            vec!["an API key", "checksum are right", key_id, "good"],
        ),
        ("/api/reports", "--bearer", Some(key.to_owned()), None, vec!["an API key"]),
        ("/api/reports", "--api-key", Some(unknown_key), Some("api_key_malformed"), vec!["without a right checksum"]),
        ("/watched/x", "--bearer", Some(token("good")), Some("role_required"), vec!["routes[4]", "role user"]),
        ("/watched/x", "--bearer", None, Some("missing_credential"), vec!["routes[4]"]),
        (
            "/watched/dear",
            "--bearer",
            Some(token("good")),
            Some("tokens_exhausted"),
            vec!["10000 left, and 0 that Envoys hold; this route sets aside 1000000"],
        ),
        (
            "/paid/dear",
            "--bearer",
            Some(token("good")),
            Some("tokens_exhausted"),
            vec!["10000 left, and 0 that Envoys hold; this route sets aside 1000000"],
        ),
        (
            "/paid/cheap",
            "--bearer",
            Some(token("good")),
            None,
            vec!["this route sets aside 3", "calls: how often somebody has come only an Envoy knows"],
        ),
        ("/api/x", "--bearer", Some("junk".to_owned()), Some("token_malformed"), vec!["no JSON Web Token"]),
    ];
    for (path, carrier, credential, code, said) in &cases {
        let args = ["explain", "--path", path, carrier, "-", "--json"];
        let ran = match credential {
            Some(credential) => shop.given(credential, &args).await.ended(0),
            None => shop.run(&["explain", "--path", path, "--json"]).await.ended(0),
        };
        let told = ran.json();
        let watched = path.starts_with("/watched/");
        let passes = Some(watched || code.is_none());
        assert_eq!((&told["code"], told["allowed"].as_bool()), (&json!(code), passes), "{path}: {told}");
        assert_eq!(told["watched"], watched, "{path}: {told}");
        for said in said {
            assert!(ran.out.contains(&said.replace('"', "\\\"")), "{path}: {said} in {told:#}");
        }
        if let Some(credential) = credential {
            let signature = credential.rsplit('.').next().expect("a part");
            assert!(
                signature.len() < 5 || !format!("{ran:?}").contains(signature),
                "a credential is never printed: {ran:?}"
            );
        }
    }
    let out = shop.given(&token("good"), &["explain", "--path", "/watched/x", "--bearer", "-"]).await.ended(0).out;
    assert!(out.contains("passes, only watched; else refused: 403 role_required"), "{out}");
    // What has changed is told, too: revoked, signed out, not active.
    shop.run(&["revoke", "token", "jti_1", "--yes"]).await.ended(0);
    let out = shop.given(&token("named"), &["explain", "--path", "/api/x", "--bearer", "-"]).await.ended(0).out;
    assert!(out.contains("token jti_1, until") && out.contains("refused: 401 token_revoked"), "{out}");
    shop.run(&["keys", "revoke", key_id]).await.ended(0);
    let revoked = shop.given(key, &["explain", "--path", "/api/reports", "--api-key", "-"]).await.ended(0).out;
    assert!(revoked.contains("revoked") && revoked.contains("refused: 401 api_key_revoked"), "{revoked}");
    shop.run(&["users", "sign-out", &ada]).await.ended(0);
    let out = shop.given(&token("good"), &["explain", "--path", "/api/x", "--bearer", "-"]).await.ended(0).out;
    assert!(out.contains("refused: 401 token_revoked") && out.contains("sign-out"), "{out}");
    shop.run(&["users", "deactivate", &ada]).await.ended(0);
    let shop = shop.with("ADAS_TOKEN", token("good"));
    let out = shop.run(&["explain", "--path", "/api/x", "--bearer", "env:ADAS_TOKEN"]).await.ended(0).out;
    assert!(out.contains("not active") && out.contains("user_inactive"), "{out}");
    assert_eq!(shop.users().await.len(), 1, "nobody was made");
}
