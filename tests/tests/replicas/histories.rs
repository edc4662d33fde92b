//! Find or create, with random histories of sign-ins, registrations, changes of address, roles, deletions and events of
//! Clerk, against a model that is as plain as can be: never two users of one Clerk id, never somebody else's account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mongodb::bson::{Document, doc};
use proptest::{
    prelude::*,
    test_runner::{Config as Runs, TestRunner},
};
use tollgate::{
    app::App,
    clock::SystemClock,
    config::StoreLocation,
    domain::{
        ClerkIdentity, Email, Role, Stamp, Timestamp, UserId, UserPatch,
        clerk::{ClerkEvent, ClerkNews, ClerkProfile},
    },
    service::{
        resolve::resolve,
        users::{self, NewUser},
    },
    store::{self, Store},
};
use tollgate_protocol::{
    Code,
    edge::{Outcome, ResolveRequest},
};
use tollgate_tests::mongod::{self, Cluster};

/// One thing that happens. Numbers name one of a few people and addresses.
#[derive(Debug, Clone)]
enum Event {
    SignIn { clerk: u8, email: Option<u8>, verified: bool, impersonated: bool },
    Register { email: u8, verified: bool },
    MakeAdmin { user: u8 },
    ChangeEmail { user: u8, email: u8, verified: bool },
    Delete { user: u8 },
    ClerkSays { clerk: u8, email: Option<u8>, verified: bool },
    ClerkDeletes { clerk: u8 },
}

fn event() -> impl Strategy<Value = Event> {
    let (people, addresses) = (0..4_u8, 0..4_u8);
    let often = prop::bool::weighted(0.8);
    prop_oneof![
        6 => (people.clone(), prop::option::weighted(0.8, addresses.clone()), often, prop::bool::weighted(0.1))
            .prop_map(|(clerk, email, verified, impersonated)| Event::SignIn { clerk, email, verified, impersonated }),
        2 => (addresses.clone(), often).prop_map(|(email, verified)| Event::Register { email, verified }),
        1 => any::<u8>().prop_map(|user| Event::MakeAdmin { user }),
        3 => (people.clone(), prop::option::weighted(0.8, addresses.clone()), often)
            .prop_map(|(clerk, email, verified)| Event::ClerkSays { clerk, email, verified }),
        1 => people.prop_map(|clerk| Event::ClerkDeletes { clerk }),
        2 => (any::<u8>(), addresses, often)
            .prop_map(|(user, email, verified)| Event::ChangeEmail { user, email, verified }),
        1 => any::<u8>().prop_map(|user| Event::Delete { user }),
    ]
}

fn address(number: u8) -> String {
    format!("person{number}@example.com")
}

fn subject(number: u8) -> String {
    format!("user_{number}")
}

/// What the model knows of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    email: Option<String>,
    verified: bool,
    clerk: Option<String>,
    admin: bool,
}

type Accounts = BTreeMap<String, Account>;

/// Whom Clerk has deleted, and the number of the newest event.
#[derive(Debug, Default)]
struct AtClerk {
    deleted: BTreeSet<String>,
    newest: i64,
}

