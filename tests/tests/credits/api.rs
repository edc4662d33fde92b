//! `/api/tokens`: what a user sees, and what a backend may use.

use serde_json::{Value, json};
use tollgate::{domain::ledger::Allowances, service::credits};
use tollgate_tests::http::{Answer, Request, send};

use super::{World, faults};

const CONSUME: &[&str] = &["tokens:consume"];

fn consumption(key: Option<&str>, body: &Value) -> Request {
    let request = Request::post("/api/tokens/consume", body.to_string()).header("Content-Type", "application/json");
    match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    }
}

async fn consume(world: &World, key: &str, body: &Value) -> Answer {
    world.ask(consumption(Some(key), body), CONSUME).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_uses_tokens_once_by_its_key() {
    let world = World::start(|_| {}).await;
    let first = consume(&world, "order 17", &json!({"amount": 300, "note": "a poem"})).await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("no-store")), "{}", first.text());
    assert_eq!(first.json(), json!({"entry": 1, "amount": 300, "remaining": 9_700}));
    consume(&world, "order 18", &json!({"amount": 700})).await;
    let again = consume(&world, "order 17", &json!({"amount": 300, "note": "a poem"})).await;
    assert_eq!((again.status, again.json()), (200, first.json()), "the first outcome, whatever came after");
    let other = consume(&world, "order 17", &json!({"amount": 301, "note": "a poem"})).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("conflict")));

    let short = consume(&world, "order 19", &json!({"amount": 9_001})).await;
    assert_eq!((short.status, short.json()["code"].as_str()), (402, Some("tokens_exhausted")), "{}", short.text());
    let balance = world.ask(Request::get("/api/tokens"), &[]).await.json();
    assert_eq!((&balance["remaining"], &balance["used"]), (&json!(9_000), &json!(1_000)), "nothing was taken");
    credits::grant(&world.app, &world.ada.id, 1, "one more", None).await.expect("granted");
    assert_eq!(consume(&world, "order 19", &json!({"amount": 9_001})).await.status, 200, "and it may be tried again");
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_scope_uses_tokens() {
    let world = World::start(|_| {}).await;
    for (scopes, status, code) in [
        (&[][..], 403, "scope_required"),
        (&["tokens"], 403, "scope_required"),
        (&["tokens:consume2", "a"], 403, "scope_required"),
    ] {
        let answer = world.ask(consumption(Some("k"), &json!({"amount": 1})), scopes).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{scopes:?}");
    }
    assert_eq!(world.ask(consumption(Some("k"), &json!({"amount": 1})), &["a", "tokens:consume"]).await.status, 200);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_listed() {
    let world = World::start(|_| {}).await;
    let long = "k".repeat(256);
    for (key, body, wanted) in [
        (Some("k"), json!({}), vec!["amount"]),
        (None, json!({"amount": 0, "note": 1, "colour": 2}), vec!["amount", "colour", "idempotency-key", "note"]),
        (Some(""), json!({"amount": 1}), vec!["idempotency-key"]),
        (Some(&*long), json!({"amount": 1}), vec!["idempotency-key"]),
        (Some("\u{e9}"), json!({"amount": 1}), vec!["idempotency-key"]),
        (Some("k"), json!({"amount": -1}), vec!["amount"]),
        (Some("k"), json!({"amount": 1.5}), vec!["amount"]),
        (Some("k"), json!({"amount": "1"}), vec!["amount"]),
        (Some("k"), json!({"amount": 1_000_000_000_001_i64}), vec!["amount"]),
        (Some("k"), json!({"amount": 1, "note": "x".repeat(201)}), vec!["note"]),
        (Some("k"), json!([1]), vec!["body"]),
    ] {
        let answer = world.ask(consumption(key, &body), CONSUME).await;
        assert_eq!(faults(&answer), wanted, "{key:?} {body}");
    }
    let twice = consumption(Some("a"), &json!({"amount": 1})).header("Idempotency-Key", "b");
    assert_eq!(faults(&world.ask(twice, CONSUME).await), ["idempotency-key"]);
    for (query, wanted) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
    ] {
        let answer = world.ask(Request::get(&format!("/api/tokens/history?{query}")), &[]).await;
        assert_eq!(faults(&answer), [wanted], "{query}");
    }
    let large = consumption(Some("k"), &json!({"amount": 1, "note": "x".repeat(20_000)}));
    assert_eq!(world.ask(large, CONSUME).await.status, 413);
    assert_eq!(credits::balance(&world.app, &world.ada.id).await.expect("a balance").account.seq, 0);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_paged_newest_first() {
    let world = World::start(|_| {}).await;
    for number in 1..=5 {
        let note = Some("a gift");
        credits::grant(&world.app, &world.ada.id, number, &format!("g{number}"), note).await.expect("granted");
    }
    let (mut amounts, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let query = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = world.ask(Request::get(&format!("/api/tokens/history?limit=2{query}")), &[]).await.json();
        amounts.extend(page["entries"].as_array().expect("entries").iter().map(|entry| entry["amount"].clone()));
        pages += 1;
        cursor = page["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((amounts, pages), (vec![json!(5), json!(4), json!(3), json!(2), json!(1)], 3));
    let whole = world.ask(Request::get("/api/tokens/history"), &[]).await.json();
    let newest = &whole["entries"][0];
    assert_eq!((&newest["number"], &newest["kind"]), (&json!(5), &json!("grant")));
    assert_eq!((&newest["balance"], &newest["note"]), (&json!(10_015), &json!("a gift")));
    assert!(newest["key"].is_null() && newest["actor"].is_null(), "who did it is for the log of changes");
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_tells_what_comes_next() {
    let world = World::start(|config| config.allowances = Allowances { free: 12_000, ..Allowances::default() }).await;
    let lease = json!({"node": "n1", "take": [
        {"request": "1", "user_id": world.ada.id.as_str(), "wanted": 500, "least": 1, "seconds": 60}]});
    assert_eq!(world.edge("/edge/v1/leases", &lease).await.status, 200);
    consume(&world, "k", &json!({"amount": 100})).await;
    let balance = world.ask(Request::get("/api/tokens"), &[]).await.json();
    let numbers = ["remaining", "reserved", "used", "month_used", "next_refill_amount"].map(|name| &balance[name]);
    assert_eq!(numbers, [9_400, 500, 100, 100, 2_100].map(Value::from).each_ref(), "{balance}");
    assert!(balance["monthly_limit"].is_null());
    assert_eq!(balance["next_refill_at"], balance["month_ends_at"]);
    world.running.shutdown().await;

    let world = World::start(|_| {}).await;
    let balance = world.ask(Request::get("/api/tokens"), &[]).await.json();
    assert!(balance["next_refill_at"].is_null() && balance["next_refill_amount"].is_null(), "{balance}");
    let without = send(world.running.api_addr, &Request::get("/api/tokens")).await.expect("an answer");
    assert_eq!(without.status, 401);
    world.running.shutdown().await;
}
