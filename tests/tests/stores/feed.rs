//! What every store does with the feed of changes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tollgate::{
    domain::{Email, Happening, UserId, UserPatch},
    store::{FeedPage, Store},
};
use tollgate_protocol::Cursor;

use super::{
    Place, futures_all,
    records::{BY, NOW, clerk, key, user, with_email},
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
    store.update_user(&alice.id, &UserPatch::default(), &BY).await.expect("updated");
    store.link_clerk(&Email::new("alice@x.y").expect("an address"), &clerk("c"), &BY).await.expect("linked");
    store.revoke_key(&alice.id, &key.id, &BY).await.expect("revoked");
    store.revoke_key(&alice.id, &key.id, &BY).await.expect("revoked again, which is no news");
    let user = || Happening::User(alice.id.clone());
    let expected = [user(), Happening::Key(key.hash), user(), user(), Happening::KeyRevoked(key.hash)];
    assert_eq!(since(&store, &start).await, expected);
    let head = store.head().await.expect("head");
    assert_eq!(head, after(&start, start.seq + 5));
    assert_eq!(*store.news().borrow(), head.seq);
    assert_eq!(since(&store, &head).await, []);
}

pub(crate) async fn what_failed_is_not_told(place: &Place) {
    let store = place.open().await;
    store.insert_user(&with_email("1", "a@b.c"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    store.insert_user(&with_email("2", "a@b.c"), &BY).await.expect_err("taken");
    store.insert_key(&key("k", "nobody", 1), &BY).await.expect_err("no such user");
    store.update_user(&UserId::new("3"), &UserPatch::default(), &BY).await.expect_err("no such user");
    assert_eq!(store.head().await.expect("head"), head);
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
        seen.extend(entries.into_iter().map(|entry| entry.seq));
        cursor = next;
    }
    assert_eq!(seen, (start.seq + 1..=start.seq + 25).collect::<Vec<_>>());
}

pub(crate) async fn a_place_that_is_unknown_or_forgotten_is_lost(place: &Place) {
    let store = place.open().await;
    for n in 0..5 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    let head = store.head().await.expect("head");
    let lost = FeedPage::Lost(head.clone());
    let other_epoch = Cursor::new("other".into(), head.seq);
    assert_eq!(store.since(&other_epoch, 10).await.expect("read"), lost);
    assert_eq!(store.since(&after(&head, head.seq + 1), 10).await.expect("read"), lost);
    assert_eq!(store.prune(NOW.plus_seconds(1), 2).await.expect("pruned"), 3);
    assert_eq!(store.since(&after(&head, 1), 10).await.expect("read"), lost);
    assert_eq!(since(&store, &after(&head, 3)).await.len(), 2);
    assert_eq!(since(&store, &head).await, []);
}

pub(crate) async fn pruning_keeps_the_newest(place: &Place) {
    let store = place.open().await;
    for n in 0..10 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    assert_eq!(store.prune(NOW, 0).await.expect("pruned"), 0, "nothing is older");
    assert_eq!(store.prune(NOW.plus_seconds(1), 10).await.expect("pruned"), 0, "ten are kept");
    assert_eq!(store.prune(NOW.plus_seconds(1), 0).await.expect("pruned"), 10);
    let head = store.head().await.expect("head");
    assert_eq!(head.seq, 10, "numbers are not given twice");
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
    assert_eq!(*news.borrow(), store.head().await.expect("head").seq);
}

pub(crate) async fn everything_is_there_after_opening_again(place: &Place) {
    let store = place.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    drop(store);
    let store = place.open().await;
    assert_eq!(store.head().await.expect("head"), head);
    assert_eq!(*store.news().borrow(), head.seq);
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
    assert_eq!(since(&store, &start).await.len(), 100);
}
