//! What only MongoDB promises: documents of other programs, their changes, set-up on data that is there, a single server.

use std::time::Duration;

use mongodb::{
    Collection, Database, IndexModel,
    bson::{Bson, DateTime, Document, doc, oid::ObjectId},
    options::IndexOptions,
};
use tokio::time::Instant;
use tollgate::{
    domain::{
        ClerkIdentity, Email, Happening, PageKey, Role, Subscription, Timestamp, User, UserFilter, UserId, UserPatch,
        clerk::ClerkOutcome,
    },
    store::{self, Conflict, FeedPage, Store, StoreError},
};
use tollgate_protocol::Cursor;
use tollgate_tests::{
    mongod::{self, Cluster},
    wait::{PATIENCE, until},
};

use super::{
    records::{BY, by, clerk, conflict, key, user, with_email},
    webhooks::{gone, profile, said, take},
};

const SECOND: Duration = Duration::from_secs(1);

/// A database of its own, as another program sees it.
struct Other {
    location: tollgate::config::StoreLocation,
    database: Database,
    _cluster: std::sync::Arc<Cluster>,
}

impl Other {
    async fn new() -> Self {
        let (cluster, name) = (Cluster::shared().await, mongod::fresh_name());
        Self { location: cluster.location(&name), database: cluster.database(&name).await, _cluster: cluster }
    }

    fn users(&self) -> Collection<Document> {
        self.database.collection("users")
    }

    async fn open(&self) -> std::sync::Arc<dyn Store> {
        store::open(&self.location).await.expect("the store opens")
    }
}

