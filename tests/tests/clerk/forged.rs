//! Deliveries that Clerk has not sent, or not so, and those that look odd and are good.

use serde_json::json;
use tollgate::config::StoreLocation;
use tollgate_tests::{
    http::{Answer, Request},
    svix::Delivery,
};

use super::{FORMER_SECRET, Kind, PATH, SECRET, World, event, instance, now, user};

const OTHER_SECRET: &str = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3";

/// A delivery that would make a user.
fn delivery(id: &str) -> Delivery {
    Delivery::new(id, now(), event("user.created", &user("user_1", "ada@x.test", 0)))
}

fn bare(delivery: &Delivery, headers: &[(&str, &str)]) -> Request {
    let request = Request::post(PATH, delivery.body.clone());
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Every way in which a delivery can be wrong, and the outcome under which it is counted.
fn wrong() -> Vec<(&'static str, Request, &'static str)> {
    let good = delivery("msg_bad");
    let signature = good.signature(SECRET);
    let (id, time) = (good.id.as_str(), good.timestamp.as_str());
    let at = |seconds: i64| {
        let moved = now().saturating_add_signed(seconds);
        Delivery { timestamp: moved.to_string(), ..good.clone() }.signed(PATH, SECRET)
    };
    let unsigned = |changed: Delivery| changed.request(PATH, &signature);
    let three = [("svix-id", id), ("svix-timestamp", time), ("svix-signature", signature.as_str())];
    let without = |place: usize| {
        let others = three.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, header)| *header);
        bare(&good, &others.collect::<Vec<_>>())
    };
    let twice = |place: usize| bare(&good, &[three.as_slice(), &[three[place]]].concat());
    let headers = "bad_headers";
    let wrong_signature = "bad_signature";
    vec![
        ("no headers", bare(&good, &[]), headers),
        ("no id", without(0), headers),
        ("no time", without(1), headers),
        ("no signature", without(2), headers),
        ("two ids", twice(0), headers),
        ("two times", twice(1), headers),
        ("two headers of signatures", twice(2), headers),
        (
            "two families, each of them in part",
            bare(&good, &[three[0], ("webhook-timestamp", time), three[2]]),
            headers,
        ),
        ("a time that is no number", unsigned(Delivery { timestamp: "today".into(), ..good.clone() }), headers),
        ("a time with a sign", unsigned(Delivery { timestamp: format!("+{time}"), ..good.clone() }), headers),
        ("an id with a dot", Delivery { id: "msg.1".into(), ..good.clone() }.signed(PATH, SECRET), headers),
        ("too old", at(-302), "bad_time"),
        ("from the future", at(302), "bad_time"),
        (
            "an altered body",
            unsigned(Delivery { body: good.body.replace("ada@", "eve@"), ..good.clone() }),
            wrong_signature,
        ),
        ("another id", unsigned(Delivery { id: "msg_other".into(), ..good.clone() }), wrong_signature),
        ("another time", unsigned(Delivery { timestamp: (now() + 1).to_string(), ..good.clone() }), wrong_signature),
        ("another secret", good.signed(PATH, OTHER_SECRET), wrong_signature),
        ("no version", good.request(PATH, signature.trim_start_matches("v1,")), wrong_signature),
        ("version 2", good.request(PATH, &signature.replace("v1,", "v2,")), wrong_signature),
        ("version 1a", good.request(PATH, &signature.replace("v1,", "v1a,")), wrong_signature),
        ("an empty signature", good.request(PATH, "v1,"), wrong_signature),
        ("no base64", good.request(PATH, "v1,%%%"), wrong_signature),
        ("half a signature", good.request(PATH, &signature[..signature.len() / 2]), wrong_signature),
    ]
}

