//! What every store does for those who look after users and keys: searching in pages, changes for one state only, the
//! last administrator, rotation.

use serde_json::json;
use tollgate::{
    domain::{
        Email, Happening, KeyFilter, KeyId, PageKey, Role, Subscription, Timestamp, User, UserFilter, UserId, UserPatch,
    },
    store::{Conflict, FeedPage, Store, StoreError},
};
use tollgate_protocol::KeyHash;

use super::{
    Place, futures_all,
    records::{BY, NOW, by, clerk, conflict, key, user, with_email},
};

async fn ids(store: &dyn Store, filter: &UserFilter, after: Option<&PageKey>, limit: usize) -> Vec<String> {
    let found = store.users(filter, after, limit).await.expect("read");
    found.into_iter().map(|user| user.id.as_str().to_owned()).collect()
}

fn born(mut user: User, seconds: i64) -> User {
    user.created_at = NOW.plus_seconds(seconds);
    user
}

pub(crate) async fn users_are_found_in_pages(place: &Place) {
    let store = place.open().await;
    let mut ada = born(with_email("ada", "ada@x.y"), 5);
    ada.clerk = Some(clerk("user_ada"));
    let mut boss = born(with_email("boss", "adam@x.y"), 4);
    boss.role = Role::Admin;
    let mut pro = born(user("pro"), 3);
    pro.subscription = Subscription::Pro;
    pro.is_active = false;
    for user in [&boss, &born(user("b"), 1), &ada, &pro, &born(user("a"), 1), &born(user("c"), 1)] {
        store.insert_user(user, &BY).await.expect("inserted");
    }
    let any = UserFilter::default();
    let all = ids(&*store, &any, None, 100).await;
    assert_eq!(all, ["ada", "boss", "pro", "c", "b", "a"], "newest first, then by id");
    // Pages of every size show everybody once, also where several were made at one moment.
    for size in 1..=7 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.users(&any, after.as_ref(), size).await.expect("read");
            let Some(last) = page.last() else { break };
            after = Some(PageKey { at: last.created_at, id: last.id.as_str().to_owned() });
            seen.extend(page.into_iter().map(|user| user.id.as_str().to_owned()));
        }
        assert_eq!(seen, all, "pages of {size}");
    }
    let text = |text: &str| UserFilter { text: Some(text.to_owned()), ..UserFilter::default() };
    for (asked, expected) in [
        (text("ada"), vec!["ada", "boss"]),
        (text("ada@"), vec!["ada"]),
        (text("user_ada"), vec!["ada"]),
        (text("pro"), vec!["pro"]),
        (text("%"), vec![]),
        (text(".*"), vec![]),
        (text("x.y"), vec![]),
        (UserFilter { role: Some(Role::Admin), ..any.clone() }, vec!["boss"]),
        (UserFilter { is_active: Some(false), ..any.clone() }, vec!["pro"]),
        (UserFilter { subscription: Some(Subscription::Pro), ..any.clone() }, vec!["pro"]),
        (UserFilter { subscription: Some(Subscription::Pro), is_active: Some(true), ..any.clone() }, vec![]),
    ] {
        assert_eq!(ids(&*store, &asked, None, 100).await, expected, "{asked:?}");
    }
}

pub(crate) async fn a_change_for_another_state_is_refused(place: &Place) {
    let store = place.open().await;
    let before = with_email("u", "u@x.y");
    store.insert_user(&before, &BY).await.expect("inserted");
    let read = store.user(&before.id).await.expect("read").expect("there").revision();
    let named = |name: &str| UserPatch { name: Some(Some(name.to_owned())), ..UserPatch::default() };
    let first = store.update_user(&before.id, &named("one"), Some(&read), &by(1)).await.expect("changed");
    assert_eq!(conflict(store.update_user(&before.id, &named("two"), Some(&read), &by(2)).await), Conflict::Revision);
    let stored = store.user(&before.id).await.expect("read").expect("there");
    assert_eq!((stored.name.as_deref(), stored.revision()), (Some("one"), first.revision()));
    let full = UserPatch {
        name: Some(None),
        monthly_limit: Some(Some(7)),
        bio: Some(Some("b".into())),
        website: Some(Some("https://w".into())),
        profile_image: Some(Some("https://p".into())),
        social_links: json!({"github": "https://g"}).as_object().cloned(),
        ..UserPatch::default()
    };
    store.update_user(&before.id, &full, Some(&first.revision()), &by(3)).await.expect("changed");
    let stored = store.user(&before.id).await.expect("read").expect("there");
    assert_eq!((stored.name, stored.monthly_limit, stored.bio.as_deref()), (None, Some(7), Some("b")));
    assert_eq!(stored.website.as_deref(), Some("https://w"));
    assert_eq!(stored.profile_image.as_deref(), Some("https://p"));
    assert_eq!(stored.social_links, full.social_links.expect("links"));
    assert_eq!((stored.email, stored.updated_at), (Email::new("u@x.y"), NOW.plus_seconds(3)));
}

