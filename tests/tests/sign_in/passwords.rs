//! Who gets in with which password, and that nobody learns who has an account.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tollgate::{
    config::{AttemptLimit, PasswordCost, Secret},
    domain::UserPatch,
    service::{
        sign_in::{Passwords, Verdict, hash_password},
        users,
    },
    store::{self, AuditFilter},
};
use tollgate_tests::http::Request;

use super::{PASSWORD, World};

/// What a client sees of an answer, but for the request's id.
fn shown(answer: &tollgate_tests::http::Answer) -> String {
    let mut body = answer.json();
    body.as_object_mut().expect("an object").remove("request_id");
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "content-length"));
    format!("{} {body} {headers:?}", answer.status)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_let_in_does_not_learn_why() {
    let world = World::start().await;
    world.user("ada@example.com", Some(PASSWORD)).await;
    world.user("clerk-only@example.com", None).await;
    let gone = world.user("gone@example.com", Some(PASSWORD)).await;
    let inactive = UserPatch { is_active: Some(false), ..UserPatch::default() };
    users::update(&world.app, &gone.id, &inactive, None).await.expect("changed");
    let older = bcrypt_user(&world, "older@example.com").await;
    let ways = [
        ("wrong password", "ada@example.com", "wrong"),
        ("unknown", "nobody@example.com", PASSWORD),
        ("no password", "clerk-only@example.com", PASSWORD),
        ("inactive, right password", "gone@example.com", PASSWORD),
        ("wrong password of an older hash", older.as_str(), "wrong"),
    ];
    let expected = shown(&world.try_login(ways[0].1, ways[0].2).await);
    assert!(expected.contains("\"sign_in_refused\"") && expected.starts_with("401"), "{expected}");
    let mut medians = Vec::new();
    for (what, email, password) in ways {
        let mut times = Vec::new();
        for _ in 0..7 {
            let began = Instant::now();
            let answer = world.try_login(email, password).await;
            times.push(began.elapsed());
            assert_eq!(shown(&answer), expected, "{what}");
        }
        let median = median(times);
        println!("{what}: refused after {median:?} (median of 7)");
        medians.push(median);
    }
    let (least, most) = (medians.iter().min().expect("some"), medians.iter().max().expect("some"));
    assert!(*most - *least < Duration::from_millis(50), "the times tell them apart: {medians:?}");
    world.stop().await;
}

