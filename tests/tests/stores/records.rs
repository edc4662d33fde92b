//! What every store does with users, keys, key sets and secrets.

use std::sync::Arc;

use serde_json::json;
use tollgate::{
    config::Secret,
    domain::{
        Actor, ApiKey, ClerkIdentity, Email, KeyId, Role, Scope, Stamp, Subscription, Timestamp, User, UserId,
        UserPatch,
    },
    store::{AuditFilter, Conflict, FeedPage, KeptKeySet, Store, StoreError},
};
use tollgate_protocol::KeyHash;
use zeroize::Zeroizing;

use super::{Place, futures_all};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_123);

/// A change made at that moment.
pub(crate) const BY: Stamp = Stamp::system(NOW);

/// A change made so many seconds later.
pub(crate) fn by(seconds: i64) -> Stamp {
    Stamp::system(NOW.plus_seconds(seconds))
}

pub(crate) fn user(id: &str) -> User {
    User::new(UserId::new(id), NOW)
}

pub(crate) fn with_email(id: &str, email: &str) -> User {
    let mut user = user(id);
    user.email = Email::new(email);
    user.email_verified = true;
    user
}

pub(crate) fn clerk(id: &str) -> ClerkIdentity {
    ClerkIdentity { issuer: "https://clerk.test".into(), id: id.into() }
}

pub(crate) fn key(id: &str, user: &str, byte: u8) -> ApiKey {
    ApiKey {
        id: KeyId::new(id),
        user_id: UserId::new(user),
        name: "laptop".into(),
        hash: KeyHash([byte; 32]),
        prefix: "sk_abcd".into(),
        last_four: "abcd".into(),
        rate: Some("60/min burst 5".parse().expect("a rate")),
        scopes: ["a:read", "b"].iter().map(|text| Scope::new(text).expect("a scope")).collect(),
        created_at: NOW,
        expires_at: Some(NOW.plus_seconds(60)),
        revoked_at: None,
        last_used_at: None,
    }
}

pub(crate) fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Conflict {
    match result {
        Err(StoreError::Conflict(conflict)) => conflict,
        other => panic!("no conflict: {other:?}"),
    }
}

/// All members, as text: `User` itself is not compared in the program.
fn shown(user: &User) -> String {
    format!("{user:?} {:?}", user.password_hash.as_ref().map(Secret::expose))
}

pub(crate) async fn users_come_back_whole(place: &Place) {
    let store = place.open().await;
    let plain = user("plain");
    let mut full = with_email("full", "Ada@Example.com");
    full.password_hash = Some(Secret::new("$2b$10$x"));
    full.name = Some("Ada \u{1F40C} Łovelace".into());
    full.role = Role::Developer;
    full.is_active = false;
    full.clerk = Some(clerk("user_1"));
    full.first_name = Some("Ada".into());
    full.last_name = Some("L".into());
    full.tokens_remaining = -5;
    full.tokens_used = i64::MAX;
    full.monthly_limit = Some(7);
    full.subscription = Subscription::Enterprise;
    full.stripe_customer_id = Some("cus_1".into());
    full.updated_at = NOW.plus_seconds(1);
    full.last_login_at = Some(NOW.plus_seconds(2));
    full.last_logout_at = Some(NOW.plus_seconds(3));
    full.bio = Some("line\nline".into());
    full.website = Some("https://example.com".into());
    full.profile_image = Some("https://example.com/a.png".into());
    full.social_links = json!({"github": "ada"}).as_object().cloned().expect("an object");
    full.extra = json!({"theme": {"dark": [1, null, "x"]}}).as_object().cloned().expect("an object");
    for user in [&plain, &full] {
        store.insert_user(user, &BY).await.expect("inserted");
        let back = store.user(&user.id).await.expect("read").expect("there");
        assert_eq!(shown(&back), shown(user));
    }
    let email = Email::new("ADA@example.com").expect("an address");
    assert_eq!(store.user_by_email(&email).await.expect("read").expect("there").id, full.id);
    assert_eq!(store.user_by_clerk(&clerk("user_1")).await.expect("read").expect("there").id, full.id);
    let elsewhere = ClerkIdentity { issuer: "https://other.test".into(), id: "user_1".into() };
    assert!(store.user_by_clerk(&elsewhere).await.expect("read").is_none());
    assert!(store.user(&UserId::new("nobody")).await.expect("read").is_none());
}

pub(crate) async fn no_two_users_share_an_address_or_a_clerk_user(place: &Place) {
    let store = place.open().await;
    let mut first = with_email("1", "a@b.c");
    first.clerk = Some(clerk("x"));
    store.insert_user(&first, &BY).await.expect("inserted");
    assert_eq!(conflict(store.insert_user(&with_email("2", "A@B.C"), &BY).await), Conflict::Email);
    assert_eq!(conflict(store.insert_user(&user("1"), &BY).await), Conflict::Id);
    let mut same_clerk = user("3");
    same_clerk.clerk = Some(clerk("x"));
    assert_eq!(conflict(store.insert_user(&same_clerk, &BY).await), Conflict::ClerkIdentity);
    for id in ["4", "5"] {
        store.insert_user(&user(id), &BY).await.expect("users without address and Clerk user do not collide");
    }
}

