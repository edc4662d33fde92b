//! Every kind of store against the same suite: SQLite, each test in a folder of its own, and a real MongoDB, each test
//! in a database of its own. What only one of them promises is in a module of its own.

mod admin;
mod feed;
mod import;
mod ledger;
mod mongo_only;
mod policy;
mod records;
mod sessions;
mod sqlite_only;
mod watched;
mod webhooks;

use std::sync::Arc;

use tollgate::{
    config::StoreLocation,
    store::{self, Store},
};
use tollgate_tests::mongod::{self, Cluster};

/// A place for data, and handles on it: each [`Place::open`] is what another process would have.
pub(crate) struct Place {
    pub(crate) location: StoreLocation,
    _folder: Option<tempfile::TempDir>,
    _cluster: Option<Arc<Cluster>>,
}

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let location = StoreLocation::Sqlite(folder.path().join("inner/tollgate.db"));
        Self { location, _folder: Some(folder), _cluster: None }
    }

    pub(crate) async fn mongo() -> Self {
        let cluster = Cluster::shared().await;
        Self { location: cluster.location(&mongod::fresh_name()), _folder: None, _cluster: Some(cluster) }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        store::open(&self.location).await.expect("the store opens")
    }
}

macro_rules! suite {
    ($($module:ident :: $check:ident;)+) => {
        suite!(@on sqlite: $($module $check)+);
        suite!(@on mongo: $($module $check)+);
    };
    (@on $kind:ident: $($module:ident $check:ident)+) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                super::$module::$check(&super::Place::$kind().await).await;
            })+
        }
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
    admin::users_are_found_in_pages;
    admin::a_change_for_another_state_is_refused;
    admin::the_last_administrator_stays;
    admin::keys_are_found_in_pages;
    admin::rotation_adds_one_and_ends_the_other;
    ledger::what_is_posted_stands_once;
    ledger::entries_come_in_pages;
    ledger::reservations_take_what_is_there_and_no_more;
    ledger::a_share_is_taken_and_what_is_missing_is_recalled;
    ledger::late_doubled_and_excessive_reports_are_booked_once;
    ledger::what_nobody_renews_is_settled_at_its_last_report;
    ledger::a_batch_is_counted_once;
    ledger::a_month_refills_once_whoever_asks_first;
    ledger::the_limit_of_a_month_holds;
    ledger::many_at_once_never_take_what_is_not_there;
    feed::every_change_is_told_once_and_in_order;
    feed::what_failed_is_not_told;
    feed::pages_follow_each_other;
    feed::a_place_that_is_unknown_or_forgotten_is_lost;
    feed::pruning_keeps_the_newest;
    feed::another_handle_hears_within_a_second;
    feed::everything_is_there_after_opening_again;
    feed::a_hundred_writers_lose_nothing;
    feed::eight_first_openings_at_once_make_one_store;
    import::users_are_taken_over_once_and_whole;
    import::an_update_changes_what_the_file_names;
    import::what_contradicts_others_is_refused_alone;
    import::whom_clerk_has_deleted_does_not_come_back;
    import::keys_are_taken_over_by_their_hash;
    import::the_ledger_of_somebody_taken_over_comes_out;
    import::a_password_is_set_for_somebody;
    policy::a_policy_is_put_for_one_state_and_leaves_an_entry;
    policy::of_many_who_saw_the_same_one_wins;
    watched::batches_are_counted_once_and_come_in_pages;
    sessions::a_session_comes_back_whole_and_belongs_to_its_user;
    sessions::a_refresh_token_is_used_up_once;
    sessions::ending_a_session_revokes_it_in_the_same_step;
    sessions::signing_out_ends_everything_and_says_when;
    sessions::a_better_hash_never_replaces_another_password;
    sessions::being_seen_moves_forward_and_is_not_told;
    sessions::revocations_hold_until_their_end_and_of_two_the_longer;
    sessions::another_handle_hears_of_a_revocation;
    webhooks::a_delivery_is_taken_once;
    webhooks::events_are_applied_in_the_order_in_which_they_happened;
    webhooks::a_deleted_user_stays_deleted;
    webhooks::an_event_links_only_what_a_sign_in_would;
    webhooks::being_barred_ends_and_what_was_decided_here_stays;
    webhooks::a_session_that_ended_is_revoked_once;
    webhooks::of_many_at_once_one_is_taken;
    webhooks::a_deletion_beside_a_first_sign_in_leaves_nobody_active;
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