/// Applies an event of Clerk to the store and to the model.
async fn clerk_says(
    store: &Arc<dyn Store>,
    accounts: &mut Accounts,
    at: &mut AtClerk,
    clerk: String,
    news: Option<(Option<String>, bool)>,
) {
    at.newest += 1;
    let identity = ClerkIdentity { issuer: "https://clerk.test".to_owned(), id: clerk.clone() };
    let fresh = UserId::new(format!("usr_{}", mongod::fresh_name()));
    let what = match &news {
        None => ClerkNews::Deleted(identity),
        Some((email, email_verified)) => ClerkNews::Profile(Box::new(ClerkProfile {
            identity,
            email: email.as_deref().and_then(Email::new),
            email_verified: *email_verified,
            name: None,
            first_name: None,
            last_name: None,
            image: None,
            barred: false,
            updated_at: Timestamp::from_millis(at.newest),
        })),
    };
    let event = ClerkEvent { issuer: "https://clerk.test".to_owned(), delivery: mongod::fresh_name(), news: what };
    store.take_event(&event, &fresh, &Stamp::system(Timestamp::from_millis(at.newest))).await.expect("taken");

    let linked = accounts.iter().find(|(_, account)| account.clerk.as_ref() == Some(&clerk)).map(|(id, _)| id.clone());
    let Some((email, verified)) = news else {
        // Said again, it changes nothing: what another program has done to the account since then is its own.
        if !at.deleted.insert(clerk.clone()) {
            return;
        }
        if let Some(account) = linked.and_then(|id| accounts.get_mut(&id)) {
            (account.email, account.verified) = (None, false);
        }
        return;
    };
    if at.deleted.contains(&clerk) {
        return;
    }
    let holder = accounts.iter().find(|(_, account)| email.is_some() && account.email == email);
    let holder = holder.map(|(id, account)| (id.clone(), account.clone()));
    match (linked, holder) {
        (Some(id), holder) => {
            let free = holder.is_none_or(|(holder, _)| holder == id);
            if let Some(account) = accounts.get_mut(&id).filter(|_| verified && free && email.is_some()) {
                (account.email, account.verified) = (email, true);
            }
        }
        (None, Some((id, account))) => {
            if verified && account.verified && account.clerk.is_none() && !account.admin {
                accounts.get_mut(&id).expect("known").clerk = Some(clerk);
            }
        }
        (None, None) => {
            let email = email.filter(|_| verified);
            let account = Account { verified: email.is_some(), email, clerk: Some(clerk), admin: false };
            accounts.insert(fresh.as_str().to_owned(), account);
        }
    }
}

/// What a sign-in must give.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Known(String),
    Refused(Code),
    New(Account),
}

fn expected(accounts: &Accounts, clerk: &str, email: Option<&str>, verified: bool, impersonated: bool) -> Expected {
    if let Some((id, _)) = accounts.iter().find(|(_, account)| account.clerk.as_deref() == Some(clerk)) {
        return Expected::Known(id.clone());
    }
    if impersonated {
        return Expected::Refused(Code::UserUnknown);
    }
    match accounts.iter().find(|(_, account)| email.is_some() && account.email.as_deref() == email) {
        Some(_) if !verified => Expected::Refused(Code::EmailUnverified),
        Some((id, account)) if account.verified && account.clerk.is_none() && !account.admin => {
            Expected::Known(id.clone())
        }
        Some(_) => Expected::Refused(Code::EmailConflict),
        None => {
            let email = email.filter(|_| verified).map(str::to_owned);
            Expected::New(Account { verified: email.is_some(), email, clerk: Some(clerk.to_owned()), admin: false })
        }
    }
}

/// What is done past Tollgate, as another program does it.
enum Raw {
    Sqlite(rusqlite::Connection),
    Mongo(mongodb::Database),
}

impl Raw {
    async fn delete(&self, id: &str) {
        match self {
            Self::Sqlite(file) => drop(file.execute("DELETE FROM users WHERE id = ?1", [id]).expect("deleted")),
            Self::Mongo(database) => {
                let users = database.collection::<Document>("users");
                users.delete_one(doc! { "_id": id }).await.expect("deleted");
            }
        }
    }

    /// False where the address is taken.
    async fn change_email(&self, id: &str, email: &str, verified: bool) -> bool {
        match self {
            Self::Sqlite(file) => {
                let change = "UPDATE users SET email = ?2, email_verified = ?3 WHERE id = ?1";
                file.execute(change, rusqlite::params![id, email, verified]).is_ok()
            }
            Self::Mongo(database) => {
                let change = doc! { "$set": { "email": email, "email_verified": verified } };
                database.collection::<Document>("users").update_one(doc! { "_id": id }, change).await.is_ok()
            }
        }
    }