pub(crate) async fn linking_checks_and_links_in_one_step(place: &Place) {
    let store = place.open().await;
    let link = |email: &'static str, id: &'static str| {
        let store = Arc::clone(&store);
        async move {
            let email = Email::new(email).expect("an address");
            store.link_clerk(&email, &clerk(id), &by(9)).await
        }
    };
    store.insert_user(&with_email("good", "good@x.y"), &BY).await.expect("inserted");
    let mut unverified = with_email("unverified", "unverified@x.y");
    unverified.email_verified = false;
    store.insert_user(&unverified, &BY).await.expect("inserted");
    let mut admin = with_email("admin", "admin@x.y");
    admin.role = Role::Admin;
    store.insert_user(&admin, &BY).await.expect("inserted");

    let (linked, place_in_feed) = link("good@x.y", "c1").await.expect("linked");
    let head = store.head().await.expect("head");
    assert!(place_in_feed.seq <= head.seq && place_in_feed.epoch == head.epoch, "{place_in_feed} {head}");
    assert!(
        matches!(store.since(&place_in_feed, 9).await.expect("read"), FeedPage::Entries(later, _) if later.is_empty()),
        "its own change is behind it"
    );
    assert_eq!((linked.clerk, linked.updated_at), (Some(clerk("c1")), NOW.plus_seconds(9)));
    assert_eq!(store.user_by_clerk(&clerk("c1")).await.expect("read").expect("there").id.as_str(), "good");
    for (email, id) in [("good@x.y", "c2"), ("unverified@x.y", "c2"), ("admin@x.y", "c2")] {
        assert_eq!(conflict(link(email, id).await), Conflict::NotLinkable, "{email}");
    }
    store.insert_user(&with_email("late", "late@x.y"), &BY).await.expect("inserted");
    assert_eq!(conflict(link("late@x.y", "c1").await), Conflict::ClerkIdentity);
    assert!(matches!(link("nobody@x.y", "c3").await, Err(StoreError::NotFound)));

    store.insert_user(&with_email("race", "race@x.y"), &BY).await.expect("inserted");
    let racing = ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"].into_iter().map(|id| link("race@x.y", id));
    let won = futures_all(racing).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1, "an account is linked once");
}

