//! What every store does with sessions, sign-outs, passwords and revocations.

use std::{sync::Arc, time::Duration};

use tollgate::{
    config::Secret,
    domain::{FeedEntry, Happening, Session, SessionId, TokenHash, UserId},
    store::{AuditFilter, Conflict, FeedPage, Store, StoreError},
};
use tollgate_protocol::{Cursor, Revocation, Revoked};
use tollgate_tests::wait::until;

use super::{
    Place, futures_all,
    records::{BY, NOW, by, user, with_email},
};

fn session(id: &str, user: &str, byte: u8) -> Session {
    Session {
        id: SessionId::new(id),
        user_id: UserId::new(user),
        created_at: NOW,
        refreshed_at: NOW.plus_seconds(i64::from(byte)),
        expires_at: NOW.plus_seconds(1000 + i64::from(byte)),
        access_until: NOW.unix_seconds() + 900,
        family: TokenHash([byte; 32]),
        current: TokenHash([byte + 100; 32]),
        previous: None,
        address: Some("203.0.113.0/24".into()),
        user_agent: Some("old client/1.0 \u{1F40C}".into()),
    }
}

fn revocation(what: Revoked, id: &str, seconds: u64) -> Revocation {
    Revocation { what, issuer: None, id: id.into(), until: NOW.unix_seconds() + seconds }
}

async fn since(store: &Arc<dyn Store>, cursor: &Cursor) -> Vec<Happening> {
    match store.since(cursor, 100).await.expect("the feed") {
        FeedPage::Entries(entries, _) => entries.into_iter().map(|FeedEntry { happening, .. }| happening).collect(),
        FeedPage::Lost(head) => panic!("lost: {head}"),
    }
}

async fn with_user(place: &Place, id: &str) -> Arc<dyn Store> {
    let store = place.open().await;
    store.insert_user(&user(id), &BY).await.expect("inserted");
    store
}

async fn actions(store: &Arc<dyn Store>, subject: &str) -> Vec<String> {
    let filter = AuditFilter { subject: Some(subject.to_owned()), actor: None };
    let entries = store.audit(&filter, None, 100).await.expect("entries");
    entries.into_iter().map(|(_, entry)| entry.action).collect()
}

pub(crate) async fn a_session_comes_back_whole_and_belongs_to_its_user(place: &Place) {
    let store = with_user(place, "u").await;
    store.insert_user(&user("other"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    let mut full = session("s1", "u", 1);
    full.previous = Some((TokenHash([9; 32]), NOW.plus_seconds(5)));
    let bare = Session { address: None, user_agent: None, ..session("s2", "u", 2) };
    for session in [&full, &bare, &session("s3", "other", 3)] {
        store.begin_session(session).await.expect("begun");
        let back = store.session_by_family(&session.family).await.expect("read").expect("there");
        assert_eq!(&back, session);
    }
    assert_eq!(store.sessions_of(&full.user_id, NOW).await.expect("read"), [bare.clone(), full.clone()]);
    assert_eq!(store.sessions_of(&full.user_id, full.expires_at).await.expect("read"), [bare]);
    let seen = store.user(&full.user_id).await.expect("read").expect("there").last_login_at;
    assert_eq!(seen, Some(NOW));
    assert!(since(&store, &head).await.is_empty(), "signing in is not told");
    let nobody = store.begin_session(&session("s4", "nobody", 4)).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)), "{nobody:?}");
    let twice = store.begin_session(&session("s1", "u", 5)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(Conflict::Id))), "{twice:?}");
    assert_eq!(store.prune_sessions(full.expires_at).await.expect("pruned"), 1);
    assert!(store.session_by_family(&full.family).await.expect("read").is_none());
}

pub(crate) async fn a_refresh_token_is_used_up_once(place: &Place) {
    let store = with_user(place, "u").await;
    let first = session("s1", "u", 1);
    store.begin_session(&first).await.expect("begun");
    let next = |byte: u8| {
        let (used, now) = (first.current, NOW.plus_seconds(60));
        first.rotated(used, TokenHash([byte; 32]), now, now.plus_seconds(1000))
    };
    let tries: Vec<Session> = (10..26).map(next).collect();
    let outcomes = futures_all(tries.clone().into_iter().map(|session| {
        let store = Arc::clone(&store);
        async move { store.refresh_session(&session, &first_current()).await }
    }));
    let outcomes = outcomes.await;
    let won: Vec<_> = tries.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert_eq!(store.session_by_family(&first.family).await.expect("read").as_ref(), Some(won[0].0));
    for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
        assert!(matches!(outcome, Err(StoreError::Conflict(Conflict::Revision))), "{outcome:?}");
    }
    let gone = store.refresh_session(&session("s9", "u", 9), &first.current).await;
    assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
}

fn first_current() -> TokenHash {
    session("s1", "u", 1).current
}

pub(crate) async fn ending_a_session_revokes_it_in_the_same_step(place: &Place) {
    let store = with_user(place, "u").await;
    let session = session("s1", "u", 1);
    store.begin_session(&session).await.expect("begun");
    let head = store.head().await.expect("head");
    let revoked = revocation(Revoked::Session, "s1", 900);
    let theirs = store.end_session(&UserId::new("other"), &session.id, &revoked, &BY).await;
    assert!(matches!(theirs, Err(StoreError::NotFound)), "{theirs:?}");
    assert!(since(&store, &head).await.is_empty() && store.revocations(NOW).await.expect("read").is_empty());
    store.end_session(&session.user_id, &session.id, &revoked, &BY).await.expect("ended");
    assert_eq!(since(&store, &head).await, [Happening::Revoked(revoked.clone())]);
    assert_eq!(store.revocations(NOW).await.expect("read"), std::slice::from_ref(&revoked));
    assert!(store.sessions_of(&session.user_id, NOW).await.expect("read").is_empty());
    assert_eq!(actions(&store, "s1").await, ["session.revoked"]);
    let again = store.end_session(&session.user_id, &session.id, &revoked, &BY).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
}