/// A user of the older system: bcrypt.
async fn bcrypt_user(world: &World, email: &str) -> String {
    // "correctbatteryhorsestapler", of OpenBSD's test vectors.
    let user = world.user(email, Some("x")).await;
    let store = store::open(&world.config.store).await.expect("the store opens");
    let seen = user.password_hash.expect("a hash");
    let hash = Secret::new("$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie");
    let stamp = tollgate::domain::Stamp::system(user.created_at);
    assert!(store.upgrade_password(&user.id, &seen, &hash, &stamp).await.expect("kept"));
    email.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_nobodys_password_takes_as_long_as_at_somebodys() {
    // The cost that holds by default: a difference would be one of milliseconds.
    let cost = PasswordCost::default();
    let passwords = Passwords::new(cost, 1).expect("parameters");
    let kept = Secret::new(hash_password(cost, PASSWORD.as_bytes()).expect("a hash"));
    let junk = Secret::new("$pbkdf2-sha256$29000$x$y");
    let ways = [("wrong", Some(&kept)), ("nobody", None), ("unusable", Some(&junk))];
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..25 {
        for (place, (_, kept)) in ways.iter().enumerate() {
            let began = Instant::now();
            let verdict = passwords.check(*kept, &Secret::new("wrong")).await.expect("looked at");
            times[place].push(began.elapsed());
            assert!(matches!(verdict, Verdict::Wrong));
        }
    }
    let medians: Vec<Duration> = times.into_iter().map(median).collect();
    for ((what, _), median) in ways.iter().zip(&medians) {
        println!("{what}: looked at in {median:?} (median of 25)");
    }
    let (least, most) = (medians.iter().min().expect("some"), medians.iter().max().expect("some"));
    assert!(*most < *least * 3 / 2, "the times tell them apart: {medians:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_hash_is_accepted_and_replaced() {
    let world = World::start().await;
    let email = bcrypt_user(&world, "older@example.com").await;
    let login = async |password: &str| world.try_login(&email, password).await.status;
    assert_eq!(login("correctbatteryhorsestapler").await, 200);
    let user = users::get_by_email(&world.app, &email).await.expect("a user");
    let kept = user.password_hash.expect("a hash");
    assert!(kept.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", kept.expose());
    assert_eq!(login("correctbatteryhorsestapler").await, 200);
    assert_eq!(login("correctbatteryhorsestaple").await, 401);
    let store = store::open(&world.config.store).await.expect("the store opens");
    let filter = AuditFilter { subject: Some(user.id.as_str().to_owned()), actor: None };
    let entries = store.audit(&filter, None, 10).await.expect("entries");
    let upgraded: Vec<_> = entries.iter().filter(|(_, entry)| entry.action == "password.upgraded").collect();
    // The first one is this test's own.
    assert_eq!(upgraded.len(), 2, "{entries:?}");
    assert_eq!(upgraded[0].1.actor, format!("user:{}", user.id));
    assert!(upgraded[0].1.request_id.is_some());
    let text = format!("{entries:?}");
    assert!(!text.contains("argon2") && !text.contains("2b$"), "{text}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_strictly_and_every_fault_is_listed() {
    let world = World::start().await;
    let long = "x".repeat(1025);
    for (path, body, faults) in [
        ("/auth/login", json!({}), &["email", "password"][..]),
        ("/auth/login", json!({"email": "junk", "password": ""}), &["email", "password"]),
        ("/auth/login", json!({"email": "a@b.c", "password": long}), &["password"]),
        ("/auth/login", json!({"email": 1, "password": null, "role": "admin"}), &["email", "password", "role"]),
        ("/auth/refresh", json!({}), &["refresh_token"]),
        ("/auth/refresh", json!({"refresh_token": ["x"], "a": 1}), &["refresh_token", "a"]),
    ] {
        let answer = world.post(path, body.clone()).await;
        let told = answer.json();
        let named: Vec<&str> =
            told["faults"].as_array().expect("faults").iter().filter_map(|fault| fault["field"].as_str()).collect();
        assert_eq!((answer.status, &*named), (400, faults), "{path} {body}");
    }
    let form = Request::post("/auth/login", "email=a@b.c&password=x");
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(world.ask(form).await.status, 415, "no form of another site can sign anybody in");
    assert_eq!(world.ask(Request::get("/auth/login")).await.status, 405);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_limited_for_accounts_and_addresses() {
    let world = World::with(|_, sign_in| {
        sign_in.per_account = AttemptLimit { most: 3, seconds: 600 };
        sign_in.per_address = AttemptLimit { most: 5, seconds: 600 };
    })
    .await;
    for email in ["ada@example.com", "bob@example.com"] {
        world.user(email, Some(PASSWORD)).await;
    }
    let login = async |address: &str, email: &str, password: &str| {
        world.post_from(address, "/auth/login", json!({ "email": email, "password": password })).await
    };
    // A login that is good is no attempt in vain.
    for _ in 0..8 {
        assert_eq!(login("203.0.113.1", "ada@example.com", PASSWORD).await.status, 200);
    }
    // But an account does not sign in without end.
    for _ in 8..30 {
        assert_eq!(login("203.0.113.5", "ada@example.com", PASSWORD).await.status, 200);
    }
    assert_eq!(login("203.0.113.5", "ada@example.com", PASSWORD).await.status, 429);
    // Known or not, an account is locked after so many, from wherever they come, in whichever letters.
    for email in ["ada@example.com", "nobody@example.com"] {
        for (turn, address) in ["203.0.113.1", "203.0.113.2", "203.0.113.3"].into_iter().enumerate() {
            let email = if turn == 1 { email.to_uppercase() } else { email.to_owned() };
            assert_eq!(login(address, &email, "wrong").await.status, 401, "{email}");
        }
        let locked = login("203.0.113.4", email, PASSWORD).await;
        assert_eq!((locked.status, &locked.json()["code"]), (429, &json!("too_many_attempts")), "{email}");
        let wait: u32 = locked.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((590..=600).contains(&wait), "{wait}");
    }
    assert_eq!(login("203.0.113.4", "bob@example.com", PASSWORD).await.status, 200, "others are not concerned");
    // What the client itself writes into x-forwarded-for does not count.
    for turn in 0..5 {
        let forged = format!("10.0.0.{turn}, 203.0.113.77");
        assert_eq!(login(&forged, &format!("user{turn}@example.com"), "wrong").await.status, 401);
    }
    assert_eq!(login("10.9.9.9, 203.0.113.77", "bob@example.com", PASSWORD).await.status, 429);
    assert_eq!(login("203.0.113.78", "bob@example.com", PASSWORD).await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_is_worked_off_a_few_at_a_time_and_the_rest_goes_on() {
    let world = Arc::new(World::with(|_, sign_in| sign_in.password_slots = 1).await);
    world.user("ada@example.com", Some(PASSWORD)).await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let world = Arc::clone(&world);
        logins.spawn(async move { world.try_login("ada@example.com", PASSWORD).await.status });
    }
    let began = Instant::now();
    assert_eq!(world.ask(Request::get("/.well-known/jwks.json")).await.status, 200);
    println!("another request beside 40 logins: {:?}", began.elapsed());
    for status in logins.join_all().await {
        assert!(matches!(status, 200 | 429), "{status}");
    }
}