pub(crate) async fn the_last_administrator_stays(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let admins: Vec<UserId> = (0..6).map(|n| UserId::new(format!("admin{n}"))).collect();
    for id in &admins {
        let mut admin = user(id.as_str());
        admin.role = Role::Admin;
        store.insert_user(&admin, &BY).await.expect("inserted");
    }
    // All of them at once, by both handles and in both ways: one is left, whoever was quicker.
    let removals = admins.iter().enumerate().map(|(n, id)| {
        let (store, id) = (if n % 2 == 0 { &store } else { &other }.clone(), id.clone());
        let patch = match n % 3 {
            0 => UserPatch { is_active: Some(false), ..UserPatch::default() },
            _ => UserPatch { role: Some(Role::User), ..UserPatch::default() },
        };
        async move { store.update_user(&id, &patch, None, &by(1)).await }
    });
    let outcomes = futures_all(removals).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    let refused = outcomes.into_iter().find(Result::is_err).expect("one is refused");
    assert_eq!(conflict(refused), Conflict::LastAdmin);
    let acting = UserFilter { role: Some(Role::Admin), is_active: Some(true), ..UserFilter::default() };
    let last = ids(&*store, &acting, None, 9).await;
    assert_eq!(last.len(), 1);
    let harmless = UserPatch { name: Some(Some("x".into())), ..UserPatch::default() };
    store.update_user(&UserId::new(&last[0]), &harmless, None, &by(2)).await.expect("anything else may change");
}

pub(crate) async fn keys_are_found_in_pages(place: &Place) {
    let store = place.open().await;
    for id in ["u", "v"] {
        store.insert_user(&user(id), &BY).await.expect("inserted");
    }
    for (n, owner) in [(1, "u"), (2, "v"), (3, "u"), (4, "u")] {
        let mut key = key(&format!("k{n}"), owner, n);
        key.prefix = format!("sk_Ab{n}%");
        key.created_at = NOW.plus_seconds(i64::from(n) / 2);
        store.insert_key(&key, &BY).await.expect("inserted");
    }
    store.revoke_key(&UserId::new("u"), &KeyId::new("k1"), &by(1)).await.expect("revoked");
    let ids = async |filter: KeyFilter, after: Option<PageKey>, limit| -> Vec<String> {
        let found = store.keys(&filter, after.as_ref(), limit).await.expect("read");
        found.into_iter().map(|key| key.id.as_str().to_owned()).collect()
    };
    assert_eq!(ids(KeyFilter::default(), None, 9).await, ["k4", "k3", "k2", "k1"]);
    assert_eq!(ids(KeyFilter::default(), None, 2).await, ["k4", "k3"]);
    let after = PageKey { at: NOW.plus_seconds(1), id: "k3".into() };
    assert_eq!(ids(KeyFilter::default(), Some(after), 9).await, ["k2", "k1"]);
    let of_u = KeyFilter { user_id: Some(UserId::new("u")), text: None };
    assert_eq!(ids(of_u, None, 9).await, ["k4", "k3", "k1"]);
    for (text, expected) in [("sk_Ab", vec!["k4", "k3", "k2", "k1"]), ("sk_Ab2", vec!["k2"]), ("k1", vec!["k1"])] {
        let filter = KeyFilter { user_id: None, text: Some(text.to_owned()) };
        let found = ids(filter, None, 9).await;
        assert_eq!(found, expected, "{text}");
    }
    let found = store.key(&KeyId::new("k2")).await.expect("read").expect("there");
    assert_eq!((found.prefix.as_str(), found.rate), ("sk_Ab2%", "60/min burst 5".parse().ok()));
    assert!(store.key(&KeyId::new("nobody's")).await.expect("read").is_none());
}

pub(crate) async fn rotation_adds_one_and_ends_the_other(place: &Place) {
    let store = place.open().await;
    let u = UserId::new("u");
    for id in ["u", "v"] {
        store.insert_user(&user(id), &BY).await.expect("inserted");
    }
    let (mut old, mut soon) = (key("old", "u", 1), key("soon", "u", 2));
    old.expires_at = None;
    soon.expires_at = Some(NOW.plus_seconds(10));
    for key in [&old, &soon, &key("foreign", "v", 3)] {
        store.insert_key(key, &BY).await.expect("inserted");
    }
    let head = store.head().await.expect("head");
    let ends = NOW.plus_seconds(60);
    store.rotate_key(&old.id, &key("new1", "u", 11), ends, &by(1)).await.expect("rotated");
    store.rotate_key(&soon.id, &key("new2", "u", 12), ends, &by(1)).await.expect("rotated");
    let end = async |id: &str| -> Option<Timestamp> {
        store.key(&KeyId::new(id)).await.expect("read").expect("there").expires_at
    };
    assert_eq!(
        (end("old").await, end("soon").await),
        (Some(ends), Some(NOW.plus_seconds(10))),
        "never later than before"
    );
    let told = match store.since(&head, 100).await.expect("read") {
        FeedPage::Entries(entries, _) => entries,
        lost @ FeedPage::Lost(_) => panic!("{lost:?}"),
    };
    for byte in [1, 11, 12] {
        let key = Happening::Key(KeyHash([byte; 32]));
        assert!(told.iter().any(|entry| entry.happening == key), "edges look at {byte} anew: {told:?}");
    }

    let refused = store.rotate_key(&KeyId::new("foreign"), &key("new3", "u", 13), ends, &by(1)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let taken = store.rotate_key(&old.id, &key("new4", "u", 11), ends, &by(1)).await;
    assert_eq!(conflict(taken), Conflict::KeyHash);
    store.revoke_key(&u, &KeyId::new("new1"), &by(2)).await.expect("revoked");
    assert_eq!(
        conflict(store.rotate_key(&KeyId::new("new1"), &key("n5", "u", 15), ends, &by(3)).await),
        Conflict::KeyEnded
    );
    assert_eq!(conflict(store.rotate_key(&soon.id, &key("n6", "u", 16), ends, &by(11)).await), Conflict::KeyEnded);
    assert_eq!(store.keys_of(&u).await.expect("read").len(), 3, "what was refused has left nothing");
}