fn problem(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

async fn no_forged_delivery_changes_anything(kind: Kind) {
    let world = World::start(kind).await;
    let cases = wrong();
    for (what, request, outcome) in &cases {
        let sample = format!("tollgate_webhooks_total{{event=\"none\",outcome=\"{outcome}\"}}");
        let before = world.counted(&sample).await;
        let answer = world.ask(request.clone()).await;
        assert_eq!(problem(&answer), (400, "webhook_refused".into()), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert!((world.counted(&sample).await - before - 1.0).abs() < 0.5, "{what} is counted as {outcome}");
    }
    // Signed, and yet no event; and one that is longer than any.
    for (what, body) in [("no JSON", "{".to_owned()), ("no event", json!({"type": 1}).to_string())] {
        let answer = world.ask(Delivery::new("msg_odd", now(), body).signed(PATH, SECRET)).await;
        assert_eq!(problem(&answer), (400, "webhook_refused".into()), "{what}");
    }
    let long = Delivery::new("msg_long", now(), " ".repeat(256 * 1024 + 1)).signed(PATH, SECRET);
    assert_eq!(problem(&world.ask(long).await), (413, "body_too_large".into()));
    assert_eq!(world.ask(Request::get(PATH)).await.status, 405);
    assert!(world.everybody().await.is_empty(), "nobody was made");
    println!("{} forged deliveries refused over {kind:?}", cases.len());
    world.running.shutdown().await;
}

async fn odd_but_good_deliveries_are_taken(kind: Kind) {
    let world = World::start(kind).await;
    let good = delivery("msg_1");
    let (id, time, signature) = (good.id.as_str(), good.timestamp.as_str(), good.signature(SECRET));
    let wrong = good.signature(OTHER_SECRET);
    let early = Delivery { timestamp: (now() - 295).to_string(), ..good.clone() };
    let late = Delivery { timestamp: (now() + 295).to_string(), ..good.clone() };
    let standard = [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature.as_str())];
    let mut both = vec![("svix-id", id), ("svix-timestamp", time), ("svix-signature", signature.as_str())];
    both.push(("webhook-signature", "v1,AAAA"));
    let attempts = [
        ("as it should be", good.signed(PATH, SECRET)),
        ("once more", good.signed(PATH, SECRET)),
        ("with the other secret of the instance", good.signed(PATH, FORMER_SECRET)),
        ("the second of two signatures", good.request(PATH, &format!("{wrong} {signature}"))),
        ("beside other versions", good.request(PATH, &format!("v1a,AAAA v2,BBBB {signature} v3"))),
        ("with the names of Standard Webhooks", bare(&good, &standard)),
        ("with both names, where Svix's count", bare(&good, &both)),
        ("almost too old", early.signed(PATH, SECRET)),
        ("almost from the future", late.signed(PATH, SECRET)),
    ];
    for (what, request) in attempts {
        let answer = world.ask(request).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{what}: {}", answer.text());
        assert_eq!(world.everybody().await.len(), 1, "{what}");
    }
    let sample = |outcome: &str| format!("tollgate_webhooks_total{{event=\"user.created\",outcome=\"{outcome}\"}}");
    let counted = (world.counted(&sample("created")).await, world.counted(&sample("doubled")).await);
    assert_eq!(counted, (1.0, 8.0));
    for kind in ["organization.created", "session.created", "something.new"] {
        assert_eq!(world.deliver(kind.replace('.', "_").as_str(), &event(kind, &json!({}))).await, 204, "{kind}");
    }
    assert!((world.counted("tollgate_webhooks_total{event=\"other\",outcome=\"ignored\"}").await - 3.0).abs() < 0.5);
    world.running.shutdown().await;
}

macro_rules! over_both {
    ($($check:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() { super::$check(super::Kind::Sqlite).await; })+
        }
        mod mongo {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() { super::$check(super::Kind::Mongo).await; })+
        }
    };
}
pub(crate) use over_both;

over_both! { no_forged_delivery_changes_anything odd_but_good_deliveries_are_taken }

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_such_path() {
    let world = World::with(Kind::Sqlite, vec![instance(super::CLERK)]).await;
    let answer = world.ask(delivery("msg_1").signed(PATH, SECRET)).await;
    assert_eq!(problem(&answer), (404, "not_found".into()));
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_makes_clerk_try_again() {
    let world = World::start(Kind::Sqlite).await;
    let StoreLocation::Sqlite(file) = world.location.clone() else { panic!("a file") };
    let other = rusqlite::Connection::open(file).expect("the file");
    other.execute_batch("ALTER TABLE users RENAME TO away").expect("away");
    let answer = world.ask(delivery("msg_1").signed(PATH, SECRET)).await;
    assert_eq!(problem(&answer), (503, "store_unavailable".into()));
    assert!(answer.header("retry-after").is_some());
    other.execute_batch("ALTER TABLE away RENAME TO users").expect("back");
    // It does not count as taken: the effect and the mark are one transaction.
    assert_eq!(world.ask(delivery("msg_1").signed(PATH, SECRET)).await.status, 204);
    assert_eq!(world.everybody().await.len(), 1);
    world.running.shutdown().await;
}
