//! What the tokens say, who signs them, and how long they are good.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use tollgate::{
    clock::{Clock as _, SystemClock},
    config::{AttemptLimit, LegacyConfig, Secret, Signing},
    service::sign_in::{rotate, sign_out},
};
use tollgate_protocol::issuer::{IssuerKind, Jwk};
use tollgate_tests::{http::Request, wait::until};

use super::{World, claims, part, sync};

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_says_what_the_settings_say() {
    let world = World::with(|legacy, sign_in| {
        legacy.issuer = Some("https://old.test".into());
        legacy.audience = vec!["https://api.test".into()];
        sign_in.access = Duration::from_secs(120);
        sign_in.refresh = Duration::from_secs(3600);
    })
    .await;
    let ada = world.user("ada@example.com", Some(super::PASSWORD)).await;
    let (one, other) = (world.login("ADA@example.com").await, world.login("ada@example.com").await);
    assert_eq!(
        (&one["token_type"], &one["expires_in"], &one["refresh_expires_in"]),
        (&json!("Bearer"), &json!(120), &json!(3600))
    );
    assert_eq!(part(&one["access_token"], 0), json!({"alg": "HS256", "typ": "JWT"}));
    let said = claims(&one["access_token"]);
    let now = SystemClock.now().unix_seconds();
    let iat = said["iat"].as_u64().expect("iat");
    assert!((now - 5..=now).contains(&iat), "{said}");
    assert_eq!(said["exp"].as_u64(), Some(iat + 120));
    for (claim, expect) in [
        ("sub", json!(ada.id.as_str())),
        ("sid", one["session_id"].clone()),
        ("iss", json!("https://old.test")),
        ("aud", json!("https://api.test")),
    ] {
        assert_eq!(said[claim], expect, "{said}");
    }
    assert_eq!(said.as_object().expect("claims").len(), 7, "{said}");
    assert_ne!(said["jti"], claims(&other["access_token"])["jti"]);
    assert_ne!(one["session_id"], other["session_id"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_secret_signs_with_the_algorithm_of_the_settings() {
    let secret = "a secret that is long enough for every one of the three algorithms: 0123456789";
    for algorithm in ["HS256", "HS384", "HS512"] {
        let world = World::with(|legacy, sign_in| {
            let shared = LegacyConfig::shared(algorithm, &Secret::new(secret), None).expect("a secret");
            sign_in.signing = shared.sign_in.expect("a sign-in").signing;
            legacy.keys = shared.keys;
        })
        .await;
        world.user("ada@example.com", Some(super::PASSWORD)).await;
        let token = world.login("ada@example.com").await["access_token"].clone();
        assert_eq!(part(&token, 0)["alg"], json!(algorithm));
        let (signed, signature) = token.as_str().and_then(|token| token.rsplit_once('.')).expect("a token");
        macro_rules! mac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(secret.as_bytes()).expect("any length is fine");
                mac.update(signed.as_bytes());
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            }};
        }
        let expected = match algorithm {
            "HS256" => mac!(sha2::Sha256),
            "HS384" => mac!(sha2::Sha384),
            _ => mac!(sha2::Sha512),
        };
        assert_eq!(signature, expected, "{algorithm}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_never_from_before_the_last_sign_out() {
    let world = World::start().await;
    let ada = world.user("ada@example.com", Some(super::PASSWORD)).await;
    // Several in a row: some of them within the second of their sign-out.
    for _ in 0..3 {
        sign_out(&world.app, &ada.id).await.expect("signed out");
        let not_before = world.now(&ada).await.tokens_not_before().expect("a time");
        let tokens = world.login("ada@example.com").await;
        for token in [&tokens, &world.refresh(&tokens).await] {
            assert!(claims(&token["access_token"])["iat"].as_u64() >= Some(not_before));
        }
    }
    world.stop().await;
}

fn kids(keys: &[Jwk]) -> Vec<String> {
    keys.iter().filter_map(|key| key.kid.clone()).collect()
}

/// The keys of the older sign-in that edges get now.
async fn edge_kids(world: &World) -> Vec<String> {
    let settings = sync(world.running.edge_addr).await.settings.expect("settings");
    let issuer = settings.issuers.into_iter().find(|issuer| issuer.kind == IssuerKind::Legacy);
    kids(&issuer.expect("the issuer").keys)
}

/// The published keys, but for that of assertions.
async fn published(world: &World) -> Vec<String> {
    let set = world.ask(Request::get("/.well-known/jwks.json")).await.json();
    let keys: Vec<Jwk> = serde_json::from_value(set["keys"].clone()).expect("keys");
    kids(&keys).into_iter().filter(|kid| *kid != world.assertion.kid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_our_own_is_with_every_edge_before_it_signs() {
    let world = World::with(|_, sign_in| {
        sign_in.signing = Signing::OwnKey;
        // It is asked by logins which key signs.
        sign_in.per_account = AttemptLimit { most: 10_000, seconds: 60 };
    })
    .await;
    world.user("ada@example.com", Some(super::PASSWORD)).await;
    let first = edge_kids(&world).await;
    assert_eq!((first.len(), &published(&world).await), (1, &first));
    let header = async || -> Value { part(&world.login("ada@example.com").await["access_token"], 0) };
    assert_eq!(header().await, json!({"alg": "EdDSA", "kid": first[0], "typ": "JWT"}));

    // Another process rotates; the old key goes on to verify, and to sign while edges get the new one.
    let second = rotate(&world.app, Duration::from_secs(900)).await.expect("rotated");
    assert_ne!(second, first[0]);
    let both = vec![first[0].clone(), second.clone()];
    let has_both = || async { (edge_kids(&world).await == both).then_some(()) };
    let ((), took) = until("edges have both keys", Duration::from_secs(10), has_both).await;
    println!("a new signing key was with edges after {took:?}");
    assert_eq!(published(&world).await, both);
    assert_eq!(header().await["kid"], json!(first[0]));
    let signs = || async { (header().await["kid"] == json!(second)).then_some(()) };
    let ((), took) = until("the new key signs", Duration::from_secs(30), signs).await;
    println!("it signed {took:?} later");
    assert_eq!(edge_kids(&world).await, both, "tokens of the old key are still good");
    world.stop().await;
}
