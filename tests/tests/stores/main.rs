//! Every kind of store against the same suite. Here: SQLite, each test in a folder of its own. What only SQLite
//! promises (permissions, schema versions) is at the end.

mod feed;
mod records;

use std::{path::PathBuf, sync::Arc};

use tollgate::{
    config::StoreLocation,
    store::{self, Store, StoreError, sqlite::SqliteStore},
};

/// A place for data, and handles on it: each [`Place::open`] is what another process would have.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("inner/tollgate.db")
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        store::open(&StoreLocation::Sqlite(self.file())).await.expect("the store opens")
    }
}

macro_rules! suite {
    ($($module:ident :: $check:ident;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $check() {
            $module::$check(&Place::new()).await;
        })+
    };
}

suite! {
    records::users_come_back_whole;
    records::no_two_users_share_an_address_or_a_clerk_user;
    records::linking_checks_and_links_in_one_step;
    records::a_patch_changes_what_it_names;
    records::keys_come_back_and_belong_to_their_user;
    records::of_many_first_inserts_one_wins;
    records::a_secret_is_made_once;
    records::key_sets_are_kept;
    records::every_change_leaves_an_entry_and_no_secret;
    feed::every_change_is_told_once_and_in_order;
    feed::what_failed_is_not_told;
    feed::pages_follow_each_other;
    feed::a_place_that_is_unknown_or_forgotten_is_lost;
    feed::pruning_keeps_the_newest;
    feed::another_handle_hears_within_a_second;
    feed::everything_is_there_after_opening_again;
    feed::a_hundred_writers_lose_nothing;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    drop(place.open().await);
    for name in ["tollgate.db", "tollgate.db-wal"] {
        let file = place.folder.path().join("inner").join(name);
        if let Ok(data) = std::fs::metadata(&file) {
            assert_eq!(data.permissions().mode() & 0o077, 0, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_a_newer_schema_and_a_foreign_file_are_refused() {
    let place = Place::new();
    drop(place.open().await);
    let raw = rusqlite::Connection::open(place.file()).expect("opens");
    raw.pragma_update(None, "user_version", 99).expect("set");
    drop(raw);
    let refused = SqliteStore::open(&place.file()).await.expect_err("newer");
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");

    let other = place.folder.path().join("text.db");
    std::fs::write(&other, "this is no database, whatever its name says, and it is long enough").expect("written");
    let refused = SqliteStore::open(&other).await.expect_err("no database");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_eight_first_openings_at_once_make_one_store() {
    let place = Place::new();
    let openings = (0..8).map(|_| place.open());
    let stores = futures_all(openings).await;
    let mut epochs = Vec::new();
    for store in &stores {
        epochs.push(store.head().await.expect("head").epoch);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
}

/// All at once, in order.
pub(crate) async fn futures_all<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T> + Send>,
) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in &mut pending {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}