async fn happened(store: &dyn Store, cursor: &Cursor) -> Vec<Happening> {
    match store.since(cursor, 10_000).await.expect("read") {
        FeedPage::Entries(entries, _) => entries.into_iter().map(|entry| entry.happening).collect(),
        FeedPage::Lost(head) => panic!("lost at {head}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_another_program_are_used_as_they_are() {
    let other = Other::new().await;
    let (plain, full, text_id) = (ObjectId::new(), ObjectId::new(), "0123456789abcdef01234567");
    let written = doc! {
        "_id": full, "email": "Ada@Example.com", "name": "Ada", "role": "developer", "is_active": 1_i32,
        "email_verified": true, "tokens_remaining": 41.0, "tokens_used": 1_i32, "monthly_limit": Bson::Null,
        "subscription": "pro", "created_at": "2024-05-06T07:08:09.123000", "updated_at": 1_715_000_000_i64,
        "last_login_at": DateTime::from_millis(7), "social_links": { "github": "ada" },
        "hobbies": ["looms", { "since": 1843_i32 }],
    };
    other
        .users()
        .insert_many([doc! { "_id": plain }, written.clone(), doc! { "_id": text_id }])
        .await
        .expect("inserted");
    let store = other.open().await;

    let found = store.user(&UserId::new(plain.to_hex())).await.expect("read").expect("there");
    assert_eq!((found.role, found.is_active, found.email_verified), (Role::User, true, false));
    assert_eq!((found.tokens_remaining, found.subscription, found.email), (10_000, Subscription::Free, None));
    assert!(store.user(&UserId::new(text_id)).await.expect("read").is_some(), "a text of 24 digits is an id as well");

    let id = UserId::new(full.to_hex());
    let found = store.user(&id).await.expect("read").expect("there");
    assert_eq!((found.tokens_remaining, found.tokens_used, found.monthly_limit), (41, 1, None));
    assert_eq!(
        (found.is_active, found.role, found.last_login_at),
        (true, Role::Developer, Some(Timestamp::from_millis(7)))
    );
    assert_eq!((found.created_at.millis(), found.updated_at.millis()), (1_714_979_289_123, 1_715_000_000_000));
    assert_eq!(found.extra.keys().collect::<Vec<_>>(), ["hobbies"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_changes_what_it_names_and_nothing_else() {
    let other = Other::new().await;
    let id = ObjectId::new();
    let written = doc! {
        "_id": id, "email": "ada@example.com", "email_verified": true, "tokens_remaining": 41.0,
        "created_at": "2024-05-06T07:08:09", "hobbies": ["looms", { "since": 1843_i32 }], "name": Bson::Null,
    };
    other.users().insert_one(&written).await.expect("inserted");
    let store = other.open().await;
    let user = UserId::new(id.to_hex());
    let patch = UserPatch { role: Some(Role::Developer), ..UserPatch::default() };
    store.update_user(&user, &patch, None, &by(1)).await.expect("updated");
    let email = Email::new("ada@example.com").expect("an address");
    store.link_clerk(&email, &clerk("c"), &by(2)).await.expect("linked");
    store.insert_key(&key("k", user.as_str(), 1), &by(3)).await.expect("inserted");
    store.revoke_key(&user, &key("k", "", 1).id, &by(4)).await.expect("revoked");

    let mut expected = written;
    expected.extend(doc! {
        "role": "developer", "updated_at": DateTime::from_millis(by(2).at.millis()), "clerk_id": "c",
        "clerk_issuer": clerk("c").issuer,
    });
    let members = |document: Document| document.into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let now = other.users().find_one(doc! { "_id": id }).await.expect("read").expect("there");
    assert_eq!(members(now), members(expected));
    let key = other.database.collection::<Document>("api_keys").find_one(doc! {}).await.expect("read").expect("there");
    assert_eq!(key.get_object_id("user_id").expect("as the user's document has it"), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_id_without_an_issuer_counts_for_any() {
    let other = Other::new().await;
    other.users().insert_one(doc! { "_id": "old", "clerk_id": "c1" }).await.expect("inserted");
    let store = other.open().await;
    let elsewhere = ClerkIdentity { issuer: "https://other.test".into(), id: "c1".into() };
    for identity in [clerk("c1"), elsewhere] {
        assert_eq!(store.user_by_clerk(&identity).await.expect("read").expect("there").id.as_str(), "old");
        let mut second = user("second");
        second.clerk = Some(identity);
        let refused = store.insert_user(&second, &BY).await.expect_err("taken");
        assert!(matches!(refused, StoreError::Conflict(Conflict::ClerkIdentity)), "{refused}");
    }
    store.insert_user(&with_email("e", "e@x.y"), &BY).await.expect("inserted");
    let email = Email::new("e@x.y").expect("an address");
    let refused = store.link_clerk(&email, &clerk("c1"), &BY).await.expect_err("taken");
    assert!(matches!(refused, StoreError::Conflict(Conflict::ClerkIdentity)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_version_of_ours_wrote_is_refused() {
    let other = Other::new().await;
    for (id, member) in
        [("a", doc! { "role": "root" }), ("b", doc! { "is_active": "yes" }), ("c", doc! { "subscription": "gold" })]
    {
        let mut document = doc! { "_id": id };
        document.extend(member);
        other.users().insert_one(document).await.expect("inserted");
    }
    let store = other.open().await;
    for id in ["a", "b", "c"] {
        let refused = store.user(&UserId::new(id)).await.expect_err("unreadable");
        assert!(matches!(refused, StoreError::Corrupt(_)), "{id}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_plain_client_are_told_within_a_second() {
    let other = Other::new().await;
    let store = other.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    store.insert_key(&key("k", "u", 1), &BY).await.expect("inserted");
    let keys = other.database.collection::<Document>("api_keys");
    let hash = key("k", "u", 1).hash;
    let u = || Happening::User(UserId::new("u"));
    for (what, expected) in [
        ("role", u()),
        ("key", Happening::Key(hash)),
        ("revoke", Happening::KeyRevoked(hash)),
        ("delete key", Happening::KeyRevoked(hash)),
        ("delete", u()),
    ] {
        let before = store.head().await.expect("head");
        // Counters are not told: had they been, they would stand before what is.
        let quiet = doc! { "$inc": { "tokens_used": 1, "tokens_remaining": -1 } };
        other.users().update_one(doc! { "_id": "u" }, quiet).await.expect("updated");
        let set = |member: &str, value: Bson| doc! { "$set": { member: value } };
        let began = Instant::now();
        match what {
            "role" => {
                drop(other.users().update_one(doc! { "_id": "u" }, set("role", "admin".into())).await.expect(what))
            }
            "key" => drop(keys.update_one(doc! { "_id": "k" }, set("name", "phone".into())).await.expect(what)),
            "revoke" => {
                let moment = Bson::DateTime(DateTime::from_millis(1));
                drop(keys.update_one(doc! { "_id": "k" }, set("revoked_at", moment)).await.expect(what));
            }
            "delete key" => drop(keys.delete_one(doc! { "_id": "k" }).await.expect(what)),
            _ => drop(other.users().delete_one(doc! { "_id": "u" }).await.expect(what)),
        }
        let told = || async { Some(happened(&*store, &before).await).filter(|told| !told.is_empty()) };
        let (told, _) = until(what, SECOND, told).await;
        println!("{what} by a plain client was told after {:?}", began.elapsed());
        assert_eq!(told, [expected], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_program_is_told_whole() {
    let other = Other::new().await;
    let store = other.open().await;
    let before = store.head().await.expect("head");
    let mut session = other.database.client().start_session().await.expect("a session");
    session.start_transaction().await.expect("begun");
    let people: Vec<Document> = (0..25).map(|n| doc! { "_id": format!("u{n}") }).collect();
    other.users().insert_many(people).session(&mut session).await.expect("inserted");
    session.commit_transaction().await.expect("committed");
    let told = || async {
        match store.since(&before, 10).await.expect("read") {
            FeedPage::Entries(entries, next) if !entries.is_empty() => Some((entries, next)),
            _ => None,
        }
    };
    let ((entries, next), _) = until("the transaction is told", SECOND, told).await;
    assert_eq!(entries.len(), 25, "it has one number, and is never parted");
    assert!(entries.iter().all(|entry| entry.seq == next.seq), "{entries:?} {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_dropped_makes_every_place_lost() {
    let other = Other::new().await;
    let store = other.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    other.users().drop().await.expect("dropped");
    let lost = || async { matches!(store.since(&head, 9).await.expect("read"), FeedPage::Lost(_)).then_some(()) };
    until("the place is lost", SECOND, lost).await;
    let head = store.head().await.expect("head");
    store.insert_user(&user("v"), &BY).await.expect("inserted");
    assert_eq!(happened(&*store, &head).await, [Happening::User(UserId::new("v"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_be_resumed_makes_every_place_lost_and_begins_anew() {
    let other = Other::new().await;
    let store = other.open().await;
    store.insert_user(&user("u"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    // With its database the stream ends for good.
    other.database.drop().await.expect("dropped");
    let lost = || async { matches!(store.since(&head, 9).await.expect("read"), FeedPage::Lost(_)).then_some(()) };
    until("the place is lost", SECOND, lost).await;
    let again = || async {
        let head = store.head().await.expect("head");
        other.users().insert_one(doc! { "hobby": "looms" }).await.expect("inserted");
        let told = || async {
            match store.since(&head, 9).await.expect("read") {
                FeedPage::Entries(entries, _) => (!entries.is_empty()).then_some(true),
                FeedPage::Lost(_) => Some(false),
            }
        };
        until("lost or told", PATIENCE, told).await.0.then_some(())
    };
    let ((), took) = until("changes are told again", PATIENCE, again).await;
    println!("after its database was dropped, changes were told again after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_dies_is_unavailable_within_five_seconds_and_comes_back() {
    let mut cluster = Cluster::set(1).await;
    let store = store::open(&cluster.location("people")).await.expect("opens");
    store.insert_user(&user("before"), &BY).await.expect("inserted");
    let head = store.head().await.expect("head");
    let dead = cluster.kill_primary().await;
    let began = Instant::now();
    let (known, new, stamp) = (UserId::new("before"), user("while it is dead"), BY);
    let (read, written) = tokio::join!(store.user(&known), store.insert_user(&new, &stamp));
    let took = began.elapsed();
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    println!("a MongoDB that died was unavailable after {took:?}");
    assert!(took < Duration::from_millis(5_500), "{took:?}");

    cluster.restart(dead);
    let back = || async { store.insert_user(&user("after"), &BY).await.ok() };
    until("it takes writes again", PATIENCE, back).await;
    let told = || async { Some(happened(&*store, &head).await).filter(|told| !told.is_empty()) };
    let (told, _) = until("the change is told", PATIENCE, told).await;
    assert_eq!(told, [Happening::User(UserId::new("after"))], "the stream went on where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_takes_what_is_there_and_says_what_is_in_its_way() {
    let other = Other::new().await;
    let unique = IndexOptions::builder().unique(true).sparse(true).name("their_email".to_owned()).build();
    let index = IndexModel::builder().keys(doc! { "email": 1 }).options(unique).build();
    other.users().create_index(index).await.expect("created");
    other.open().await.insert_user(&with_email("1", "a@b.c"), &BY).await.expect("inserted");
    let meta = other.database.collection::<Document>("tollgate_meta");
    meta.update_one(doc! { "_id": "schema" }, doc! { "$set": { "version": 99 } }).await.expect("updated");
    let refused = store::open(&other.location).await.err().expect("newer");
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");

    let other = Other::new().await;
    let twice = ["1", "2"].map(|id| doc! { "_id": id, "email": "same@x.y" });
    other.users().insert_many(twice).await.expect("inserted");
    let refused = store::open(&other.location).await.err().expect("duplicates").to_string();
    assert!(refused.contains("collection users") && refused.contains("the same email"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_everybody_once_whatever_their_ids_and_times_are() {
    let other = Other::new().await;
    let moment = || DateTime::from_millis(1_700_000_000_000);
    let times: [Option<Bson>; 7] = [
        None,
        Some(Bson::Null),
        Some(moment().into()),
        Some(DateTime::from_millis(1_800_000_000_000).into()),
        Some("2024-05-06T07:08:09".into()),
        Some(1_700_000_000_i64.into()),
        Some(1_700_000_000.5.into()),
    ];
    let mut wanted = std::collections::BTreeSet::new();
    let mut written = Vec::new();
    for (number, time) in times.iter().cycle().take(42).enumerate() {
        let bytes = |first: u8| ObjectId::from_bytes([first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number as u8]);
        let (id, text): (Bson, String) = match number / 7 {
            0 => (bytes(1).into(), bytes(1).to_hex()),
            // Texts that look like ObjectIds and numbers, on both sides of real ones.
            1 => (bytes(0).to_hex().into(), bytes(0).to_hex()),
            2 => (bytes(2).to_hex().into(), bytes(2).to_hex()),
            3 => (Bson::Int64(number as i64), number.to_string()),
            4 => (format!("{}", 100 + number).into(), format!("{}", 100 + number)),
            _ => (format!("usr_{number}").into(), format!("usr_{number}")),
        };
        assert!(wanted.insert(text));
        let mut document = doc! { "_id": id };
        document.extend(time.clone().map(|time| ("created_at".to_owned(), time)));
        written.push(document);
    }
    other.users().insert_many(&written).await.expect("inserted");
    let store = other.open().await;
    for size in [1, 2, 5, 41, 42, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.users(&UserFilter::default(), after.as_ref(), size).await.expect("read");
            let Some(last) = page.last() else { break };
            after = Some(PageKey { at: last.created_at, id: last.id.as_str().to_owned() });
            seen.extend(page.iter().map(|user| user.id.as_str().to_owned()));
            assert!(seen.len() <= wanted.len(), "pages of {size}: {seen:?}");
        }
        assert_eq!(seen.len(), wanted.len(), "pages of {size}");
        assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), wanted, "pages of {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_use_indexes() {
    let other = Other::new().await;
    drop(other.open().await);
    for (collection, filter) in [
        ("users", doc! { "email": "a@b.c" }),
        ("users", doc! { "clerk_id": "c", "clerk_issuer": { "$in": ["https://x", Bson::Null, ""] } }),
        ("api_keys", doc! { "hash": "x" }),
        ("api_keys", doc! { "user_id": { "$in": ["u"] }, "revoked_at": Bson::Null }),
    ] {
        let question =
            doc! { "explain": { "find": collection, "filter": filter.clone() }, "verbosity": "queryPlanner" };
        let plan = other.database.run_command(question).await.expect("a plan");
        let plan = plan.get_document("queryPlanner").and_then(|plan| plan.get_document("winningPlan")).expect("a plan");
        let plan = plan.to_string();
        assert!(plan.contains("IXSCAN") && !plan.contains("COLLSCAN"), "{filter}: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_is_away_is_unavailable_within_five_seconds() {
    let url = format!("mongodb://tollgate:hunter2@127.0.0.1:{}/people", tollgate_tests::ports::free());
    let location = tollgate::config::StoreLocation::parse(&url).expect("an address");
    let began = Instant::now();
    let refused = store::open(&location).await.err().expect("nobody listens");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
    println!("a MongoDB that is away was unavailable after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(5_500), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_is_polled() {
    let cluster = Cluster::standalone().await;
    let location = cluster.location("people");
    let (store, second) = (store::open(&location).await.expect("opens"), store::open(&location).await.expect("opens"));
    let before = store.head().await.expect("head");
    store.insert_user(&with_email("u", "a@b.c"), &BY).await.expect("inserted");
    store.insert_key(&key("k", "u", 1), &BY).await.expect("inserted");
    let told = happened(&*store, &before).await;
    assert!(told.starts_with(&[Happening::User(UserId::new("u")), Happening::Key(key("k", "u", 1).hash)]), "{told:?}");
    store.insert_user(&with_email("v", "a@b.c"), &BY).await.expect_err("taken");
    let cursors = (before.epoch, second.head().await.expect("head").epoch);
    assert_ne!(cursors.0, cursors.1, "no cursor holds in two processes");

    let places = [store.head().await.expect("head"), second.head().await.expect("head")];
    let users = cluster.database("people").await.collection::<Document>("users");
    let theirs = doc! { "_id": "w", "role": "admin", "updated_at": DateTime::from_millis(by(60).at.millis()) };
    users.insert_one(theirs).await.expect("inserted");
    for (store, place) in [&store, &second].into_iter().zip(&places) {
        let wanted = Happening::User(UserId::new("w"));
        let told = || async { happened(&**store, place).await.contains(&wanted).then_some(()) };
        let ((), took) = until("the change is told", SECOND, told).await;
        println!("a change of another program was told after {took:?}, by polling");
    }
    assert_eq!(store.user(&UserId::new("w")).await.expect("read").expect("there").role, Role::Admin);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_clerk_changes_members_and_keeps_the_rest() {
    let other = Other::new().await;
    let id = ObjectId::new();
    // Written by a program that knows one instance of Clerk only.
    let written = doc! { "_id": id, "clerk_id": "c", "email": "ada@x.test", "theirs": { "a": [1, 2] }, "name": "Own" };
    other.users().insert_one(written).await.expect("inserted");
    let store = other.open().await;
    let changed = take(&store, &said("m1", &profile("c", "new@x.test", 1))).await;
    assert_eq!(changed, ClerkOutcome::Changed { user: UserId::new(id.to_hex()), address_kept: false });
    let holds = async |expected: Document| {
        let document = other.users().find_one(doc! { "_id": id }).await.expect("read").expect("there");
        for (member, value) in expected {
            assert_eq!(document.get(&member).unwrap_or(&Bson::Null), &value, "{member} of {document}");
        }
    };
    holds(doc! {
        "email": "new@x.test", "email_verified": true, "name": "Own", "first_name": "Ada",
        "clerk_issuer": "https://clerk.test", "theirs": { "a": [1, 2] },
    })
    .await;
    assert_eq!(take(&store, &gone("m2", "c")).await, ClerkOutcome::Closed(UserId::new(id.to_hex())));
    holds(doc! { "email": null, "is_active": false, "clerk_id": "c", "theirs": { "a": [1, 2] } }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_takes_events_of_clerk_too() {
    let cluster = Cluster::standalone().await;
    let store = store::open(&cluster.location("people")).await.expect("opens");
    let before = store.head().await.expect("head");
    let created = said("m1", &profile("c", "ada@x.test", 1));
    assert_eq!(take(&store, &created).await, ClerkOutcome::Created(UserId::new("u_m1")));
    assert_eq!(take(&store, &created).await, ClerkOutcome::Doubled);
    let told = happened(&*store, &before).await;
    assert!(told.starts_with(&[Happening::User(UserId::new("u_m1"))]), "{told:?}");
    assert_eq!(take(&store, &gone("m2", "c")).await, ClerkOutcome::Closed(UserId::new("u_m1")));
    assert_eq!(take(&store, &said("m3", &profile("c", "ada@x.test", 2))).await, ClerkOutcome::Outdated);
    assert_eq!(take(&store, &gone("m4", "d")).await, ClerkOutcome::Unchanged);
    let late = User { clerk: Some(clerk("d")), ..user("d") };
    assert_eq!(conflict(store.insert_user(&late, &BY).await), Conflict::ClerkDeleted);
}
