//! What only SQLite promises: permissions, schema versions, where exactly the feed is cut.

use std::path::PathBuf;

use tollgate::{
    config::StoreLocation,
    store::{StoreError, sqlite::SqliteStore},
};

use super::{
    Place,
    records::{BY, NOW, user},
};

fn file(place: &Place) -> PathBuf {
    match &place.location {
        StoreLocation::Sqlite(file) => file.clone(),
        StoreLocation::Mongo(url) => panic!("{url}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::sqlite().await;
    drop(place.open().await);
    for name in ["tollgate.db", "tollgate.db-wal"] {
        let file = file(&place).with_file_name(name);
        if let Ok(data) = std::fs::metadata(&file) {
            assert_eq!(data.permissions().mode() & 0o077, 0, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_and_a_foreign_file_are_refused() {
    let place = Place::sqlite().await;
    drop(place.open().await);
    let raw = rusqlite::Connection::open(file(&place)).expect("opens");
    raw.pragma_update(None, "user_version", 99).expect("set");
    drop(raw);
    let refused = SqliteStore::open(&file(&place)).await.expect_err("newer");
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");

    let other = file(&place).with_file_name("text.db");
    std::fs::write(&other, "this is no database, whatever its name says, and it is long enough").expect("written");
    let refused = SqliteStore::open(&other).await.expect_err("no database");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_follow_each_other_and_the_feed_is_cut_by_the_time_of_the_change() {
    let place = Place::sqlite().await;
    let store = place.open().await;
    let start = store.head().await.expect("head");
    for n in 0..5 {
        store.insert_user(&user(&format!("u{n}")), &BY).await.expect("inserted");
    }
    assert_eq!(store.head().await.expect("head").seq, start.seq + 5);
    assert_eq!(store.prune(NOW, 0).await.expect("pruned"), 0, "nothing is older");
    assert_eq!(store.prune(NOW.plus_seconds(1), 0).await.expect("pruned"), 5);
}
