//! What every store does with events of Clerk.

use std::sync::Arc;

use tollgate::{
    domain::{
        Actor, ClerkIdentity, Email, Happening, Role, Stamp, User, UserId, UserPatch,
        clerk::{ClerkEvent, ClerkNews, ClerkOutcome, ClerkProfile},
    },
    store::{AuditFilter, Conflict, FeedPage, Store},
};
use tollgate_protocol::{Cursor, Revocation, Revoked};

use super::{
    Place, futures_all,
    records::{BY, NOW, clerk, conflict, user, with_email},
};

fn stamp() -> Stamp {
    Stamp { at: NOW, actor: Actor::Clerk, request_id: Some("req".into()) }
}

/// A user as Clerk has them so many seconds from now, with a verified address.
pub(crate) fn profile(id: &str, email: &str, seconds: i64) -> ClerkProfile {
    ClerkProfile {
        identity: clerk(id),
        email: Email::new(email),
        email_verified: true,
        name: Some("Ada \u{1F40C}".into()),
        first_name: Some("Ada".into()),
        last_name: None,
        image: Some("https://img.test/a".into()),
        barred: false,
        updated_at: NOW.plus_seconds(seconds),
    }
}

fn event(delivery: &str, news: ClerkNews) -> ClerkEvent {
    ClerkEvent { issuer: "https://clerk.test".into(), delivery: delivery.into(), news }
}

pub(crate) fn said(delivery: &str, profile: &ClerkProfile) -> ClerkEvent {
    event(delivery, ClerkNews::Profile(Box::new(profile.clone())))
}

pub(crate) fn gone(delivery: &str, id: &str) -> ClerkEvent {
    event(delivery, ClerkNews::Deleted(clerk(id)))
}

/// Takes an event; a user who is made gets the delivery's id.
pub(crate) async fn take(store: &Arc<dyn Store>, event: &ClerkEvent) -> ClerkOutcome {
    store.take_event(event, &UserId::new(format!("u_{}", event.delivery)), &stamp()).await.expect("taken")
}

async fn linked(store: &Arc<dyn Store>, id: &str) -> Option<User> {
    store.user_by_clerk(&clerk(id)).await.expect("read")
}

async fn told(store: &Arc<dyn Store>, cursor: &Cursor) -> Vec<Happening> {
    match store.since(cursor, 100).await.expect("the feed") {
        FeedPage::Entries(entries, _) => entries.into_iter().map(|entry| entry.happening).collect(),
        FeedPage::Lost(head) => panic!("lost: {head}"),
    }
}

async fn entries(store: &Arc<dyn Store>, subject: &str) -> Vec<(String, String)> {
    let filter = AuditFilter { subject: Some(subject.to_owned()), actor: Some("clerk".to_owned()) };
    let entries = store.audit(&filter, None, 100).await.expect("entries");
    entries.into_iter().map(|(_, entry)| (entry.action, entry.request_id.unwrap_or_default())).collect()
}

pub(crate) async fn a_delivery_is_taken_once(place: &Place) {
    let store = place.open().await;
    let head = store.head().await.expect("head");
    let first = said("m1", &profile("c", "ada@x.test", 0));
    assert_eq!(take(&store, &first).await, ClerkOutcome::Created(UserId::new("u_m1")));
    for _ in 0..2 {
        assert_eq!(take(&store, &first).await, ClerkOutcome::Doubled);
    }
    let made = linked(&store, "c").await.expect("made");
    assert_eq!((made.id.as_str(), made.email_verified, made.is_active), ("u_m1", true, true));
    assert_eq!(
        (made.name.as_deref(), made.profile_image.as_deref()),
        (Some("Ada \u{1F40C}"), Some("https://img.test/a"))
    );
    assert_eq!((made.first_name.as_deref(), made.last_name), (Some("Ada"), None));
    assert_eq!(told(&store, &head).await, [Happening::User(made.id)]);
    assert_eq!(entries(&store, "u_m1").await, [("user.created".to_owned(), "req".to_owned())]);
    // The same id from another instance is another delivery.
    let identity = ClerkIdentity { issuer: "https://other.test".into(), id: "c".into() };
    let other = ClerkProfile { identity, email: None, ..profile("c", "", 0) };
    let other = ClerkEvent { issuer: "https://other.test".into(), ..said("m1", &other) };
    let made = store.take_event(&other, &UserId::new("second"), &stamp()).await.expect("taken");
    assert_eq!(made, ClerkOutcome::Created(UserId::new("second")));

    assert_eq!(store.prune_deliveries(NOW).await.expect("pruned"), 0);
    assert_eq!(store.prune_deliveries(NOW.plus_seconds(1)).await.expect("pruned"), 2);
    assert_eq!(take(&store, &first).await, ClerkOutcome::Unchanged, "forgotten, and still harmless");
}

