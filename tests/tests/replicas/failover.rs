//! The primary of a replica set of three real `mongod`s steps down, and another one is killed, in the middle of writes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mongodb::bson::{Document, doc};
use tokio::{task::JoinSet, time::Instant};
use tollgate::{
    domain::{Happening, Stamp, Timestamp, User, UserId},
    store::{self, FeedPage, Store, StoreError},
};
use tollgate_tests::{
    mongod::Cluster,
    wait::{PATIENCE, until},
};

const WRITERS: usize = 8;
/// How long it may take until writes are acknowledged again. Where a server stands still, MongoDB itself needs up to
/// half a minute: a secondary that copied from it waits for it.
const RECOVERY: Duration = Duration::from_secs(60);

/// What became of the writes.
#[derive(Debug, Default)]
struct Log {
    /// By id: whether it was acknowledged.
    written: BTreeMap<String, bool>,
    last: Option<Instant>,
    longest_gap: Duration,
    acknowledged: usize,
}

impl Log {
    fn note(&mut self, id: String, acknowledged: bool) {
        self.written.insert(id, acknowledged);
        if acknowledged {
            let now = Instant::now();
            self.longest_gap = self.longest_gap.max(self.last.map_or(Duration::ZERO, |last| now - last));
            self.last = Some(now);
            self.acknowledged += 1;
        }
    }
}

/// Writes until it is told to stop, one user after the other; what fails is not tried again.
async fn write(store: Arc<dyn Store>, writer: usize, log: Arc<Mutex<Log>>, stop: Arc<AtomicBool>) {
    let at = Timestamp::from_seconds(1_800_000_000);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("w{writer}_{n}");
        let outcome = store.insert_user(&User::new(UserId::new(id.clone()), at), &Stamp::system(at)).await;
        match &outcome {
            Ok(_) | Err(StoreError::Unavailable(_)) => {}
            Err(fault) => panic!("{id}: {fault}"),
        }
        log.lock().expect("the log").note(id, outcome.is_ok());
    }
}

/// Waits until so many more writes were acknowledged.
async fn more_writes(log: &Mutex<Log>, count: usize) {
    let wanted = log.lock().expect("the log").acknowledged + count;
    let enough = || async { (log.lock().expect("the log").acknowledged >= wanted).then_some(()) };
    until("writes are acknowledged", RECOVERY, enough).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_and_none_is_there_twice() {
    // Should it fail, the log says why.
    tollgate::telemetry::start(tollgate::config::LogFormat::Text, "warn");
    let mut cluster = Cluster::set(3).await;
    let location = cluster.location("people");
    let (store, other) = (store::open(&location).await.expect("opens"), store::open(&location).await.expect("opens"));
    let start = other.head().await.expect("head");
    let (log, stop) = (Arc::new(Mutex::new(Log::default())), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&store), writer, Arc::clone(&log), Arc::clone(&stop)));
    }
    more_writes(&log, 200).await;

    cluster.step_down().await;
    more_writes(&log, 200).await;
    let step_down = std::mem::take(&mut log.lock().expect("the log").longest_gap);
    let killed = cluster.kill_primary().await;
    more_writes(&log, 200).await;
    let kill = std::mem::take(&mut log.lock().expect("the log").longest_gap);
    cluster.restart(killed);
    more_writes(&log, 200).await;
    cluster.wait_for_members().await;
    log.lock().expect("the log").longest_gap = Duration::ZERO;
    let frozen = cluster.freeze_primary().await;
    more_writes(&log, 200).await;
    let freeze = std::mem::take(&mut log.lock().expect("the log").longest_gap);
    cluster.thaw(frozen);
    more_writes(&log, 200).await;

    // With one of three left there is no majority: now writes fail, each of them maybe at the very end.
    cluster.wait_for_members().await;
    let gone = [cluster.kill_primary().await, cluster.kill_primary().await];
    let refused = || async {
        let log = log.lock().expect("the log");
        (log.written.len() - log.acknowledged >= WRITERS).then_some(())
    };
    until("writes are refused", PATIENCE, refused).await;
    for server in gone {
        cluster.restart(server);
    }
    more_writes(&log, 200).await;
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;

    let log = std::mem::take(&mut *log.lock().expect("the log"));
    let unknown = log.written.values().filter(|acknowledged| !**acknowledged).count();
    println!(
        "{} writes, {unknown} of them not acknowledged; no write was acknowledged for {step_down:?} when the primary \
         stepped down, for {kill:?} when it was killed, for {freeze:?} when it stood still",
        log.written.len(),
    );
    assert!(unknown >= WRITERS, "an outage without a majority refuses writes");
    let database = cluster.database("people").await;
    let mut entries: BTreeMap<String, usize> = BTreeMap::new();
    let mut cursor = database.collection::<Document>("tollgate_audit").find(doc! {}).await.expect("found");
    while cursor.advance().await.expect("read") {
        let entry = Document::try_from(cursor.current()).expect("a document");
        *entries.entry(entry.get_str("subject").expect("a subject").to_owned()).or_default() += 1;
    }
    let mut there = Vec::new();
    for (id, acknowledged) in &log.written {
        let is_there = store.user(&UserId::new(id.clone())).await.expect("read").is_some();
        assert!(is_there || !acknowledged, "{id} was acknowledged and is lost");
        assert_eq!(entries.get(id).copied().unwrap_or_default(), usize::from(is_there), "entries of {id}");
        if is_there {
            there.push(id.clone());
        }
    }

    // The feed of a process that only listens: each of them once, nothing missing.
    let told = || async {
        match other.since(&start, 100_000).await.expect("read") {
            FeedPage::Entries(entries, _) if entries.len() >= there.len() => Some(entries),
            FeedPage::Entries(..) => None,
            FeedPage::Lost(head) => panic!("lost at {head}"),
        }
    };
    let (told, _) = until("everything is told", PATIENCE, told).await;
    let mut told: Vec<String> = told
        .into_iter()
        .map(|entry| match entry.happening {
            Happening::User(id) => id.as_str().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort();
    there.sort();
    assert_eq!(told, there);
}