    async fn clear(&self) {
        match self {
            Self::Sqlite(file) => file.execute_batch("DELETE FROM users; DELETE FROM clerk_users").expect("deleted"),
            Self::Mongo(database) => {
                for name in ["users", "tollgate_clerk_users"] {
                    database.collection::<Document>(name).delete_many(doc! {}).await.expect("deleted");
                }
            }
        }
    }

    /// Everybody, as the store has them.
    async fn everybody(&self) -> Vec<(String, Account)> {
        match self {
            Self::Sqlite(file) => {
                let mut question =
                    file.prepare("SELECT id, email, email_verified, clerk_id, role FROM users").expect("SQL");
                let rows = question.query_map([], |row| {
                    let (email, verified, clerk) = (row.get(1)?, row.get(2)?, row.get(3)?);
                    Ok((row.get(0)?, Account { email, verified, clerk, admin: row.get::<_, String>(4)? == "admin" }))
                });
                rows.expect("rows").collect::<Result<_, _>>().expect("rows")
            }
            Self::Mongo(database) => {
                let mut cursor = database.collection::<Document>("users").find(doc! {}).await.expect("found");
                let mut all = Vec::new();
                while cursor.advance().await.expect("read") {
                    let user = Document::try_from(cursor.current()).expect("a document");
                    let text = |name: &str| user.get_str(name).ok().map(str::to_owned);
                    let verified = user.get_bool("email_verified").unwrap_or_default();
                    let admin = user.get_str("role").is_ok_and(|role| role == "admin");
                    let account = Account { email: text("email"), verified, clerk: text("clerk_id"), admin };
                    all.push((text("_id").expect("an id"), account));
                }
                all
            }
        }
    }
}

async fn run(store: &Arc<dyn Store>, raw: &Raw, history: &[Event]) {
    raw.clear().await;
    let app = &App::with(Arc::clone(store), Arc::new(SystemClock));
    let (mut accounts, mut at_clerk) = (Accounts::new(), AtClerk::default());
    for event in history {
        let nth = |user: u8| accounts.keys().nth(usize::from(user) % accounts.len().max(1)).cloned();
        match event {
            Event::SignIn { clerk, email, verified, impersonated } => {
                let (clerk, email) = (subject(*clerk), email.map(address));
                let linked = accounts.values().any(|account| account.clerk.as_ref() == Some(&clerk));
                let wanted = match expected(&accounts, &clerk, email.as_deref(), *verified, *impersonated) {
                    // Whom Clerk has deleted is neither made nor linked again.
                    Expected::New(_) | Expected::Known(_) if !linked && at_clerk.deleted.contains(&clerk) => {
                        Expected::Refused(Code::UserUnknown)
                    }
                    wanted => wanted,
                };
                let request = ResolveRequest::Clerk {
                    issuer: "https://clerk.test".to_owned(),
                    subject: clerk.clone(),
                    email: email.clone(),
                    email_verified: *verified,
                    name: None,
                    impersonated: *impersonated,
                };
                let answer = resolve(app, &request).await.expect("the store answers");
                match (answer.outcome, wanted) {
                    (Outcome::Refused(code), Expected::Refused(wanted)) => assert_eq!(code, wanted),
                    (Outcome::Identity(identity), Expected::Known(id)) => {
                        assert_eq!(identity.user_id, id, "somebody else's account");
                        assert_eq!(identity.clerk_id.as_deref(), Some(&*clerk));
                        accounts.get_mut(&id).expect("known").clerk = Some(clerk);
                    }
                    (Outcome::Identity(identity), Expected::New(account)) => {
                        let id = identity.user_id;
                        assert!(accounts.insert(id, account).is_none(), "an account that somebody has");
                    }
                    (given, wanted) => panic!("{given:?}, not {wanted:?}"),
                }
            }
            Event::Register { email, verified } => {
                let email = address(*email);
                let taken = accounts.values().any(|account| account.email.as_ref() == Some(&email));
                let new = NewUser { email: Some(email.clone()), email_verified: *verified, name: None };
                match users::create(app, &new).await {
                    Ok(user) => {
                        assert!(!taken, "{email} is taken");
                        let account = Account { email: Some(email), verified: *verified, clerk: None, admin: false };
                        accounts.insert(user.id.as_str().to_owned(), account);
                    }
                    Err(fault) => assert!(taken, "{fault}"),
                }
            }
            Event::MakeAdmin { user } => {
                let Some(id) = nth(*user) else { continue };
                let patch = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
                users::update(app, &UserId::new(id.clone()), &patch, None).await.expect("updated");
                accounts.get_mut(&id).expect("known").admin = true;
            }
            Event::ChangeEmail { user, email, verified } => {
                let Some(id) = nth(*user) else { continue };
                let email = address(*email);
                let taken =
                    accounts.iter().any(|(other, account)| *other != id && account.email.as_ref() == Some(&email));
                assert_eq!(raw.change_email(&id, &email, *verified).await, !taken, "{email}");
                if !taken {
                    let account = accounts.get_mut(&id).expect("known");
                    (account.email, account.verified) = (Some(email), *verified);
                }
            }
            Event::Delete { user } => {
                let Some(id) = nth(*user) else { continue };
                raw.delete(&id).await;
                accounts.remove(&id);
            }
            Event::ClerkSays { clerk, email, verified } => {
                let news = Some((email.map(address), *verified));
                clerk_says(store, &mut accounts, &mut at_clerk, subject(*clerk), news).await;
            }
            Event::ClerkDeletes { clerk } => {
                clerk_says(store, &mut accounts, &mut at_clerk, subject(*clerk), None).await;
            }
        }
        let everybody = raw.everybody().await;
        let mut clerks: Vec<&String> = everybody.iter().filter_map(|(_, account)| account.clerk.as_ref()).collect();
        clerks.sort();
        assert!(clerks.windows(2).all(|pair| pair[0] != pair[1]), "two users of one Clerk id: {everybody:?}");
        assert_eq!(everybody.into_iter().collect::<Accounts>(), accounts);
    }
}