pub(crate) async fn events_are_applied_in_the_order_in_which_they_happened(place: &Place) {
    let store = place.open().await;
    let newer = ClerkProfile { name: Some("Ada L".into()), ..profile("c", "new@x.test", 20) };
    assert_eq!(take(&store, &said("m1", &newer)).await, ClerkOutcome::Created(UserId::new("u_m1")));
    let head = store.head().await.expect("head");
    assert_eq!(take(&store, &said("m2", &profile("c", "old@x.test", 10))).await, ClerkOutcome::Outdated);
    assert_eq!(take(&store, &said("m3", &newer)).await, ClerkOutcome::Unchanged);
    assert!(told(&store, &head).await.is_empty(), "nothing has changed");
    let moved = profile("c", "third@x.test", 30);
    let changed = take(&store, &said("m4", &moved)).await;
    assert_eq!(changed, ClerkOutcome::Changed { user: UserId::new("u_m1"), address_kept: false });
    let user = linked(&store, "c").await.expect("there");
    assert_eq!((user.email, user.name), (Email::new("third@x.test"), moved.name));
    assert_eq!(store.user_by_email(&Email::new("new@x.test").expect("one")).await.expect("read").map(|u| u.id), None);

    // An address that belongs to somebody else is left to them.
    store.insert_user(&with_email("bob", "bob@x.test"), &BY).await.expect("inserted");
    let taken = take(&store, &said("m5", &profile("c", "bob@x.test", 40))).await;
    assert_eq!(taken, ClerkOutcome::Changed { user: UserId::new("u_m1"), address_kept: true });
    assert_eq!(linked(&store, "c").await.expect("there").email, Email::new("third@x.test"));
    let record = store.clerk_record(&clerk("c")).await.expect("read").expect("there");
    assert_eq!((record.updated_at, record.deleted_at), (Some(NOW.plus_seconds(40)), None));
}

pub(crate) async fn a_deleted_user_stays_deleted(place: &Place) {
    let store = place.open().await;
    take(&store, &said("m1", &profile("c", "ada@x.test", 0))).await;
    let head = store.head().await.expect("head");
    assert_eq!(take(&store, &gone("m2", "c")).await, ClerkOutcome::Closed(UserId::new("u_m1")));
    let closed = linked(&store, "c").await.expect("still linked");
    assert_eq!((closed.is_active, closed.email, closed.email_verified), (false, None, false));
    assert_eq!(told(&store, &head).await, [Happening::User(closed.id)]);
    assert_eq!(entries(&store, "u_m1").await[0].0, "user.closed");
    assert_eq!(take(&store, &gone("m3", "c")).await, ClerkOutcome::Unchanged);
    for (delivery, seconds) in [("m4", -9), ("m5", 9)] {
        let late = said(delivery, &profile("c", "ada@x.test", seconds));
        assert_eq!(take(&store, &late).await, ClerkOutcome::Outdated);
    }
    // The address is free for whoever owns it now: another user, who gets nothing of the former one.
    assert_eq!(
        take(&store, &said("m6", &profile("c2", "ada@x.test", 9))).await,
        ClerkOutcome::Created(UserId::new("u_m6"))
    );

    // One who was never here, and whose token or older event comes later.
    assert_eq!(take(&store, &gone("m7", "ghost")).await, ClerkOutcome::Unchanged);
    assert_eq!(take(&store, &said("m8", &profile("ghost", "ghost@x.test", -5))).await, ClerkOutcome::Outdated);
    let ghost = User { clerk: Some(clerk("ghost")), ..user("ghost") };
    assert_eq!(conflict(store.insert_user(&ghost, &BY).await), Conflict::ClerkDeleted);
    let legacy = with_email("old", "ghost@x.test");
    store.insert_user(&legacy, &BY).await.expect("inserted");
    let email = legacy.email.expect("one");
    assert_eq!(conflict(store.link_clerk(&email, &clerk("ghost"), &BY).await.map(drop)), Conflict::ClerkDeleted);
    assert!(linked(&store, "ghost").await.is_none());
}

pub(crate) async fn an_event_links_only_what_a_sign_in_would(place: &Place) {
    let store = place.open().await;
    let good = User { name: Some("Own".into()), ..with_email("good", "good@x.test") };
    let unproved = User { email_verified: false, ..with_email("unproved", "unproved@x.test") };
    let admin = User { role: Role::Admin, ..with_email("admin", "admin@x.test") };
    let other = User { clerk: Some(clerk("other")), ..with_email("other", "other@x.test") };
    for user in [&good, &unproved, &admin, &other] {
        store.insert_user(user, &BY).await.expect("inserted");
    }
    let head = store.head().await.expect("head");
    for (number, email) in ["unproved@x.test", "admin@x.test", "other@x.test"].into_iter().enumerate() {
        let id = format!("c{number}");
        assert_eq!(take(&store, &said(&id, &profile(&id, email, 0))).await, ClerkOutcome::Conflict, "{email}");
        assert!(linked(&store, &id).await.is_none());
    }
    let unverified = ClerkProfile { email_verified: false, ..profile("c", "good@x.test", 0) };
    assert_eq!(take(&store, &said("m1", &unverified)).await, ClerkOutcome::Conflict);
    assert!(told(&store, &head).await.is_empty(), "nothing has changed");
    let verified = take(&store, &said("m2", &profile("c", "good@x.test", 1))).await;
    assert_eq!(verified, ClerkOutcome::Linked(good.id.clone()));
    let user = linked(&store, "c").await.expect("linked");
    assert_eq!((user.id, user.name.as_deref()), (good.id, Some("Own")));
    assert_eq!(entries(&store, "good").await[0].0, "user.linked");
}

