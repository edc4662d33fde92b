//! Identities out of Redis: shared, never outdated, and worth nothing to whoever else can read or write there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinSet;
use tollgate::{
    domain::{Role, Stamp, Timestamp, UserPatch},
    service::{keys, users},
    store,
};
use tollgate_protocol::{Code, edge::Outcome};
use tollgate_tests::{
    redis::{Redis, Reply},
    wait::{PATIENCE, until},
};

use super::{Kind, QUIET, World, identity, key_question, legacy_question};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_has_looked_up_the_other_does_not() {
    let _beside = QUIET.read().await;
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let redis = Redis::start().await;
        let world = World::start(kind, &[Some(redis.patient()), Some(redis.patient())]).await;
        let ada = world.user("ada@example.com").await;
        let key = world.key(&ada).await;
        for question in [
            key_question(&key),
            legacy_question(&ada),
            json!({"credential": "clerk", "issuer": "https://clerk.test", "subject": "user_1"}),
        ] {
            let before = world.hits(1).await;
            let first = identity(world.resolve(0, &question).await);
            // It is put there off the road of the request.
            let hit = || async {
                assert_eq!(identity(world.resolve(1, &question).await), first, "{kind:?}");
                (world.hits(1).await > before).then_some(())
            };
            until("an answer out of Redis", PATIENCE, hit).await;
        }
        world.stop().await;
    }
}

/// Times of the store are those of the whole process: nothing else may be asked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_out_of_redis_asks_the_store_nothing() {
    let _alone = QUIET.write().await;
    let redis = Redis::start().await;
    let world = World::start(Kind::Mongo, &[Some(redis.patient()), Some(redis.patient())]).await;
    let question = key_question(&world.key(&world.user("ada@example.com").await).await);
    world.resolve(0, &question).await;
    until("it is kept", PATIENCE, || async { (!redis.everything().await.is_empty()).then_some(()) }).await;
    let asked = async || {
        let mut asked = 0.0;
        for part in ["\"users\"", "\"keys\""] {
            asked += world.counted(0, "tollgate_store_seconds_count", &["\"mongodb\"", part]).await;
        }
        asked
    };
    // The other replica's feed may be a moment behind the place as of which it was kept.
    let hit = || async {
        identity(world.resolve(1, &question).await);
        (world.hits(1).await > 0.5).then_some(())
    };
    until("an answer out of Redis", PATIENCE, hit).await;
    let (before, hits) = (asked().await, world.hits(1).await);
    assert!(before > 0.0, "the first one was asked for there");
    let began = std::time::Instant::now();
    for _ in 0..100 {
        identity(world.resolve(1, &question).await);
    }
    println!("100 answers out of Redis: {:?} each", began.elapsed() / 100);
    assert!((world.hits(1).await - hits - 100.0).abs() < 0.5, "all of them");
    assert!((asked().await - before).abs() < 0.5, "the store was asked");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ends_what_lies_there() {
    let _beside = QUIET.read().await;
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let redis = Redis::start().await;
        let world = World::start(kind, &[Some(redis.patient()), Some(redis.patient())]).await;
        let ada = world.user("ada@example.com").await;
        let key = world.key(&ada).await;
        let question = key_question(&key);
        let warm = async || {
            let before = (world.hits(0).await, world.hits(1).await);
            let hit = || async {
                let _ = (world.resolve(0, &question).await, world.resolve(1, &question).await);
                (world.hits(0).await > before.0 && world.hits(1).await > before.1).then_some(())
            };
            until("both answer out of Redis", PATIENCE, hit).await;
        };
        warm().await;
        let developer = UserPatch { role: Some(Role::Developer), ..UserPatch::default() };
        users::update(&world.app, &ada.id, &developer, None).await.expect("changed");
        for replica in [0, 1] {
            let role =
                || async { (identity(world.resolve(replica, &question).await).role == "developer").then_some(()) };
            until("the new role", Duration::from_secs(1), role).await;
        }
        warm().await;
        keys::revoke(&world.app, &ada.id, &key.key.id).await.expect("revoked");
        for replica in [0, 1] {
            let revoked = || async {
                let outcome = world.resolve(replica, &question).await.outcome;
                (outcome == Outcome::Refused(Code::ApiKeyRevoked)).then_some(())
            };
            until("the key is refused", Duration::from_secs(1), revoked).await;
        }
        world.stop().await;
    }
}