/// A history that chance brings about rarely: an account that Clerk has closed gets an address from another program, and
/// Clerk says again that the user is gone.
fn closed_twice() -> Vec<Event> {
    vec![
        Event::SignIn { clerk: 2, email: Some(2), verified: true, impersonated: false },
        Event::ClerkDeletes { clerk: 2 },
        Event::ChangeEmail { user: 0, email: 3, verified: true },
        Event::ClerkDeletes { clerk: 2 },
        Event::SignIn { clerk: 2, email: Some(3), verified: true, impersonated: false },
    ]
}

fn check(cases: u32, store: &Arc<dyn Store>, raw: &Raw) {
    let handle = tokio::runtime::Handle::current();
    let runs = Runs { cases, failure_persistence: None, ..Runs::default() };
    let histories = prop::collection::vec(event(), 1..30);
    tokio::task::block_in_place(|| {
        handle.block_on(run(store, raw, &closed_twice()));
        let outcome = TestRunner::new(runs).run(&histories, |history| {
            handle.block_on(run(store, raw, &history));
            Ok(())
        });
        outcome.unwrap_or_else(|fault| panic!("{fault}"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_history_gives_two_users_or_a_takeover_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tollgate.db");
    let store = store::open(&StoreLocation::Sqlite(file.clone())).await.expect("opens");
    let raw = Raw::Sqlite(rusqlite::Connection::open(file).expect("opens"));
    check(100, &store, &raw);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_history_gives_two_users_or_a_takeover_on_mongodb() {
    let (cluster, name) = (Cluster::shared().await, mongod::fresh_name());
    let store = store::open(&cluster.location(&name)).await.expect("opens");
    let raw = Raw::Mongo(cluster.database(&name).await);
    check(25, &store, &raw);
}