pub(crate) async fn being_barred_ends_and_what_was_decided_here_stays(place: &Place) {
    let store = place.open().await;
    take(&store, &said("m0", &profile("c", "ada@x.test", 0))).await;
    let id = UserId::new("u_m0");
    let active = |active| UserPatch { is_active: Some(active), ..UserPatch::default() };
    // What Clerk says, or what somebody here decides; and what holds then.
    for (number, (clerk_bars, decided, expected)) in [
        (true, None, false),
        (false, None, true),
        (true, None, false),
        (true, Some(true), true),
        (false, None, true),
        (true, None, false),
        (true, Some(false), false),
        (false, None, false),
        (false, Some(true), true),
    ]
    .into_iter()
    .enumerate()
    {
        if let Some(decided) = decided {
            store.update_user(&id, &active(decided), None, &BY).await.expect("changed");
        } else {
            let seconds = i64::try_from(number).expect("small") + 1;
            let news = ClerkProfile { barred: clerk_bars, ..profile("c", "ada@x.test", seconds) };
            take(&store, &said(&format!("b{number}"), &news)).await;
        }
        assert_eq!(linked(&store, "c").await.expect("there").is_active, expected, "step {number}");
    }
}

pub(crate) async fn a_session_that_ended_is_revoked_once(place: &Place) {
    let store = place.open().await;
    let head = store.head().await.expect("head");
    let until = NOW.unix_seconds() + 60;
    let issuer = Some("https://clerk.test".to_owned());
    let revocation = Revocation { what: Revoked::Session, issuer, id: "sess_1".into(), until };
    let ended = event("m1", ClerkNews::Ended(revocation.clone()));
    assert_eq!(take(&store, &ended).await, ClerkOutcome::Ended);
    assert_eq!(take(&store, &ended).await, ClerkOutcome::Doubled);
    assert_eq!(store.revocations(NOW).await.expect("read"), std::slice::from_ref(&revocation));
    assert_eq!(told(&store, &head).await, [Happening::Revoked(revocation)]);
    assert_eq!(entries(&store, "sess_1").await.len(), 1);
}

pub(crate) async fn of_many_at_once_one_is_taken(place: &Place) {
    let stores = [place.open().await, place.open().await];
    let tasks = (0..16).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        async move {
            // The same event by two deliveries: a secret that is being replaced sends both.
            let event = said(["m1", "m2"][number / 2 % 2], &profile("c", "ada@x.test", 0));
            let mut turns = 0;
            loop {
                match store.take_event(&event, &UserId::new(format!("u{number}")), &stamp()).await {
                    Err(tollgate::store::StoreError::Conflict(_)) if turns < 20 => turns += 1,
                    taken => break taken.expect("taken"),
                }
            }
        }
    });
    let outcomes = futures_all(tasks).await;
    let count = |word: &str| outcomes.iter().filter(|outcome| outcome.as_str() == word).count();
    assert_eq!((count("created"), count("unchanged"), count("doubled")), (1, 1, 14), "{outcomes:?}");
}

pub(crate) async fn a_deletion_beside_a_first_sign_in_leaves_nobody_active(place: &Place) {
    let stores = [place.open().await, place.open().await];
    let by = BY;
    for round in 0..20 {
        let id = format!("c{round}");
        let person = User { clerk: Some(clerk(&id)), ..user(&format!("u{round}")) };
        let (deletion, stamp) = (gone(&format!("m{round}"), &id), stamp());
        let fresh = UserId::new("none");
        let (made, deleted) =
            tokio::join!(stores[0].insert_user(&person, &by), stores[1].take_event(&deletion, &fresh, &stamp));
        if let Err(error) = made {
            assert_eq!(conflict::<()>(Err(error)), Conflict::ClerkDeleted);
        }
        // A race that was lost is run again by the service.
        if deleted.is_err() {
            stores[1].take_event(&deletion, &fresh, &stamp).await.expect("taken");
        }
        assert!(linked(&stores[0], &id).await.is_none_or(|user| !user.is_active), "round {round}");
    }
}
