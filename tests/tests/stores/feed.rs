//! What every store does with the feed of changes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tollgate::{
    domain::{Email, Happening, Timestamp, UserId, UserPatch},
    store::{FeedPage, Store},
};
use tollgate_protocol::Cursor;
use tollgate_tests::wait::until;

use super::{
    Place, futures_all,
    records::{BY, clerk, key, user, with_email},
};

async fn since(store: &Arc<dyn Store>, cursor: &Cursor) -> Vec<Happening> {
    match store.since(cursor, 10_000).await.expect("read") {
        FeedPage::Entries(entries, _) => entries.into_iter().map(|entry| entry.happening).collect(),
        FeedPage::Lost(head) => panic!("lost at {head}"),
    }
}

fn after(cursor: &Cursor, seq: u64) -> Cursor {
    Cursor::new(cursor.epoch.clone(), seq)
}

pub(crate) async fn every_change_is_told_once_and_in_order(place: &Place) {
    let store = place.open().await;
    let start = store.head().await.expect("head");
    let alice = with_email("alice", "alice@x.y");
    let key = key("k", "alice", 1);
    store.insert_user(&alice, &BY).await.expect("inserted");
    store.insert_key(&key, &BY).await.expect("inserted");
    let named = UserPatch { name: Some(Some("Alice".into())), ..UserPatch::default() };
    store.update_user(&alice.id, &named, None, &BY).await.expect("updated");
    store.link_clerk(&Email::new("alice@x.y").expect("an address"), &clerk("c"), &BY).await.expect("linked");
    store.revoke_key(&alice.id, &key.id, &BY).await.expect("revoked");
    store.revoke_key(&alice.id, &key.id, &BY).await.expect("revoked again, which is no news");
    let user = || Happening::User(alice.id.clone());
    let expected = [user(), Happening::Key(key.hash), user(), user(), Happening::KeyRevoked(key.hash)];
    assert_eq!(since(&store, &start).await, expected);
    let head = store.head().await.expect("head");
    assert!(head.seq > start.seq && head.epoch == start.epoch, "{start} {head}");
    assert_eq!(*store.news().borrow(), head.seq);
    assert_eq!(since(&store, &head).await, []);
}

