//! Refresh tokens, sessions, logouts, and when a user was last there.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::{domain::UserPatch, service::users};
use tollgate_protocol::{Revoked, edge::Change};
use tollgate_tests::{
    http::{Request, send},
    wait::until,
};

use super::{EDGE_SECRET, World, claims, sync};

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_used_up_a_lost_answer_is_given_again_and_reuse_ends_the_session() {
    let world = World::start().await;
    world.user("ada@example.com", Some(super::PASSWORD)).await;
    let first = world.login("ada@example.com").await;
    let second = world.refresh(&first).await;
    assert_eq!(second["session_id"], first["session_id"]);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_ne!(claims(&second["access_token"])["jti"], claims(&first["access_token"])["jti"]);
    // The answer was lost: the same token again, within moments.
    let again = world.refresh(&first).await;
    assert_ne!(again["refresh_token"], second["refresh_token"]);
    let third = world.refresh(&again).await;
    assert_eq!(sync(world.running.edge_addr).await.revocations, []);

    // Now two parties have tokens of this session.
    let reused = world.try_refresh(&second["refresh_token"]).await;
    assert_eq!((reused.status, &reused.json()["code"]), (401, &json!("refresh_refused")));
    let revoked = sync(world.running.edge_addr).await.revocations;
    let ended: Vec<_> = revoked.iter().map(|one| (one.what, json!(one.id), one.issuer.clone())).collect();
    assert_eq!(ended, [(Revoked::Session, first["session_id"].clone(), None)]);
    let last = claims(&third["access_token"])["exp"].as_u64().expect("exp");
    assert!(revoked[0].until >= last, "for as long as one of its tokens could be good");
    for tokens in [&first, &second, &again, &third] {
        assert_eq!(world.try_refresh(&tokens["refresh_token"]).await.status, 401);
    }
    // Another session goes on.
    let other = world.login("ada@example.com").await;
    world.refresh(&other).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_given_is_no_refresh_token_and_ends_nothing() {
    let world = World::start().await;
    let ada = world.user("ada@example.com", Some(super::PASSWORD)).await;
    let tokens = world.login("ada@example.com").await;
    let text = tokens["refresh_token"].as_str().expect("a token");
    let other_family = format!("rt_{}{}", "A".repeat(22), &text[25..]);
    for junk in ["", "rt_", "junk", other_family.as_str(), tokens["access_token"].as_str().expect("a token")] {
        assert_eq!(world.try_refresh(&json!(junk)).await.status, 401, "{junk}");
    }
    let tokens = world.refresh(&tokens).await;
    let inactive = |is_active| UserPatch { is_active: Some(is_active), ..UserPatch::default() };
    users::update(&world.app, &ada.id, &inactive(false), None).await.expect("changed");
    assert_eq!(world.try_refresh(&tokens["refresh_token"]).await.status, 401, "the account may not be used");
    users::update(&world.app, &ada.id, &inactive(true), None).await.expect("changed");
    world.refresh(&tokens).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_refresh_at_once_both_get_tokens_and_the_session_lives() {
    let world = World::start().await;
    world.user("ada@example.com", Some(super::PASSWORD)).await;
    let tokens = world.login("ada@example.com").await;
    let (one, other) = tokio::join!(world.refresh(&tokens), world.refresh(&tokens));
    assert_ne!(one["refresh_token"], other["refresh_token"]);
    assert_eq!(sync(world.running.edge_addr).await.revocations, []);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_by_their_own_user_only() {
    let world = World::start().await;
    let ada = world.user("ada@example.com", Some(super::PASSWORD)).await;
    let bob = world.user("bob@example.com", Some(super::PASSWORD)).await;
    let (one, other) = (world.login("ada@example.com").await, world.login("ada@example.com").await);
    let id = |tokens: &Value| tokens["session_id"].as_str().expect("a session").to_owned();
    let own = id(&other);
    let list = || Request::get("/api/sessions");
    let listed = world.as_user(&ada, "legacy", Some(&own), list()).await.json();
    let sessions = listed["sessions"].as_array().expect("sessions");
    let shown: Vec<_> = sessions.iter().map(|one| (one["id"].clone(), one["current"].clone())).collect();
    assert_eq!(shown, [(json!(own), json!(true)), (json!(id(&one)), json!(false))]);
    assert_eq!((&sessions[0]["address"], &sessions[0]["user_agent"]), (&json!("203.0.113.0/24"), &json!("test/1.0")));
    assert!(!listed.to_string().contains("rt_"), "{listed}");

    let end = |session: &str| Request::new("DELETE", &format!("/api/sessions/{session}"));
    for (what, user, method, request, status) in [
        ("another user", &bob, "legacy", end(&id(&one)), 404),
        ("an unknown session", &ada, "legacy", end("ses_nobody"), 404),
        ("what cannot be decoded", &ada, "legacy", end("%ff"), 404),
        ("a session of Clerk that is not the caller's", &ada, "clerk", end("sess_2"), 404),
        ("an API key", &ada, "api_key", end(&id(&one)), 403),
        ("an API key", &ada, "api_key", Request::new("POST", "/auth/logout"), 403),
        ("its user", &ada, "legacy", end(&id(&one)), 204),
        ("again", &ada, "legacy", end(&id(&one)), 404),
    ] {
        let answer = world.as_user(user, method, Some(&own), request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_eq!(world.as_user(&bob, "legacy", None, list()).await.json()["sessions"], json!([]));
    assert_eq!(world.try_refresh(&one["refresh_token"]).await.status, 401);
    world.refresh(&other).await;
    let clerks = world.as_user(&ada, "clerk", Some("sess_2"), end("sess_2")).await;
    assert_eq!(clerks.status, 204, "the caller's own session of Clerk");
    let revoked: Vec<_> = sync(world.running.edge_addr).await.revocations.into_iter().map(|one| one.id).collect();
    assert_eq!(revoked, [id(&one), "sess_2".to_owned()]);

    assert_eq!(world.as_user(&ada, "legacy", Some(&own), Request::new("POST", "/auth/logout")).await.status, 204);
    assert_eq!(world.try_refresh(&other["refresh_token"]).await.status, 401);
    assert!(world.now(&ada).await.last_logout_at.is_some() && world.now(&bob).await.last_logout_at.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_user_are_bounded() {
    let world = World::start().await;
    let ada = world.user("ada@example.com", Some(super::PASSWORD)).await;
    let first = world.login("ada@example.com").await;
    for _ in 0..50 {
        world.login("ada@example.com").await;
    }
    let listed = world.as_user(&ada, "legacy", None, Request::get("/api/sessions")).await.json();
    assert_eq!(listed["sessions"].as_array().expect("sessions").len(), 50);
    assert_eq!(world.try_refresh(&first["refresh_token"]).await.status, 401, "the oldest one is ended");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_user_was_last_there_is_noted_beside_and_told_to_nobody() {
    let world = World::start().await;
    let ada = world.user("ada@example.com", None).await;
    assert_eq!(world.now(&ada).await.last_login_at, None);
    let cursor = sync(world.running.edge_addr).await.cursor;
    let body = json!({"credential": "legacy", "subject": ada.id.as_str()}).to_string();
    let resolve = Request::post("/edge/v1/resolve", body).header("Content-Type", "application/json");
    let answer = send(world.running.edge_addr, &resolve.bearer(EDGE_SECRET)).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let noted = || async { world.now(&ada).await.last_login_at };
    let (_, took) = until("it is noted", Duration::from_secs(5), noted).await;
    println!("that a user was there was noted after {took:?}");
    // What is told next is the next change, and nothing before it.
    let patch = UserPatch { name: Some(Some("Ada".into())), ..UserPatch::default() };
    users::update(&world.app, &ada.id, &patch, None).await.expect("changed");
    let path = format!("/edge/v1/sync?cursor={cursor}&node=n1");
    let answer = send(world.running.edge_addr, &Request::get(&path).bearer(EDGE_SECRET)).await.expect("an answer");
    let told: tollgate_protocol::edge::SyncAnswer = serde_json::from_slice(&answer.body).expect("an answer");
    assert!(matches!(&told.changes[..], [Change::User { id, .. }] if *id == ada.id.as_str()), "{told:?}");
    world.stop().await;
}
