//! Limits over all Envoys, counted over replicas.

use serde_json::json;
use tollgate::domain::BucketPace;
use tollgate_protocol::{
    Rate,
    limits::{LimitsAnswer, LimitsReport},
};
use tollgate_tests::{
    http::{Answer, Request},
    redis::Redis,
};

use super::{Kind, QUIET, World};

const RATE: Rate = Rate { requests: 10, seconds: 3_600, burst: Some(8) };

impl World {
    /// Reports what was used of one bucket after the other.
    async fn report(&self, replica: usize, node: &str, used: &[(&str, u32)]) -> Answer {
        let used: Vec<_> =
            used.iter().map(|(bucket, used)| json!({ "bucket": bucket, "rate": RATE, "used": used })).collect();
        let report: LimitsReport = serde_json::from_value(json!({ "node": node, "used": used })).expect("a report");
        let body = serde_json::to_string(&report).expect("a report");
        self.edge(replica, Request::post("/edge/v1/limits", body).header("Content-Type", "application/json")).await
    }

    async fn left(&self, replica: usize, node: &str, used: &[(&str, u32)]) -> (u32, Vec<u64>) {
        let answer = self.report(replica, node, used).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: LimitsAnswer = serde_json::from_slice(&answer.body).expect("an answer");
        (answer.envoys, answer.buckets.iter().map(|bucket| bucket.left).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_over_all_envoys_hold_over_replicas() {
    let _beside = QUIET.read().await;
    let mut redis = Redis::start().await;
    let world = World::start(Kind::Sqlite, &[Some(redis.patient()), Some(redis.patient()), None]).await;
    assert_eq!(world.left(0, "a", &[("x", 3), ("y", 0)]).await, (1, vec![5, 8]));
    assert_eq!(world.left(1, "b", &[("y", 1), ("x", 4)]).await, (2, vec![7, 1]));
    assert_eq!(world.left(0, "a", &[("x", 3)]).await, (2, vec![0]));
    assert_eq!(world.left(1, "a", &[]).await, (2, vec![]));
    // Without Redis a replica counts for itself, by the same rule.
    assert_eq!(world.left(2, "a", &[("x", 7)]).await, (1, vec![1]));
    let (_, expected) = BucketPace::from(RATE).take(0, 10, 2, 1_000);
    let answer = world.report(1, "b", &[("x", 0)]).await;
    let answer: LimitsAnswer = serde_json::from_slice(&answer.body).expect("an answer");
    let (wait, most) = (answer.buckets[0].wait_us, expected.wait_us);
    // Each is one of ten in an hour; a minute has passed at most.
    assert!(wait <= most && wait + 60_000_000 > most, "{wait} of {most}");
    // Redis is away: the Envoy hears that nobody counts, and goes on with its own part.
    redis.kill();
    let answer = world.report(0, "a", &[("x", 1)]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    world.wait_for_redis(0, false).await;
    redis.restart().await;
    world.wait_for_redis(0, true).await;
    assert_eq!(world.left(0, "a", &[("x", 1)]).await, (1, vec![7]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_none_is_refused() {
    let _beside = QUIET.read().await;
    let world = World::start(Kind::Sqlite, &[None]).await;
    let (long, many) = ("n".repeat(65), vec![("x", 1); 501]);
    for (node, used) in [("", vec![]), (&*long, vec![]), ("a b", vec![]), ("a", vec![("", 1)]), ("a", many)] {
        assert_eq!(world.report(0, node, &used).await.status, 400, "{node:?} {}", used.len());
    }
    world.stop().await;
}
