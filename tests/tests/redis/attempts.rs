//! Login attempts, counted over replicas.

use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_tests::{redis::Redis, stack::user_with_password};

use super::{Kind, QUIET, World};

const RIGHT: &str = "correct horse battery staple";

/// So many logins fail at once, in turn at both replicas. Gives how many were refused for the password, and how many
/// for being too many.
async fn fail(world: &Arc<World>, email: &'static str, replicas: &[usize], times: usize) -> (usize, usize) {
    let mut tries = JoinSet::new();
    for number in 0..times {
        let (world, replica) = (Arc::clone(world), replicas[number % replicas.len()]);
        tries.spawn(async move { world.login(replica, email, "wrong").await });
    }
    let (mut refused, mut too_many) = (0, 0);
    for answer in tries.join_all().await {
        match answer.status {
            401 => refused += 1,
            429 => {
                let wait: u32 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("a time");
                assert!((1..=901).contains(&wait), "{wait}");
                too_many += 1;
            }
            _ => panic!("{}", answer.text()),
        }
    }
    (refused, too_many)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_replicas_and_without_redis_over_each() {
    let _beside = QUIET.read().await;
    let mut redis = Redis::start().await;
    let world = World::limited(Kind::Sqlite, &[Some(redis.patient()), Some(redis.patient())], 6).await;
    user_with_password(&world.config, "ada@example.com", Some(RIGHT)).await;
    user_with_password(&world.config, "bob@example.com", Some(RIGHT)).await;
    let world = Arc::new(world);

    assert_eq!(fail(&world, "ada@example.com", &[0, 1], 16).await, (6, 10), "six may fail, wherever");
    for replica in [0, 1] {
        assert_eq!(world.login(replica, "ada@example.com", RIGHT).await.status, 429);
        let good = world.login(replica, "bob@example.com", RIGHT).await;
        assert_eq!(good.status, 200, "others are not concerned: {}", good.text());
    }
    let everything = redis.everything().await;
    // Longer than anything that could stand in a hash by chance.
    assert!(everything.iter().all(|(name, _)| !String::from_utf8_lossy(name).contains("example")), "{everything:?}");

    // Good logins are no attempts, over replicas too.
    for number in 0..14 {
        assert_eq!(world.login(number % 2, "bob@example.com", RIGHT).await.status, 200);
    }
    // Four of six fail; then Redis dies, and each replica goes on from what it has counted itself.
    assert_eq!(fail(&world, "bob@example.com", &[0], 4).await, (4, 0));
    redis.kill();
    world.login(1, "nobody@example.com", "wrong").await;
    world.login(0, "nobody@example.com", "wrong").await;
    world.wait_for_redis(0, false).await;
    world.wait_for_redis(1, false).await;
    assert_eq!(fail(&world, "bob@example.com", &[0], 5).await, (2, 3), "what it has counted is not forgotten");
    assert_eq!(fail(&world, "bob@example.com", &[1], 9).await, (6, 3), "never unlimited");
    // And when it is back, empty, nobody begins anew.
    redis.restart().await;
    world.wait_for_redis(0, true).await;
    assert_eq!(fail(&world, "bob@example.com", &[0], 3).await, (0, 3));
    Arc::into_inner(world).expect("the last one").stop().await;
}
