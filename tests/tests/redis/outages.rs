//! A Redis that is slow, dead, deaf, or something else: it costs no request more than 50 ms, and loses nothing.

use std::time::Duration;

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::Instant};
use tollgate::{config::RedisConfig, service::keys};
use tollgate_protocol::{Code, Revoked, edge::Outcome};
use tollgate_tests::{
    http::{Request, send},
    redis::{Redis, config_of},
    stack::user_with_password,
    wait::until,
};

use super::{Kind, QUIET, World, key_question};

/// What it may cost a request at most.
const MOST: Duration = Duration::from_millis(50);
/// How long requests are made while Redis is ill: several attempts of the control plane to have it back.
const ILL_FOR: Duration = Duration::from_millis(2_500);
const RIGHT: &str = "correct horse battery staple";

/// Times of requests, to a control plane with Redis and to one without, in turns.
#[derive(Default)]
struct Times {
    /// With Redis; those apart that have waited for it in vain.
    with: Vec<Duration>,
    in_vain: Vec<Duration>,
    without: Vec<Duration>,
}

impl Times {
    /// Makes requests for a while.
    async fn measure(world: &World, question: &Value, during: Duration) -> Self {
        let mut times = Self::default();
        let until = Instant::now() + during;
        while Instant::now() < until {
            for (replica, login) in [(0, false), (1, false), (0, true), (1, true)] {
                let before = in_vain(world).await;
                let began = Instant::now();
                if login {
                    let answer = world.login(replica, "ada@example.com", RIGHT).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                } else {
                    super::identity(world.resolve(replica, question).await);
                }
                let took = began.elapsed();
                let kind = match replica {
                    0 if in_vain(world).await > before => &mut times.in_vain,
                    0 => &mut times.with,
                    _ => &mut times.without,
                };
                kind.push(took);
            }
        }
        times
    }

    /// Prints what Redis costs, and holds it to [`MOST`]. A machine that is busy makes any request slow now and then:
    /// of those that have not waited for Redis only the slowest twentieth is left out.
    fn judge(self, what: &str) {
        let Self { mut with, in_vain, mut without } = self;
        with.sort();
        without.sort();
        let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100];
        let usual = at(&without, 50);
        let vain: Vec<Duration> = in_vain.iter().map(|took| took.saturating_sub(usual)).collect();
        println!(
            "Redis {what}: {} requests, median {:?}, 95 % {:?} (without Redis {usual:?}, {:?}); waited in vain: {vain:?} more",
            with.len() + vain.len(),
            at(&with, 50),
            at(&with, 95),
            at(&without, 95),
        );
        assert!(vain.iter().all(|added| *added <= MOST), "Redis {what} costs a request {vain:?}");
        assert!(vain.len() <= 2, "Redis {what} is waited for again and again: {vain:?}");
        assert!(at(&with, 95).saturating_sub(at(&without, 95)) <= MOST, "Redis {what} costs every request something");
    }
}

/// How many calls to Redis were waited for in vain.
async fn in_vain(world: &World) -> u64 {
    let calls = async |outcome| world.counted(0, "tollgate_redis_calls_total", &[outcome]).await;
    (calls("\"slow\"").await + calls("\"failed\"").await) as u64
}

