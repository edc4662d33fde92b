//! Key sets: fetched, kept, rotated; and nothing that an issuer does wrong takes good keys away.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tollgate_tests::{
    http::{Request, send},
    wait::{PATIENCE, until},
};

use super::{
    CLERK, Server, clerk, config,
    fake_issuer::{FakeIssuer, Mood},
};

const FAST: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_secs(3600);

async fn server(issuer: &FakeIssuer, refresh: Duration, min_interval: Duration) -> Server {
    let (mut config, folder) = config();
    config.clerk = Some(clerk(&issuer.url, refresh, min_interval));
    Server::start(config, folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_settings_have_the_keys() {
    let issuer = FakeIssuer::start(Mood::Good("one")).await;
    let server = server(&issuer, NEVER, NEVER).await;
    assert_eq!(server.kids().await, ["one"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_misbehaviour_takes_good_keys_away_nor_a_restart_during_it() {
    for bad in [
        Mood::Html,
        Mood::Empty,
        Mood::NoKeys,
        Mood::WeakKey,
        Mood::Error,
        Mood::Redirect,
        Mood::Huge,
        Mood::Slow,
        Mood::HangUp,
    ] {
        let issuer = FakeIssuer::start(Mood::Good("one")).await;
        let mut server = server(&issuer, FAST, FAST).await;
        assert_eq!(server.kids().await, ["one"]);
        for _ in 0..2 {
            issuer.set(bad.clone());
            let before = issuer.fetches();
            let tried = || async { (issuer.fetches() > before + 1 || matches!(bad, Mood::Slow)).then_some(()) };
            until("the issuer is asked again", PATIENCE, tried).await;
            assert_eq!(server.kids().await, ["one"], "{bad:?}");
            server = server.restart().await;
            assert_eq!(server.kids().await, ["one"], "{bad:?} after a restart");
        }
        issuer.set(Mood::Good("two"));
        let healed = || async { (server.kids().await == ["two"]).then_some(()) };
        until("the issuer is well again", PATIENCE, healed).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_at_the_start_is_asked_until_it_is_there() {
    let issuer = FakeIssuer::start(Mood::HangUp).await;
    let server = server(&issuer, NEVER, NEVER).await;
    assert_eq!(server.kids().await, [""; 0]);
    let ready = send(server.running.edge_addr, &Request::get("/readyz")).await.expect("an answer");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("no key set of issuer https://clerk.test yet"), "{}", ready.text());

    let cursor = server.sync(None).await.cursor;
    issuer.set(Mood::Good("one"));
    let (answer, took) = until("keys are pushed", PATIENCE, || async {
        let answer = server.sync(Some(&cursor)).await;
        answer.settings.is_some_and(|settings| !settings.issuers[0].keys.is_empty()).then_some(())
    })
    .await;
    println!("keys came {took:?} after the issuer did {answer:?}");
    let ready = send(server.running.edge_addr, &Request::get("/readyz")).await.expect("an answer");
    assert_eq!(ready.status, 200, "{}", ready.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kid_brings_the_new_key_within_a_second_and_many_ask_once() {
    let issuer = FakeIssuer::start(Mood::Good("one")).await;
    let server = server(&issuer, NEVER, NEVER).await;
    let cursor = settled(&server).await;
    let fetches = issuer.fetches();
    issuer.set(Mood::Good("two"));
    let began = Instant::now();
    for _ in 0..100 {
        let answer = server.post("/edge/v1/refresh", json!({"issuer": CLERK})).await;
        assert_eq!(answer.status, 202);
    }
    let stranger = server.post("/edge/v1/refresh", json!({"issuer": "https://stranger.test"})).await;
    assert_eq!(stranger.status, 202);
    let answer = server.sync(Some(&cursor)).await;
    let took = began.elapsed();
    let keys = answer.settings.expect("new settings").issuers.remove(0).keys;
    assert_eq!(keys[0].kid.as_deref(), Some("two"));
    assert!(!answer.reset && took < Duration::from_secs(1), "{took:?}");
    assert_eq!(issuer.fetches(), fetches + 1, "100 askers, one fetch");
    println!("a rotated key reached an edge {took:?} after the first unknown kid (100 askers, one fetch)");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interval_between_asked_fetches_is_kept() {
    let issuer = FakeIssuer::start(Mood::Good("one")).await;
    let interval = Duration::from_millis(400);
    let server = server(&issuer, NEVER, interval).await;
    settled(&server).await;
    let fetches = issuer.fetches();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1000) {
        server.post("/edge/v1/refresh", json!({"issuer": CLERK})).await;
    }
    let made = issuer.fetches() - fetches;
    assert!((2..=4).contains(&made), "{made} fetches in a second at one per {interval:?}");
    server.stop().await;
}

/// Waits until the settings of the start have been announced, so that what comes next is news.
async fn settled(server: &Server) -> tollgate_protocol::Cursor {
    let app = server.other_process().await;
    let mut cursor = server.sync(None).await.cursor;
    let quiet = Duration::from_millis(600);
    while let Ok(answer) = tokio::time::timeout(quiet, server.sync(Some(&cursor))).await {
        cursor = answer.cursor;
    }
    drop(app);
    cursor
}
