//! Readiness by parts: what is only degraded does not take a control plane out of service.

use serde_json::Value;
use tollgate::serve;
use tollgate_tests::{
    http::{Request, send},
    redis::Redis,
    wait::{PATIENCE, until},
};

fn part<'b>(body: &'b Value, name: &str) -> &'b Value {
    let parts = body["parts"].as_array().expect("parts");
    parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{name}: {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_says_how_it_is_and_since_when() {
    let mut redis = Redis::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = super::config(&folder);
    config.redis = Some(redis.config());
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "default = \"deny\"\n").expect("a policy");
    config.policy_file = Some(policy.clone());
    let running = serve::start(config).await.expect("it starts");
    let ready = || async {
        let answer = send(running.edge_addr, &Request::get("/readyz")).await.expect("an answer");
        (answer.status, answer.json())
    };
    let (status, body) = ready().await;
    assert_eq!((status, &body["ready"], &body["reasons"]), (200, &Value::Bool(true), &serde_json::json!([])));
    for name in ["store", "feed", "keys of without a name", "policy", "redis"] {
        let part = part(&body, name);
        assert!(part["status"] == "ok" && part["since"].is_string() && part["why"].is_null(), "{part}");
    }
    let since = part(&body, "redis")["since"].clone();

    redis.kill();
    std::fs::write(&policy, "default = \"perhaps\"\n").expect("a policy");
    let degraded = || async {
        let (status, body) = ready().await;
        assert_eq!(status, 200, "{body}");
        (part(&body, "redis")["status"] == "degraded" && part(&body, "policy")["status"] == "degraded").then_some(body)
    };
    let (body, _) = until("Redis and the policy are degraded", PATIENCE, degraded).await;
    let redis_part = part(&body, "redis");
    assert!(redis_part["why"].as_str().is_some_and(|why| why.contains("Redis is away")), "{redis_part}");
    assert_ne!(redis_part["since"], since, "{redis_part}");
    redis.restart().await;
    let back = || async { (part(&ready().await.1, "redis")["status"] == "ok").then_some(()) };
    until("Redis is back", PATIENCE, back).await;
    running.shutdown().await;
}
