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

/// One sample of the metrics; 0 where there is none.
async fn counted(server: &Server, sample: &str) -> f64 {
    let metrics = send(server.running.edge_addr, &Request::get("/metrics")).await.expect("metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample).map(str::to_owned));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

async fn ready(server: &Server) -> u16 {
    send(server.running.edge_addr, &Request::get("/readyz")).await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn no_misbehaviour_takes_good_keys_away_nor_a_restart_during_it() {
    let bad_fetches = format!("tollgate_key_set_fetches_total{{issuer=\"{CLERK}\",outcome=\"bad\"}}");
    for bad in Mood::BAD {
        let issuer = FakeIssuer::start(Mood::Good("one")).await;
        let mut server = server(&issuer, FAST, FAST).await;
        assert_eq!(server.kids().await, ["one"]);
        for _ in 0..2 {
            issuer.set(bad);
            let before = counted(&server, &bad_fetches).await;
            // A fetch that hangs is given up, and counted, after five seconds only.
            let tried =
                || async { (bad == Mood::Slow || counted(&server, &bad_fetches).await > before + 1.5).then_some(()) };
            until("the failure is counted", PATIENCE, tried).await;
            assert_eq!(server.kids().await, ["one"], "{bad:?}");
            assert_eq!(ready(&server).await, 200, "{bad:?}: good keys are in use");
            server = server.restart().await;
            assert_eq!(server.kids().await, ["one"], "{bad:?} after a restart");
            assert_eq!(ready(&server).await, 200, "{bad:?} after a restart");
        }
        issuer.set(Mood::Good("two"));
        let healed = || async { (server.kids().await == ["two"]).then_some(()) };
        until("the issuer is well again", PATIENCE, healed).await;
        let age = counted(&server, &format!("tollgate_key_set_age_seconds{{issuer=\"{CLERK}\"}}")).await;
        assert!(age < 5.0, "{bad:?}: the new set is {age} s old");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_had_keys_is_not_ready_and_has_none_of_a_bad_answer() {
    for bad in Mood::BAD {
        let issuer = FakeIssuer::start(bad).await;
        let server = server(&issuer, FAST, FAST).await;
        assert_eq!(server.kids().await, [""; 0], "{bad:?}");
        assert_eq!(ready(&server).await, 503, "{bad:?}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_fetch_is_given_up_and_counted() {
    let issuer = FakeIssuer::start(Mood::Good("one")).await;
    let server = server(&issuer, FAST, FAST).await;
    assert_eq!(server.kids().await, ["one"]);
    issuer.set(Mood::Slow);
    let bad = format!("tollgate_key_set_fetches_total{{issuer=\"{CLERK}\",outcome=\"bad\"}}");
    let given_up = || async { (counted(&server, &bad).await > 0.5).then_some(()) };
    let ((), took) = until("the fetch is given up", PATIENCE, given_up).await;
    assert_eq!(server.kids().await, ["one"]);
    println!("a fetch that hangs was given up after {took:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_has_fetched_another_tells_at_once() {
    let issuer = FakeIssuer::start(Mood::Good("one")).await;
    let (first, folder) = config();
    let mut first = first;
    first.clerk = Some(clerk(&issuer.url, NEVER, FAST));
    let second = first.clone();
    let first = Server::start(first, folder).await;
    // Another process on the same data.
    let (_, unused) = config();
    let second = Server::start(second, unused).await;
    assert_eq!((first.kids().await, second.kids().await), (vec!["one".to_owned()], vec!["one".to_owned()]));
    let held = second.sync(None).await.cursor;

    let cursor = first.sync(None).await.cursor;
    issuer.set(Mood::Good("two"));
    assert_eq!(first.post("/edge/v1/refresh", json!({"issuer": CLERK})).await.status, 202);
    let told = first.sync(Some(&cursor)).await;
    let keys = |settings: tollgate_protocol::edge::Settings| settings.issuers[0].keys[0].kid.clone();
    assert_eq!(told.settings.and_then(keys).as_deref(), Some("two"));
    // An Envoy that goes over is not told the former keys, and nothing twice.
    let over = tokio::time::timeout(Duration::from_millis(300), second.sync(Some(&told.cursor))).await;
    assert!(over.is_err(), "there was no news: {over:?}");
    // One that has asked the other replica all the time hears within a few seconds, though that one never fetched.
    let (answer, took) = until("the other replica has taken it over", PATIENCE, || async {
        second.sync(Some(&held)).await.settings.and_then(keys).filter(|kid| kid == "two")
    })
    .await;
    println!("a key set fetched by one replica was told by another after {took:?}");
    assert_eq!((answer.as_str(), issuer.fetches()), ("two", 3));
    first.stop().await;
    second.stop().await;
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