pub(crate) async fn a_patch_changes_what_it_names(place: &Place) {
    let store = place.open().await;
    let before = with_email("1", "a@b.c");
    store.insert_user(&before, &BY).await.expect("inserted");
    let patch = UserPatch { is_active: Some(false), role: Some(Role::Admin), ..UserPatch::default() };
    let after = store.update_user(&before.id, &patch, None, &by(5)).await.expect("updated");
    let mut expected = before.clone();
    (expected.is_active, expected.role, expected.updated_at) = (false, Role::Admin, NOW.plus_seconds(5));
    assert_eq!(shown(&after), shown(&expected));
    assert_eq!(shown(&store.user(&before.id).await.expect("read").expect("there")), shown(&expected));
    let missing = store.update_user(&UserId::new("2"), &patch, None, &BY).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

pub(crate) async fn keys_come_back_and_belong_to_their_user(place: &Place) {
    let store = place.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    store.insert_user(&user("v"), &BY).await.expect("inserted");
    let (one, two, other) = (key("k1", "u", 1), key("k2", "u", 2), key("k3", "v", 3));
    for key in [&one, &two, &other] {
        store.insert_key(key, &BY).await.expect("inserted");
    }
    assert_eq!(conflict(store.insert_key(&key("k4", "u", 1), &BY).await), Conflict::KeyHash);
    assert_eq!(conflict(store.insert_key(&key("k1", "u", 5), &BY).await), Conflict::Id);
    assert!(matches!(store.insert_key(&key("k5", "nobody", 5), &BY).await, Err(StoreError::NotFound)));

    let u = UserId::new("u");
    assert_eq!(store.keys_of(&u).await.expect("read"), [one.clone(), two.clone()]);
    let (found, owner) = store.key_by_hash(&one.hash).await.expect("read").expect("there");
    assert_eq!((found, owner.expect("a user").id), (one.clone(), u.clone()));
    assert!(store.key_by_hash(&KeyHash([9; 32])).await.expect("read").is_none());

    assert!(matches!(store.revoke_key(&u, &other.id, &BY).await, Err(StoreError::NotFound)), "another user's key");
    let revoked = store.revoke_key(&u, &one.id, &by(1)).await.expect("revoked");
    assert_eq!(revoked.revoked_at, Some(NOW.plus_seconds(1)));
    let again = store.revoke_key(&u, &one.id, &by(2)).await.expect("revoking twice is fine");
    assert_eq!(again.revoked_at, Some(NOW.plus_seconds(1)));
    assert_eq!(store.keys_of(&u).await.expect("read"), [two]);
    assert_eq!(store.count_keys(&u).await.expect("read"), 1);
    let (found, _) = store.key_by_hash(&one.hash).await.expect("read").expect("a revoked key is still known");
    assert_eq!(found.revoked_at, Some(NOW.plus_seconds(1)));
}

pub(crate) async fn of_many_first_inserts_one_wins(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let inserts = (0..100).map(|n| {
        let store: Arc<dyn Store> = Arc::clone(if n % 2 == 0 { &store } else { &other });
        async move {
            let mut user = with_email(&format!("u{n}"), "one@x.y");
            user.clerk = Some(clerk("one"));
            store.insert_user(&user, &BY).await
        }
    });
    let outcomes = futures_all(inserts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes {
        assert!(matches!(outcome, Ok(_) | Err(StoreError::Conflict(_))), "{outcome:?}");
    }
}

pub(crate) async fn a_secret_is_made_once(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let first = store.secret_or("s", &Zeroizing::new([1; 32])).await.expect("made");
    assert_eq!(*first, [1; 32]);
    assert_eq!(*other.secret_or("s", &Zeroizing::new([2; 32])).await.expect("read"), [1; 32]);
    assert_eq!(*store.secret_or("t", &Zeroizing::new([3; 32])).await.expect("made"), [3; 32]);
    store.ping().await.expect("the store answers");
}

pub(crate) async fn key_sets_are_kept(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.key_set("https://a").await.expect("read"), None);
    for (document, at) in [("[1]", NOW), ("[2]", NOW.plus_seconds(1))] {
        let set = KeptKeySet { document: document.into(), fetched_at: at };
        store.keep_key_set("https://a", &set).await.expect("kept");
        assert_eq!(store.key_set("https://a").await.expect("read"), Some(set));
    }
    assert_eq!(store.key_set("https://b").await.expect("read"), None);
    // Of two processes, the one that fetched later is right.
    let older = KeptKeySet { document: "[3]".into(), fetched_at: NOW };
    store.keep_key_set("https://a", &older).await.expect("kept");
    assert_eq!(store.key_set("https://a").await.expect("read").expect("there").document, "[2]");
}

pub(crate) async fn every_change_leaves_an_entry_and_no_secret(place: &Place) {
    let store = place.open().await;
    let mut alice = with_email("alice", "alice@x.y");
    alice.password_hash = Some(Secret::new("$2b$10$secret-of-alice"));
    store.insert_user(&alice, &BY).await.expect("inserted");
    let patch = UserPatch { role: Some(Role::Developer), ..UserPatch::default() };
    let command = Stamp { actor: Actor::User(UserId::new("boss")), request_id: Some("r-1".into()), ..by(1) };
    store.update_user(&alice.id, &patch, None, &command).await.expect("updated");
    store.insert_key(&key("k", "alice", 1), &by(2)).await.expect("inserted");
    store.revoke_key(&alice.id, &KeyId::new("k"), &by(3)).await.expect("revoked");
    store.revoke_key(&alice.id, &KeyId::new("k"), &by(4)).await.expect("revoked again, which changes nothing");
    store.insert_user(&with_email("bob", "alice@x.y"), &BY).await.expect_err("taken");

    let all = store.audit(&AuditFilter::default(), None, 100).await.expect("read");
    let actions: Vec<&str> = all.iter().map(|(_, entry)| entry.action.as_str()).collect();
    assert_eq!(actions, ["key.revoked", "key.issued", "user.changed", "user.created"]);
    assert!(!format!("{all:?}").contains("secret-of-alice"));
    let changed = &all[2].1;
    assert_eq!((changed.actor.as_str(), changed.request_id.as_deref()), ("user:boss", Some("r-1")));
    assert_eq!((changed.at, changed.subject.as_str()), (NOW.plus_seconds(1), "alice"));
    let role = |value: &Option<serde_json::Value>| value.as_ref().map(|value| value["role"].clone());
    assert_eq!((role(&changed.before), role(&changed.after)), (Some(json!("user")), Some(json!("developer"))));

    let first = store.audit(&AuditFilter::default(), None, 3).await.expect("read");
    let rest = store.audit(&AuditFilter::default(), Some(&first[2].0), 3).await.expect("read");
    assert_eq!((first.as_slice(), rest.as_slice()), (&all[..3], &all[3..]));
    let of_alice = AuditFilter { subject: Some("alice".into()), ..AuditFilter::default() };
    assert_eq!(store.audit(&of_alice, None, 9).await.expect("read"), all[2..]);
    let by_boss = AuditFilter { actor: Some("user:boss".into()), ..AuditFilter::default() };
    assert_eq!(store.audit(&by_boss, None, 9).await.expect("read"), all[2..3]);
    assert_eq!(store.audit(&AuditFilter::default(), Some("no entry"), 9).await.expect("read"), []);
}