async fn world(redis: RedisConfig) -> (World, Value) {
    let world = World::start(Kind::Sqlite, &[Some(redis), None]).await;
    let ada = user_with_password(&world.config, "ada@example.com", Some(RIGHT)).await;
    let question = key_question(&world.key(&ada).await);
    (world, question)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_or_dead_it_costs_no_request_more_than_fifty_milliseconds() {
    let _alone = QUIET.write().await;
    let mut redis = Redis::start().await;
    let (world, question) = world(redis.config()).await;
    Times::measure(&world, &question, Duration::from_millis(500)).await.judge("well");

    redis.freeze(true);
    Times::measure(&world, &question, ILL_FOR).await.judge("standing still");
    world.wait_for_redis(0, false).await;
    redis.freeze(false);
    world.wait_for_redis(0, true).await;
    Times::measure(&world, &question, Duration::from_millis(500)).await.judge("back");

    redis.kill();
    Times::measure(&world, &question, ILL_FOR).await.judge("killed");
    world.wait_for_redis(0, false).await;
    redis.restart().await;
    world.wait_for_redis(0, true).await;
    let before = world.hits(0).await;
    Times::measure(&world, &question, Duration::from_millis(500)).await.judge("back and empty");
    let hit = || async {
        world.resolve(0, &question).await;
        (world.hits(0).await > before).then_some(())
    };
    until("it is used again", Duration::from_secs(5), hit).await;

    for round in 0..8 {
        redis.freeze(round % 2 == 0);
        Times::measure(&world, &question, Duration::from_millis(300)).await.judge("coming and going");
    }
    redis.freeze(false);
    world.stop().await;
}

/// Something that listens and is no Redis.
async fn listens(says: &'static [u8]) -> RedisConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(says).await;
            // Never read, never closed.
            open.push(stream);
        }
    });
    config_of(&format!("redis://:secret@127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_for_us_is_gone_without() {
    let _alone = QUIET.write().await;
    let redis = Redis::start().await;
    let wrong_password = config_of(&format!("redis://:wrong@{}", redis.addr()));
    let nobody = config_of("redis://127.0.0.1:1");
    for (what, config) in [
        ("deaf", listens(b"").await),
        ("talking nonsense", listens(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>").await),
        ("that quotes", listens(b"-ERR unknown command 'HELLO', with args beginning with: 'secret'\r\n").await),
        ("with another password", wrong_password),
        ("that is not there", nobody),
    ] {
        let began = Instant::now();
        let (world, question) = world(config).await;
        println!("Redis {what}: started in {:?}", began.elapsed());
        Times::measure(&world, &question, Duration::from_millis(1_500)).await.judge(what);
        world.wait_for_redis(0, false).await;
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_revocation_is_lost_while_it_is_away() {
    let _beside = QUIET.read().await;
    let redis = Redis::start().await;
    let world = World::start(Kind::Mongo, &[Some(redis.config()), Some(redis.config())]).await;
    let ada = user_with_password(&world.config, "ada@example.com", Some(RIGHT)).await;
    let key = world.key(&ada).await;
    let question = key_question(&key);
    let warm = || async {
        let _ = (world.resolve(0, &question).await, world.resolve(1, &question).await);
        (world.hits(0).await > 0.0 && world.hits(1).await > 0.0).then_some(())
    };
    until("both answer out of Redis", Duration::from_secs(20), warm).await;
    let session = world.login(0, "ada@example.com", RIGHT).await.json();
    let session = session["session_id"].as_str().expect("a session").to_owned();
    let cursor = world.sync(1).await.cursor;

    // Redis stands still with the good key in it, and cannot be told.
    redis.freeze(true);
    let began = Instant::now();
    keys::revoke(&world.app, &ada.id, &key.key.id).await.expect("revoked");
    tollgate::service::sessions::end(&world.app, &ada.id, &session, None).await.expect("ended");
    for replica in [0, 1] {
        let told = || async {
            let path = format!("/edge/v1/sync?cursor={cursor}&node=n1");
            let request = Request::get(&path).bearer(super::SECRET);
            let answer = send(world.replicas[replica].edge_addr, &request).await.expect("an answer");
            let text = String::from_utf8(answer.body).expect("text");
            (text.contains(Code::ApiKeyRevoked.as_str()) && text.contains(&session)).then_some(())
        };
        until("edges are told", Duration::from_secs(1), told).await;
        let refused = || async {
            let outcome = world.resolve(replica, &question).await.outcome;
            (outcome == Outcome::Refused(Code::ApiKeyRevoked)).then_some(())
        };
        until("the key is refused", Duration::from_secs(1), refused).await;
    }
    println!("revoked while Redis stood still: told and refused everywhere after {:?}", began.elapsed());
    // It goes on, and still has the good key in it.
    redis.freeze(false);
    assert!(!redis.everything().await.is_empty(), "what it has kept is there");
    for replica in [0, 1] {
        world.wait_for_redis(replica, true).await;
        assert_eq!(world.resolve(replica, &question).await.outcome, Outcome::Refused(Code::ApiKeyRevoked));
        assert!(
            world.sync(replica).await.revocations.iter().any(|one| one.what == Revoked::Session && one.id == session)
        );
    }
    world.stop().await;
}
