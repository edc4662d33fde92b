//! `POST /edge/v1/usage` and `POST /edge/v1/leases`: what an Envoy sends, and what it is told.

use serde_json::{Value, json};
use tollgate::service::credits;
use tollgate_tests::{
    http::{Request, send},
    wait::{PATIENCE, until},
};

use super::{SECRET, World, faults};

fn take(world: &World, request: &str, wanted: u64, least: u64, seconds: u32) -> Value {
    json!({"request": request, "user_id": world.ada.id.as_str(), "wanted": wanted, "least": least, "seconds": seconds})
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_taken_used_and_given_back() {
    let world = World::start(|_| {}).await;
    let call = json!({"node": "n1", "take": [take(&world, "1", 9_000, 1, 60), take(&world, "2", 9_000, 1_001, 60),
        {"request": "3", "user_id": "nobody", "wanted": 1, "least": 1, "seconds": 1}]});
    let answer = world.edge("/edge/v1/leases", &call).await.json();
    let first = &answer["taken"][0];
    assert_eq!((&first["outcome"], &first["amount"]), (&json!("granted"), &json!(9_000)), "{answer}");
    assert_eq!(answer["taken"][1], json!({"request": "2", "outcome": "exhausted", "reserved": 9_000}));
    assert_eq!(answer["taken"][2], json!({"request": "3", "outcome": "unknown"}));
    let id = first["id"].as_str().expect("an id");
    assert_eq!(world.edge("/edge/v1/leases", &call).await.json(), answer, "the same wishes, the same lease");
    let elsewhere = json!({"node": "n2", "take": [take(&world, "1", 5, 1, 60)]});
    let other = world.edge("/edge/v1/leases", &elsewhere).await.json();
    assert_ne!(other["taken"][0]["id"].as_str(), Some(id), "another Envoy's wish of that name");

    let usage = json!({"node": "n1", "batch": 1, "leases": [{"id": id, "used": 70}, {"id": "lse_0", "used": 1}],
        "requests": [{"user_id": world.ada.id.as_str(), "requests": 3, "tokens": 70, "last_used_at": 1}]});
    let told = world.edge("/edge/v1/usage", &usage).await.json();
    assert_eq!(told, json!({"unknown_leases": ["lse_0"]}));
    assert_eq!(world.edge("/edge/v1/usage", &usage).await.json(), told);
    let back = json!({"node": "n1", "renew": [{"id": id, "used": 80, "extend_seconds": 600}],
        "settle": [{"id": id, "used": 75}, {"id": "lse_0", "used": 0}]});
    let answer = world.edge("/edge/v1/leases", &back).await.json();
    assert_eq!(answer["settled"][0], json!({"id": id, "outcome": "ended"}));
    assert_eq!(answer["settled"][1], json!({"id": "lse_0", "outcome": "unknown"}));
    assert_eq!(answer["renewed"][0], json!({"id": id, "outcome": "ended"}), "settled first, then renewed");
    let balance = credits::balance(&world.app, &world.ada.id).await.expect("a balance").account;
    assert_eq!((balance.remaining, balance.reserved, balance.used), (9_915, 5, 80));

    let metrics = send(world.running.edge_addr, &Request::get("/metrics")).await.expect("an answer").text();
    for line in [
        "tollgate_tokens_total{change=\"reserved\"} 9005",
        "tollgate_tokens_total{change=\"settled\"} 8925",
        "tollgate_tokens_total{change=\"used\"} 80",
        "tollgate_open_reservations 1",
        "tollgate_usage_batches_total{outcome=\"applied\"} 1",
        "tollgate_usage_batches_total{outcome=\"duplicate\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_renews_comes_back_by_itself() {
    let world = World::start(|_| {}).await;
    let call = json!({"node": "n1", "take": [take(&world, "1", 500, 1, 1)]});
    world.edge("/edge/v1/leases", &call).await;
    let back = || async {
        let account = credits::balance(&world.app, &world.ada.id).await.expect("a balance").account;
        (account.remaining == 10_000 && account.reserved == 0).then_some(())
    };
    let ((), after) = until("the lease is settled", PATIENCE, back).await;
    println!("a lease of one second came back after {after:?}");
    let counted = || async {
        let metrics = send(world.running.edge_addr, &Request::get("/metrics")).await.ok()?.text();
        metrics.contains("tollgate_expired_reservations_total 1").then_some(())
    };
    until("it is counted", PATIENCE, counted).await;
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_messages_are_listed_and_nothing_is_applied() {
    let world = World::start(|_| {}).await;
    let count = |requests: u64| json!({"user_id": world.ada.id.as_str(), "requests": requests, "last_used_at": 1});
    let many = vec![count(1); 501];
    for (body, wanted) in [
        (json!({"node": "", "batch": 1_u64 << 53}), vec!["batch", "node"]),
        (json!({"node": "a b", "batch": 1}), vec!["node"]),
        (json!({"node": "n".repeat(65), "batch": 1, "requests": many}), vec!["node", "requests"]),
        (
            json!({"node": "n", "batch": 1, "requests": [count(1), count(u64::MAX)], "leases": [{"id": "", "used": 1}]}),
            vec!["leases[0].id", "requests[1].requests"],
        ),
        (json!({"node": "n", "batch": -1}), vec!["body"]),
        (json!({"node": "n"}), vec!["body"]),
    ] {
        assert_eq!(faults(&world.edge("/edge/v1/usage", &body).await), wanted, "{body}");
    }
    let good = take(&world, "1", 5, 1, 60);
    for (body, wanted) in [
        (
            json!({"node": "n", "take": [good, take(&world, "", 5, 6, 601)]}),
            vec!["take[1].least", "take[1].request", "take[1].seconds"],
        ),
        (
            json!({"node": "n", "take": [take(&world, "1", 0, 0, 0)]}),
            vec!["take[0].least", "take[0].seconds", "take[0].wanted"],
        ),
        (json!({"node": "n", "settle": vec![json!({"id": "l", "used": 1}); 201]}), vec!["body"]),
        (json!({"node": "n", "renew": [{"id": "l", "used": 1, "extend_seconds": 0}]}), vec!["renew[0].extend_seconds"]),
    ] {
        assert_eq!(faults(&world.edge("/edge/v1/leases", &body).await), wanted, "{body}");
    }
    let account = credits::balance(&world.app, &world.ada.id).await.expect("a balance").account;
    assert_eq!((account.seq, account.remaining), (0, 10_000));
    for path in ["/edge/v1/usage", "/edge/v1/leases", "/edge/v1/limits"] {
        let body = Request::post(path, "{\"node\":\"n\"}").header("Content-Type", "application/json");
        assert_eq!(send(world.running.edge_addr, &body).await.expect("an answer").status, 401, "{path}");
        let large = Request::post(path, vec![b' '; 257 * 1024]).header("Content-Type", "application/json");
        let answer = send(world.running.edge_addr, &large.bearer(SECRET)).await.expect("an answer");
        assert_eq!(answer.status, 413, "{path}");
    }
    world.running.shutdown().await;
}