/// Changes beside look-ups, on two replicas and by a third process: an answer never shows less than what had happened
/// at the place of the feed that it names.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_older_than_it_says() {
    let _beside = QUIET.read().await;
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let redis = Redis::start().await;
        let world = Arc::new(World::start(kind, &[Some(redis.patient()), Some(redis.patient())]).await);
        let ada = world.user("ada@example.com").await;
        let key = world.key(&ada).await;
        // (place of the feed, number of the change that is in it), and (place, number that was answered).
        let changed = Arc::new(Mutex::new(Vec::new()));
        let answered = Arc::new(Mutex::new(Vec::new()));
        let done = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for reader in 0..6 {
            let (world, answered, done) = (Arc::clone(&world), Arc::clone(&answered), Arc::clone(&done));
            let question = if reader % 3 == 0 { legacy_question(&ada) } else { key_question(&key) };
            readers.spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let answer = world.resolve(reader % 2, &question).await;
                    let place = answer.as_of.seq;
                    let name = identity(answer).name.unwrap_or_default();
                    answered.lock().expect("no panic").push((place, name.parse::<u64>().unwrap_or(0)));
                }
            });
        }
        let store = store::open(&world.config.store).await.expect("the store opens");
        for number in 1..=150_u64 {
            let patch = UserPatch { name: Some(Some(number.to_string())), ..UserPatch::default() };
            let stamp = Stamp::system(Timestamp::from_seconds(1_800_000_000));
            store.update_user(&ada.id, &patch, None, &stamp).await.expect("changed");
            let place = store.head().await.expect("a place").seq;
            changed.lock().expect("no panic").push((place, number));
            // Now and then long enough for answers to be kept and found again.
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        done.store(true, Ordering::Relaxed);
        readers.join_all().await;
        let (changed, answered) = (taken(&changed), taken(&answered));
        for (place, number) in answered.iter() {
            let least = changed.iter().filter(|(changed, _)| changed <= place).map(|(_, number)| *number).max();
            assert!(
                *number >= least.unwrap_or(0),
                "{kind:?}: {number} as of {place}, where {least:?} was there already"
            );
        }
        let hits = world.hits(0).await + world.hits(1).await;
        println!("{kind:?}: {} answers beside {} changes, {hits} of them out of Redis", answered.len(), changed.len());
        assert!(hits > 20.0, "nothing was shown: {hits} hits");
        Arc::into_inner(world).expect("the last one").stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_write_there_becomes_nobody_and_whoever_can_read_learns_nothing() {
    let _beside = QUIET.read().await;
    let redis = Redis::start().await;
    let world = World::start(Kind::Sqlite, &[Some(redis.patient())]).await;
    let (ada, root) = (world.user("ada@example.com").await, world.user("root@example.com").await);
    let admin = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(&world.app, &root.id, &admin, None).await.expect("changed");
    let (adas, roots) = (world.key(&ada).await, world.key(&root).await);
    assert_eq!(identity(world.resolve(0, &key_question(&adas)).await).role, "user");
    let kept = || async { Some(redis.everything().await).filter(|all| all.len() == 1) };
    let (one, _) = until("it is kept", PATIENCE, kept).await;
    let adas_name = one[0].0.clone();
    assert_eq!(identity(world.resolve(0, &key_question(&roots)).await).role, "admin");
    let kept = || async { Some(redis.everything().await).filter(|all| all.len() == 2) };
    let (all, _) = until("both are kept", PATIENCE, kept).await;

    let told = [
        ada.id.as_str(),
        "ada@example.com",
        "root@example.com",
        "admin",
        &adas.key.hash.to_string(),
        adas.plain.expose(),
        roots.plain.expose(),
    ];
    for (name, value) in &all {
        for secret in told {
            let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!holds(name) && !holds(value), "{secret}");
        }
        let Reply::Number(left) = redis.ask(&[b"PTTL", name]).await else { panic!("no number") };
        assert!((1..=60_000).contains(&left), "{left}");
    }

    let roots_value = all.iter().find(|(name, _)| *name != adas_name).expect("it").1.clone();
    let mut bent = all.iter().find(|(name, _)| *name == adas_name).expect("it").1.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    for forged in [roots_value, bent, b"{}".to_vec(), Vec::new()] {
        let before = world.counted(0, "tollgate_shared_identities_total", &["unreadable"]).await;
        redis.ask(&[b"SET", &adas_name, &forged]).await;
        let found = identity(world.resolve(0, &key_question(&adas)).await);
        assert_eq!((found.role.as_str(), found.user_id.as_str()), ("user", ada.id.as_str()));
        let unreadable = world.counted(0, "tollgate_shared_identities_total", &["unreadable"]).await;
        assert!(unreadable > before, "it was looked at");
        // What was looked up instead is put in its place.
        let mended = || async {
            let Reply::Bytes(value) = redis.ask(&[b"GET", &adas_name]).await else { panic!("no value") };
            (value.as_ref() != Some(&forged)).then_some(())
        };
        until("a good value", PATIENCE, mended).await;
    }
    world.stop().await;
}

/// What was gathered.
fn taken(gathered: &Mutex<Vec<(u64, u64)>>) -> Vec<(u64, u64)> {
    std::mem::take(&mut *gathered.lock().expect("no panic"))
}
