//! `resolve`: who is found, linked, made or refused.

use std::collections::BTreeSet;

use serde_json::json;
use tollgate::{
    app::App,
    domain::{Role, User, UserPatch},
    service::{
        keys::{self, NewKey},
        users,
    },
};
use tollgate_protocol::{Code, Identity, KeyHash, edge::Outcome};
use tollgate_tests::http::{Request, send};

use super::{CLERK, SECRET, Server, clerk_claims};

fn identity(outcome: Outcome) -> Identity {
    match outcome {
        Outcome::Identity(identity) => identity,
        Outcome::Refused(code) => panic!("refused: {code}"),
    }
}

fn key_question(hash: KeyHash) -> serde_json::Value {
    json!({"credential": "api_key", "hash": hash})
}

async fn user(app: &App, email: &str, verified: bool) -> User {
    users::ensure(app, email, verified, None).await.expect("a user")
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_in_every_standing() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    let ada = user(&app, "ada@example.com", true).await;
    let new = NewKey { name: "ci".into(), scopes: vec!["b".into(), "a:read".into()], expires_at: None, rate: None };
    let good = keys::issue(&app, &ada.id, &new).await.expect("a key");
    let expired = keys::issue_expired(&app, &ada.id, "old").await.expect("a key");

    let found = identity(server.resolve(key_question(keys::hash(good.plain.expose()))).await);
    assert_eq!((found.user_id.as_str(), found.role.as_str(), found.is_active), (ada.id.as_str(), "user", true));
    assert_eq!((found.tokens_remaining, found.subscription.as_deref()), (Some(10_000), Some("free")));
    let facts = found.key.expect("facts of the key");
    assert_eq!((facts.id.as_str(), facts.hash), (good.key.id.as_str(), good.key.hash));
    assert_eq!(facts.scopes, ["a:read", "b"]);

    assert_eq!(server.resolve(key_question(KeyHash([7; 32]))).await, Outcome::Refused(Code::ApiKeyUnknown));
    assert_eq!(server.resolve(key_question(expired.key.hash)).await, Outcome::Refused(Code::ApiKeyExpired));
    users::update(&app, &ada.id, &UserPatch { is_active: Some(false), ..UserPatch::default() }, None)
        .await
        .expect("changed");
    let inactive = identity(server.resolve(key_question(good.key.hash)).await);
    assert!(!inactive.is_active, "the edge refuses it, and knows whom");
    keys::revoke(&app, &ada.id, &good.key.id).await.expect("revoked");
    assert_eq!(server.resolve(key_question(good.key.hash)).await, Outcome::Refused(Code::ApiKeyRevoked));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_tokens_only_find() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    let ada = user(&app, "ada@example.com", false).await;
    for subject in [ada.id.as_str(), "ada@example.com", "ADA@Example.com"] {
        let found = server.resolve(json!({"credential": "legacy", "subject": subject})).await;
        assert_eq!(identity(found).user_id, ada.id.as_str(), "{subject}");
    }
    let long = "x".repeat(5000);
    for subject in ["", "nobody", "bob@example.com", "@", "a@b@c", "' OR 1=1 --", &long] {
        let found = server.resolve(json!({"credential": "legacy", "issuer": "https://old", "subject": subject})).await;
        assert_eq!(found, Outcome::Refused(Code::UserUnknown), "{subject}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_user_is_made_once_and_found_after() {
    let server = Server::plain().await;
    let mut claims = clerk_claims("user_1", Some("New@Example.com"), true);
    claims["name"] = json!("  Neu Ë  ");
    let made = identity(server.resolve(claims.clone()).await);
    assert_eq!(made.email.as_deref(), Some("new@example.com"));
    assert_eq!((made.name.as_deref(), made.clerk_id.as_deref()), (Some("Neu Ë"), Some("user_1")));
    assert_eq!((made.role.as_str(), made.tokens_remaining, made.key), ("user", Some(10_000), None));
    assert_eq!(identity(server.resolve(claims).await).user_id, made.user_id);
    assert_eq!(identity(server.resolve(clerk_claims("user_1", None, false)).await).user_id, made.user_id);
    let moved = clerk_claims("user_1", Some("other@example.com"), true);
    assert_eq!(identity(server.resolve(moved).await).email.as_deref(), Some("new@example.com"), "never linked anew");
    let mut elsewhere = clerk_claims("user_1", None, false);
    elsewhere["issuer"] = json!("https://other.test");
    assert_ne!(identity(server.resolve(elsewhere).await).user_id, made.user_id, "ids belong to their issuer");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_needs_proof_on_both_sides() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    let good = user(&app, "good@x.y", true).await;
    user(&app, "unproved@x.y", false).await;
    let admin = user(&app, "admin@x.y", true).await;
    let patch = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(&app, &admin.id, &patch, None).await.expect("changed");

    let refused = |code| Outcome::Refused(code);
    let ask = |subject: &'static str, email: &'static str, verified| {
        server.resolve(clerk_claims(subject, Some(email), verified))
    };
    assert_eq!(ask("c1", "good@x.y", false).await, refused(Code::EmailUnverified));
    assert_eq!(ask("c1", "unproved@x.y", true).await, refused(Code::EmailConflict));
    assert_eq!(ask("c1", "admin@x.y", true).await, refused(Code::EmailConflict));
    let linked = identity(ask("c1", "GOOD@x.y", true).await);
    assert_eq!((linked.user_id.as_str(), linked.clerk_id.as_deref()), (good.id.as_str(), Some("c1")));
    assert_eq!(ask("c2", "good@x.y", true).await, refused(Code::EmailConflict), "linked to another Clerk user");
    assert_eq!(
        identity(ask("c1", "admin@x.y", true).await).user_id,
        good.id.as_str(),
        "found by id, whatever the address"
    );

    let unproved = identity(ask("c3", "squatter@x.y", false).await);
    assert_eq!(unproved.email, None, "an unproved address is not taken");
    let owner = identity(ask("c4", "squatter@x.y", true).await);
    assert_eq!(owner.email.as_deref(), Some("squatter@x.y"));
    assert_ne!(owner.user_id, unproved.user_id);
    let junk = identity(ask("c5", "not an address", true).await);
    assert_eq!(junk.email, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impersonated_token_makes_and_links_nobody() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    user(&app, "ada@x.y", true).await;
    for email in [None, Some("ada@x.y"), Some("new@x.y")] {
        let mut claims = clerk_claims("c1", email, true);
        claims["impersonated"] = json!(true);
        assert_eq!(server.resolve(claims).await, Outcome::Refused(Code::UserUnknown), "{email:?}");
    }
    let made = identity(server.resolve(clerk_claims("c1", Some("ada@x.y"), true)).await);
    let mut claims = clerk_claims("c1", None, false);
    claims["impersonated"] = json!(true);
    assert_eq!(identity(server.resolve(claims).await).user_id, made.user_id);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_first_requests_make_one_user() {
    let server = Server::plain().await;
    let edge = server.running.edge_addr;
    let began = tokio::time::Instant::now();
    let mut asks = Vec::new();
    for _ in 0..200 {
        let body = clerk_claims("user_1", Some("one@example.com"), true).to_string();
        asks.push(tokio::spawn(async move {
            let request = Request::post("/edge/v1/resolve", body).header("Content-Type", "application/json");
            send(edge, &request.bearer(SECRET)).await
        }));
    }
    let mut ids = BTreeSet::new();
    for ask in asks {
        let answer = ask.await.expect("the task").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        ids.insert(answer.json()["outcome"]["identity"]["user_id"].to_string());
    }
    println!("200 first look-ups of one {CLERK} user took {:?}", began.elapsed());
    assert_eq!(ids.len(), 1, "{ids:?}");
    server.stop().await;
}