pub(crate) async fn what_failed_is_not_told(place: &Place) {
    let store = place.open().await;
    store.insert_user(&with_email("1", "a@b.c"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    assert_eq!(since(&store, &head).await, [], "the change that returned is behind the head");
    store.insert_user(&with_email("2", "a@b.c"), &BY).await.expect_err("taken");
    store.insert_key(&key("k", "nobody", 1), &BY).await.expect_err("no such user");
    store.update_user(&UserId::new("3"), &UserPatch::default(), None, &BY).await.expect_err("no such user");
    // What comes after it is told after it: had the failures been told, they would stand before this.
    let told = user("told");
    store.insert_user(&told, &BY).await.expect("inserted");
    assert_eq!(since(&store, &head).await, [Happening::User(told.id)]);
}

pub(crate) async fn pages_follow_each_other(place: &Place) {
    let store = place.open().await;
    let start = store.head().await.expect("head");
    for n in 0..25 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    let (mut cursor, mut seen) = (start.clone(), Vec::new());
    loop {
        let FeedPage::Entries(entries, next) = store.since(&cursor, 10).await.expect("read") else { panic!("lost") };
        assert!(entries.len() <= 10);
        if entries.is_empty() {
            break;
        }
        assert!(entries.iter().all(|entry| entry.seq > cursor.seq && entry.seq <= next.seq), "{cursor} {next}");
        seen.extend(entries.into_iter().map(|entry| entry.happening));
        cursor = next;
    }
    assert_eq!(seen, (0..25).map(|n| Happening::User(UserId::new(format!("u{n}")))).collect::<Vec<_>>());
}

/// The numbers that changes got, oldest first.
async fn numbers(store: &Arc<dyn Store>, cursor: &Cursor) -> Vec<u64> {
    match store.since(cursor, 10_000).await.expect("read") {
        FeedPage::Entries(entries, _) => entries.into_iter().map(|entry| entry.seq).collect(),
        FeedPage::Lost(head) => panic!("lost at {head}"),
    }
}

/// A time before every change, and one after.
const LONG_AGO: Timestamp = Timestamp::from_millis(0);
const ONE_DAY: Timestamp = Timestamp::from_seconds(4_000_000_000);

pub(crate) async fn a_place_that_is_unknown_or_forgotten_is_lost(place: &Place) {
    let store = place.open().await;
    let start = store.head().await.expect("head");
    for n in 0..5 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    let head = store.head().await.expect("head");
    let numbers = numbers(&store, &start).await;
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.last() == Some(&head.seq), "{numbers:?} {head}");
    let is_lost = |cursor: Cursor| {
        let store = Arc::clone(&store);
        async move { matches!(store.since(&cursor, 10).await.expect("read"), FeedPage::Lost(_)) }
    };
    assert!(is_lost(Cursor::new("other".into(), head.seq)).await);
    // An hour, where numbers are times.
    assert!(is_lost(after(&head, head.seq + (3600 << 32))).await, "a place that was never given");
    assert_eq!(store.prune(ONE_DAY, 2).await.expect("pruned"), 3);
    assert!(is_lost(after(&head, numbers[1])).await);
    assert_eq!(since(&store, &after(&head, numbers[2])).await.len(), 2);
    assert_eq!(since(&store, &head).await, []);
}

pub(crate) async fn pruning_keeps_the_newest(place: &Place) {
    let store = place.open().await;
    for n in 0..10 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    let before = store.head().await.expect("head");
    assert_eq!(store.prune(LONG_AGO, 0).await.expect("pruned"), 0, "nothing is older");
    assert_eq!(store.prune(ONE_DAY, 10).await.expect("pruned"), 0, "ten are kept");
    assert_eq!(store.prune(ONE_DAY, 0).await.expect("pruned"), 10);
    let head = store.head().await.expect("head");
    assert!(head.seq >= before.seq, "numbers are not given twice");
    store.insert_user(&user("next"), &BY).await.expect("inserted");
    assert_eq!(since(&store, &head).await.len(), 1);
}

pub(crate) async fn another_handle_hears_within_a_second(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let mut news = other.news();
    news.mark_unchanged();
    let (began, user) = (Instant::now(), user("u"));
    store.insert_user(&user, &BY).await.expect("inserted");
    timeout(Duration::from_secs(1), news.changed()).await.expect("within a second").expect("the store is there");
    println!("another handle heard after {:?}", began.elapsed());
    let told = *news.borrow();
    assert!(other.head().await.expect("head").seq >= told, "who is told finds it");
}

pub(crate) async fn everything_is_there_after_opening_again(place: &Place) {
    let store = place.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    drop(store);
    let store = place.open().await;
    let again = store.head().await.expect("head");
    assert!(again.epoch == head.epoch && again.seq >= head.seq, "{head} {again}");
    assert_eq!(*store.news().borrow(), again.seq);
    assert_eq!(since(&store, &head).await, [], "who was up to date before is so still");
    assert!(store.user(&UserId::new("u")).await.expect("read").is_some());
}

pub(crate) async fn a_hundred_writers_lose_nothing(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let start = store.head().await.expect("head");
    let inserts = (0..100).map(|n| {
        let store = Arc::clone(if n % 2 == 0 { &store } else { &other });
        async move { store.insert_user(&user(&format!("u{n}")), &BY).await }
    });
    let began = Instant::now();
    for outcome in futures_all(inserts).await {
        outcome.expect("inserted");
    }
    println!("100 durable writes over two handles took {:?}", began.elapsed());
    for handle in [&store, &other] {
        let heard = || async { (since(handle, &start).await.len() == 100).then_some(()) };
        until("every handle hears of all", Duration::from_secs(1), heard).await;
        let mut heard: Vec<String> =
            since(handle, &start).await.iter().map(|happening| format!("{happening:?}")).collect();
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), 100, "each once");
    }
}

pub(crate) async fn eight_first_openings_at_once_make_one_store(place: &Place) {
    let stores = futures_all((0..8).map(|_| place.open())).await;
    let mut epochs = Vec::new();
    for store in &stores {
        epochs.push(store.head().await.expect("head").epoch);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
    stores[0].insert_user(&with_email("1", "a@b.c"), &BY).await.expect("inserted");
    stores[7].insert_user(&with_email("2", "a@b.c"), &BY).await.expect_err("the indexes are there");
}
