//! What every store does with many users and keys of a file: once each, whole or not at all, told, and with a ledger that
//! comes out.

use std::collections::BTreeSet;

use tollgate::{
    config::Secret,
    domain::{
        ApiKey, Email, Happening, ImportedUser, Role, Scope, Subscription, User, UserId,
        clerk::{ClerkEvent, ClerkNews},
        ledger::{Allowances, Posting, Purpose, tally::Tally},
    },
    store::{AuditFilter, Conflict, FeedPage, Imported, Store},
};
use tollgate_protocol::KeyHash;

use super::{
    Place,
    records::{BY, by, clerk, key, user, with_email},
};

fn import(user: User, given: &[&'static str]) -> ImportedUser {
    ImportedUser { user, has_id: true, given: given.iter().copied().collect() }
}

/// Without an id of its own.
fn unnamed(user: User, given: &[&'static str]) -> ImportedUser {
    ImportedUser { has_id: false, ..import(user, given) }
}

async fn there(store: &dyn Store, id: &str) -> User {
    store.user(&UserId::new(id)).await.expect("read").expect("there")
}

pub(crate) async fn users_are_taken_over_once_and_whole(place: &Place) {
    let store = place.open().await;
    let before = store.head().await.expect("a place");
    let mut ada = with_email("ada", "ada@x.y");
    ada.clerk = Some(clerk("user_ada"));
    ada.password_hash = Some(Secret::new("$2b$10$x"));
    (ada.tokens_remaining, ada.tokens_used) = (70, 30);
    ada.extra.insert("theme".into(), "dark".into());
    let file = [import(ada.clone(), &[]), unnamed(with_email("fresh", "bob@x.y"), &[])];
    let first = store.import_users(&file, false, &BY).await.expect("taken over");
    assert_eq!(first, [Imported::Added, Imported::Added]);
    let back = there(&*store, "ada").await;
    assert_eq!(format!("{back:?}"), format!("{ada:?}"));
    // The same file again, with another new id for whoever has none.
    let again = [import(ada.clone(), &["email"]), unnamed(with_email("fresher", "bob@x.y"), &["email"])];
    let unchanged = [Imported::Unchanged, Imported::Unchanged];
    assert_eq!(store.import_users(&again, false, &by(1)).await.expect("taken over"), unchanged);
    assert_eq!(store.import_users(&again, true, &by(1)).await.expect("taken over"), unchanged, "nothing differs");
    assert!(store.user(&UserId::new("fresher")).await.expect("read").is_none());
    // Everybody who was added is told, nobody else.
    let FeedPage::Entries(entries, _) = store.since(&before, 100).await.expect("read") else { panic!("lost") };
    let told: BTreeSet<String> = entries
        .into_iter()
        .map(|entry| match entry.happening {
            Happening::User(id) => id.as_str().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, BTreeSet::from(["ada".to_owned(), "fresh".to_owned()]));
    let filter = AuditFilter { subject: Some("ada".into()), actor: None };
    let log = store.audit(&filter, None, 10).await.expect("read");
    assert_eq!(log.iter().map(|(_, entry)| entry.action.as_str()).collect::<Vec<_>>(), ["user.imported"]);
    assert!(!format!("{log:?}").contains("$2b$"), "no hash in the log of changes");
}

pub(crate) async fn an_update_changes_what_the_file_names(place: &Place) {
    let store = place.open().await;
    let mut old = with_email("u", "u@x.y");
    old.name = Some("Old".into());
    old.bio = Some("bio".into());
    old.tokens_remaining = 5;
    old.extra.insert("kept".into(), 1.into());
    store.insert_user(&old, &BY).await.expect("inserted");
    let mut new = with_email("other", "u@x.y");
    new.name = Some("New".into());
    new.subscription = Subscription::Pro;
    new.role = Role::Developer;
    new.tokens_remaining = 1_000_000;
    new.password_hash = Some(Secret::new("$2b$10$y"));
    new.extra.insert("added".into(), 2.into());
    let given = ["email", "name", "subscription", "tokens_remaining", "password_hash"];
    let file = [unnamed(new.clone(), &given)];
    assert_eq!(store.import_users(&file, false, &by(1)).await.expect("read"), [Imported::Unchanged]);
    assert_eq!(there(&*store, "u").await.name.as_deref(), Some("Old"));
    assert_eq!(store.import_users(&file, true, &by(2)).await.expect("changed"), [Imported::Updated]);
    let user = there(&*store, "u").await;
    assert_eq!((user.name.as_deref(), user.bio.as_deref(), user.role), (Some("New"), Some("bio"), Role::User));
    assert_eq!((user.subscription, user.tokens_remaining), (Subscription::Pro, 5), "balances are the ledger's");
    assert_eq!(user.password_hash.as_ref().map(Secret::expose), Some("$2b$10$y"));
    assert_eq!((user.extra.get("kept"), user.extra.get("added")), (Some(&1.into()), Some(&2.into())));
    assert_eq!(user.updated_at, by(2).at);
    assert_eq!(store.import_users(&file, true, &by(3)).await.expect("read"), [Imported::Unchanged]);
}

pub(crate) async fn what_contradicts_others_is_refused_alone(place: &Place) {
    let store = place.open().await;
    let mut one = with_email("one", "one@x.y");
    one.clerk = Some(clerk("user_one"));
    one.role = Role::Admin;
    store.insert_user(&one, &BY).await.expect("inserted");
    let mut same_clerk = user("other");
    same_clerk.clerk = Some(clerk("user_one"));
    let mut demoted = one.clone();
    demoted.role = Role::User;
    let file = [
        import(with_email("two", "one@x.y"), &["email"]),
        import(same_clerk, &["clerk_id"]),
        import(demoted, &["role"]),
        import(with_email("good", "good@x.y"), &[]),
    ];
    let outcomes = store.import_users(&file, true, &by(1)).await.expect("taken over");
    let refused = |conflict| Imported::Refused(conflict);
    assert_eq!(
        outcomes,
        [refused(Conflict::Email), refused(Conflict::ClerkIdentity), refused(Conflict::LastAdmin), Imported::Added]
    );
    assert_eq!(there(&*store, "one").await.role, Role::Admin);
}

pub(crate) async fn whom_clerk_has_deleted_does_not_come_back(place: &Place) {
    let store = place.open().await;
    let news = ClerkNews::Deleted(clerk("user_gone"));
    let event = ClerkEvent { issuer: "https://clerk.test".into(), delivery: "m1".into(), news };
    store.take_event(&event, &UserId::new("none"), &BY).await.expect("taken");
    store.insert_user(&with_email("there", "there@x.y"), &BY).await.expect("inserted");
    let mut gone = with_email("gone", "gone@x.y");
    gone.clerk = Some(clerk("user_gone"));
    let mut link = with_email("there", "there@x.y");
    link.clerk = gone.clerk.clone();
    for file in [import(gone, &["clerk_id"]), import(link, &["clerk_id"])] {
        let outcomes = store.import_users(&[file], true, &by(1)).await.expect("decided");
        assert_eq!(outcomes, [Imported::Refused(Conflict::ClerkDeleted)]);
    }
    assert!(store.user(&UserId::new("gone")).await.expect("read").is_none());
    assert!(there(&*store, "there").await.clerk.is_none());
}

pub(crate) async fn keys_are_taken_over_by_their_hash(place: &Place) {
    let store = place.open().await;
    for id in ["a", "b"] {
        store.insert_user(&user(id), &BY).await.expect("inserted");
    }
    let mut ended = key("key_2", "a", 2);
    ended.revoked_at = Some(by(5).at);
    ended.expires_at = None;
    let file = [key("key_1", "a", 1), ended.clone(), key("key_3", "nobody", 3)];
    let outcomes = store.import_keys(&file, &BY).await.expect("taken over");
    assert_eq!(outcomes, [Imported::Added, Imported::Added, Imported::NoUser]);
    let (back, owner) = store.key_by_hash(&KeyHash([2; 32])).await.expect("read").expect("there");
    assert_eq!((back, owner.map(|owner| owner.id)), (ended, Some(UserId::new("a"))));
    let renamed = ApiKey { scopes: vec![Scope::new("z").expect("a scope")], ..key("key_9", "a", 1) };
    let again = [renamed, key("key_8", "b", 2), key("key_1", "b", 8)];
    let outcomes = store.import_keys(&again, &by(1)).await.expect("taken over");
    assert_eq!(outcomes, [Imported::Unchanged, Imported::Refused(Conflict::KeyHash), Imported::Refused(Conflict::Id)]);
}

pub(crate) async fn the_ledger_of_somebody_taken_over_comes_out(place: &Place) {
    let store = place.open().await;
    let mut rich = with_email("rich", "rich@x.y");
    (rich.tokens_remaining, rich.tokens_used) = (300, 700);
    let file = [import(rich.clone(), &[])];
    assert_eq!(store.import_users(&file, false, &BY).await.expect("taken over"), [Imported::Added]);
    for (purpose, amount) in [(Purpose::Consume, 100), (Purpose::Grant, 50), (Purpose::Consume, 200)] {
        let key = format!("k{amount}");
        let posting = Posting { user: rich.id.clone(), key, purpose, amount, note: None };
        store.post(&posting, &Allowances::default(), &by(1)).await.expect("posted");
    }
    // Taking the same file over again, also to change it, leaves the balance alone.
    let given = ["tokens_remaining", "tokens_used", "email"];
    let outcomes = store.import_users(&[import(rich.clone(), &given)], true, &by(2)).await.expect("taken over");
    assert_eq!(outcomes, [Imported::Unchanged]);
    let account = store.account(&rich.id, &Allowances::default(), &by(3)).await.expect("an account");
    assert_eq!((account.remaining, account.used), (50, 1_000));
    let mut tally = Tally::default();
    let entries = store.entries(&rich.id, None, 100).await.expect("read");
    entries.iter().rev().for_each(|entry| tally.add(entry));
    assert_eq!((tally.first_balance, tally.faults(&account, 700, &[])), (Some(300), Vec::<String>::new()));
}

pub(crate) async fn a_password_is_set_for_somebody(place: &Place) {
    let store = place.open().await;
    let who = with_email("u", "u@x.y");
    store.insert_user(&who, &BY).await.expect("inserted");
    store.set_password(&who.id, &Secret::new("hash"), &by(1)).await.expect("set");
    let email = Email::new("u@x.y").expect("an address");
    let user = store.user_by_email(&email).await.expect("read").expect("there");
    assert_eq!(user.password_hash.as_ref().map(Secret::expose), Some("hash"));
    let nobody = store.set_password(&UserId::new("nobody"), &Secret::new("hash"), &by(1)).await;
    assert!(matches!(nobody, Err(tollgate::store::StoreError::NotFound)), "{nobody:?}");
}
