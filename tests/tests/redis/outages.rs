//! A Redis that is slow, dead, deaf, or something else: it costs no request more than 50 ms, and loses nothing.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::Instant};
use tollgate::{config::RedisConfig, service::keys};
use tollgate_protocol::{Code, Revoked, edge::Outcome};
use tollgate_tests::{
    http::{Request, send},
    redis::{Redis, config_of},
    stack::user_with_password,
    wait::until,
};

use super::{Kind, World, key_question};

/// What it may cost a request at most.
const MOST: Duration = Duration::from_millis(50);
/// How long requests are made while Redis is ill: several attempts of the control plane to have it back.
const ILL_FOR: Duration = Duration::from_millis(2_500);
const RIGHT: &str = "correct horse battery staple";

/// Times of requests, to a control plane with Redis and to one without, in turns.
#[derive(Default)]
struct Times {
    with: Vec<Duration>,
    without: Vec<Duration>,
}

impl Times {
    /// Makes requests for a while, and gives what Redis costs the slowest.
    async fn measure(world: &World, question: &serde_json::Value, during: Duration) -> Self {
        let mut times = Self::default();
        let until = Instant::now() + during;
        while Instant::now() < until {
            for (replica, login) in [(0, false), (1, false), (0, true), (1, true)] {
                let began = Instant::now();
                if login {
                    assert_eq!(world.login(replica, "ada@example.com", RIGHT).await.status, 200);
                } else {
                    super::identity(world.resolve(replica, question).await);
                }
                let took = began.elapsed();
                if replica == 0 { times.with.push(took) } else { times.without.push(took) }
            }
        }
        times
    }

    /// Prints it, and holds it to [`MOST`].
    fn judge(mut self, what: &str) {
        self.with.sort();
        self.without.sort();
        let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100];
        let added = at(&self.with, 100).saturating_sub(at(&self.without, 100));
        println!(
            "Redis {what}: {} requests, slowest {:?}, without Redis {:?}: {added:?} more (median {:?}, without {:?})",
            self.with.len(),
            at(&self.with, 100),
            at(&self.without, 100),
            at(&self.with, 50),
            at(&self.without, 50),
        );
        assert!(added <= MOST, "Redis {what} costs a request {added:?}");
    }
}

async fn world(redis: RedisConfig) -> (World, serde_json::Value) {
    let world = World::start(Kind::Sqlite, &[Some(redis), None]).await;
    let ada = user_with_password(&world.config, "ada@example.com", Some(RIGHT)).await;
    let question = key_question(&world.key(&ada).await);
    (world, question)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_or_dead_it_costs_no_request_more_than_fifty_milliseconds() {
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