pub(crate) async fn signing_out_ends_everything_and_says_when(place: &Place) {
    let store = with_user(place, "u").await;
    store.insert_user(&user("other"), &BY).await.expect("inserted");
    for (id, user, byte) in [("s1", "u", 1), ("s2", "u", 2), ("s3", "other", 3)] {
        store.begin_session(&session(id, user, byte)).await.expect("begun");
    }
    let (head, id) = (store.head().await.expect("head"), UserId::new("u"));
    store.sign_out(&id, &by(50)).await.expect("signed out");
    assert_eq!(since(&store, &head).await, [Happening::User(id.clone())]);
    assert!(store.sessions_of(&id, NOW).await.expect("read").is_empty());
    assert_eq!(store.sessions_of(&UserId::new("other"), NOW).await.expect("read").len(), 1);
    // A clock that was set back takes no sign-out back.
    store.sign_out(&id, &by(10)).await.expect("signed out");
    let user = store.user(&id).await.expect("read").expect("there");
    assert_eq!(user.last_logout_at, Some(NOW.plus_seconds(50)));
    assert_eq!(user.tokens_not_before(), Some(NOW.unix_seconds() + 51));
    assert_eq!(actions(&store, "u").await, ["user.signed_out", "user.signed_out", "user.created"]);
    let nobody = store.sign_out(&UserId::new("nobody"), &BY).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)), "{nobody:?}");
}

pub(crate) async fn a_better_hash_never_replaces_another_password(place: &Place) {
    let store = place.open().await;
    let mut ada = with_email("u", "ada@example.com");
    ada.password_hash = Some(Secret::new("$2b$10$old"));
    store.insert_user(&ada, &BY).await.expect("inserted");
    let upgrade = async |seen: &str, hash: &str| {
        store.upgrade_password(&ada.id, &Secret::new(seen), &Secret::new(hash), &by(1)).await.expect("asked")
    };
    assert!(!upgrade("$2b$10$other", "$argon2id$new").await);
    assert!(upgrade("$2b$10$old", "$argon2id$new").await);
    assert!(!upgrade("$2b$10$old", "$argon2id$late").await);
    let kept = store.user(&ada.id).await.expect("read").expect("there").password_hash;
    assert_eq!(kept.as_ref().map(Secret::expose), Some("$argon2id$new"));
    assert_eq!(actions(&store, "u").await, ["password.upgraded", "user.created"]);
}

pub(crate) async fn being_seen_moves_forward_and_is_not_told(place: &Place) {
    let store = with_user(place, "u").await;
    store.insert_user(&user("v"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    let (u, v, nobody) = (UserId::new("u"), UserId::new("v"), UserId::new("nobody"));
    for (seconds, expect) in [(60, 60), (30, 60), (90, 90)] {
        let notes = [u.clone(), v.clone(), nobody.clone()].map(|user| (user, NOW.plus_seconds(seconds)));
        store.note_seen(&notes).await.expect("noted");
        for id in [&u, &v] {
            let user = store.user(id).await.expect("read").expect("there");
            assert_eq!(user.last_login_at, Some(NOW.plus_seconds(expect)));
            assert_eq!(user.updated_at, NOW, "it is no change of the account");
        }
    }
    assert!(since(&store, &head).await.is_empty());
    assert!(store.user(&nobody).await.expect("read").is_none());
}

pub(crate) async fn revocations_hold_until_their_end_and_of_two_the_longer(place: &Place) {
    let store = place.open().await;
    let of_clerk = Revocation { issuer: Some("https://clerk.test".into()), ..revocation(Revoked::Session, "s", 30) };
    let key = revocation(Revoked::Key, "s", 20);
    for one in [&of_clerk, &key, &revocation(Revoked::Token, "s", 60), &revocation(Revoked::Token, "s", 10)] {
        store.revoke(one, &BY).await.expect("revoked");
    }
    let longer = revocation(Revoked::Token, "s", 60);
    let held = async |seconds| {
        let mut held = store.revocations(NOW.plus_seconds(seconds)).await.expect("read");
        held.sort_by_key(|revocation| revocation.until);
        held
    };
    assert_eq!(held(0).await, [key, of_clerk.clone(), longer.clone()]);
    assert_eq!(held(20).await, [of_clerk, longer.clone()]);
    assert_eq!(store.prune_revocations(NOW.plus_seconds(30)).await.expect("pruned"), 2);
    assert_eq!(held(0).await, [longer]);
    assert_eq!(actions(&store, "s").await.len(), 4);
}

pub(crate) async fn another_handle_hears_of_a_revocation(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let head = other.head().await.expect("head");
    let revoked = revocation(Revoked::Token, "t1", 60);
    store.revoke(&revoked, &BY).await.expect("revoked");
    let heard = || async { (since(&other, &head).await == [Happening::Revoked(revoked.clone())]).then_some(()) };
    let ((), took) = until("the other handle hears", Duration::from_secs(1), heard).await;
    println!("another handle heard of a revocation after {took:?}");
    store.prune_revocations(NOW.plus_seconds(60)).await.expect("pruned");
    assert_eq!(since(&other, &head).await, [Happening::Revoked(revoked)], "forgetting one is not told");
}
