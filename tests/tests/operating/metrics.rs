//! The whole exposition: its form (Prometheus text format 0.0.4), what must be in it, and that its size does not hang on
//! what clients send.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Document, doc};
use serde_json::json;
use tollgate::{config::Config, serve};
use tollgate_tests::{
    http::{Request, send},
    mongod::{self, Cluster},
    redis::Redis,
    stack::user_with_password,
};

use super::{EDGE_SECRET, post};

/// Names and values.
type Labels = Vec<(String, String)>;

/// One metric: its type, and its samples by name and labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: BTreeMap<(String, Labels), f64>,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads `name{label="value",…} number`.
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}"))),
    };
    let mut pairs = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("no end of a value: {line}"));
        assert!(is_name(name) && !value.contains(['\\', '\n']), "{line}");
        pairs.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    (name.to_owned(), pairs, value)
}

fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(is_name(name) && help.ends_with('.') && name.starts_with("tollgate_"), "{line}");
            assert!(!families.contains_key(name), "twice: {line}");
            families.insert(name.to_owned(), Family::default());
            current = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(current.as_deref(), Some(name), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kind != "histogram" || name.ends_with("_seconds"), "{line}");
            families.get_mut(name).expect("its help").kind = kind.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let family = current.as_deref().unwrap_or_else(|| panic!("before any help: {line}"));
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("of another metric: {line}"));
            let known = families.get_mut(family).expect("its help");
            let fits = if known.kind == "histogram" {
                ["_bucket", "_sum", "_count"].contains(&suffix)
            } else {
                suffix.is_empty()
            };
            assert!(fits && value.is_finite() && (known.kind == "gauge" || value >= 0.0), "{line}");
            assert!(known.samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    families
}

/// Buckets grow, and the last one holds everything.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), value) in family.samples.iter().filter(|((sample, _), _)| sample.ends_with("_bucket")) {
        let (le, rest): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(label, _)| label == "le");
        let le = if le[0].1 == "+Inf" { f64::INFINITY } else { le[0].1.parse().expect(sample) };
        buckets.entry(rest).or_default().push((le, *value));
    }
    for (labels, mut steps) in buckets {
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(steps.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name} {labels:?}: {steps:?}");
        let count = family.samples[&(format!("{name}_count"), labels.clone())];
        let last = steps.last().expect("buckets");
        assert!(last.0.is_infinite() && (last.1 - count).abs() < 0.5, "{name} {labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exposition_is_well_formed_whole_and_bounded() {
    let redis = Redis::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = super::config(&folder);
    config.redis = Some(redis.patient());
    let running = serve::start(config.clone()).await.expect("it starts");
    let ada = user_with_password(&config, "ada@example.com", Some("correct horse")).await;
    let edge = async |request: Request| send(running.edge_addr, &request).await.expect("an answer");
    let metrics = async || {
        let answer = edge(Request::get("/metrics")).await;
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
        parse(&String::from_utf8(answer.body).expect("text"))
    };

    // Something of everything, and a change that an Envoy waits for.
    let cursor = edge(Request::get("/edge/v1/sync?node=n1").bearer(EDGE_SECRET)).await.json()["cursor"].clone();
    let cursor = cursor.as_str().expect("a cursor").to_owned();
    let addr = running.edge_addr;
    let waiting = tokio::spawn(async move {
        let path = format!("/edge/v1/sync?cursor={cursor}&node=n1");
        send(addr, &Request::get(&path).bearer(EDGE_SECRET)).await.expect("an answer")
    });
    let is_held = || async {
        let held = metrics().await["tollgate_sync_connections"].samples.values().sum::<f64>();
        (held > 0.5).then_some(())
    };
    tollgate_tests::wait::until("the poll is held", tollgate_tests::wait::PATIENCE, is_held).await;
    let app = tollgate::app::App::open(&config).await.expect("the store opens");
    let patch = tollgate::domain::UserPatch { name: Some(Some("Ada".into())), ..Default::default() };
    tollgate::service::users::update(&app, &ada.id, &patch, None).await.expect("changed");
    waiting.await.expect("told");
    let traffic = async |number: usize| {
        let subject = format!("subject-{number}");
        edge(post("/edge/v1/resolve", &json!({"credential": "legacy", "subject": subject})).bearer(EDGE_SECRET)).await;
        edge(Request::new(&format!("M{number}"), &format!("/none/{number}")).header("x-request-id", &subject)).await;
        let login = json!({"email": format!("{subject}@example.com"), "password": "wrong"});
        let request = post("/auth/login", &login).header("x-forwarded-for", format!("203.0.113.{}", number % 256));
        send(running.api_addr, &request).await.expect("an answer");
    };
    edge(post("/edge/v1/resolve", &json!({"credential": "legacy", "subject": ada.id.as_str()})).bearer(EDGE_SECRET))
        .await;
    traffic(0).await;

    let before = metrics().await;
    for name in [
        "tollgate_requests_total",
        "tollgate_request_seconds",
        "tollgate_resolves_total",
        "tollgate_sign_ins_total",
        "tollgate_store_seconds",
        "tollgate_sync_connections",
        "tollgate_sync_lag_seconds",
        "tollgate_feed_age_seconds",
        "tollgate_usage_pending",
        "tollgate_open_reservations",
        "tollgate_policy_current",
        "tollgate_redis_up",
        "tollgate_redis_calls_total",
        "tollgate_redis_seconds",
        "tollgate_shared_identities_total",
    ] {
        let family = before.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(!family.samples.is_empty() && !family.kind.is_empty(), "{name}");
    }
    let lag = &before["tollgate_sync_lag_seconds"].samples;
    let (count, sum) = (
        lag[&("tollgate_sync_lag_seconds_count".into(), vec![])],
        lag[&("tollgate_sync_lag_seconds_sum".into(), vec![])],
    );
    println!("a change was told after {:.0} ms", sum / count * 1000.0);
    assert!(count >= 1.0 && sum / count < 1.0, "{lag:?}");
    for (name, family) in before.iter().filter(|(_, family)| family.kind == "histogram") {
        check_histogram(name, family);
    }

    let tries: Vec<_> = (1..60).map(traffic).collect();
    futures_util::future::join_all(tries).await;
    let after = metrics().await;
    // The store's times are of the whole process, in which other tests run: they are looked at by themselves.
    let series = |families: &BTreeMap<String, Family>| -> BTreeSet<(String, Labels)> {
        let own = families.iter().filter(|(name, _)| *name != "tollgate_store_seconds");
        own.flat_map(|(_, family)| family.samples.keys().cloned()).collect()
    };
    let of_the_store = after["tollgate_store_seconds"].samples.len();
    assert!(of_the_store <= 2_000, "{of_the_store} series of the store");
    let new: Vec<_> = series(&after).difference(&series(&before)).cloned().collect();
    // What had no reason to be there yet: another outcome of the same few.
    let values: BTreeSet<&str> =
        new.iter().flat_map(|(_, labels)| labels.iter().map(|(_, value)| value.as_str())).collect();
    assert!(values.iter().all(|value| !value.contains(['@', '-']) || value.starts_with('/')), "{values:?}");
    assert!(new.len() <= 60, "{} more series after more of the same traffic: {new:?}", new.len());
    let text = format!("{:?}", series(&after));
    for value in ["subject-", "203.0.113", ada.id.as_str(), "example.com", "/none/"] {
        assert!(!text.contains(value), "a label holds {value}");
    }
    running.shutdown().await;
}

/// What another program changes in MongoDB: from its commit to its being told.
#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_measured_from_the_change_itself() {
    let (cluster, name) = (Cluster::shared().await, mongod::fresh_name());
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { store: cluster.location(&name), ..super::config(&folder) };
    let running = serve::start(config.clone()).await.expect("it starts");
    let ada = user_with_password(&config, "ada@example.com", None).await;
    let addr = running.edge_addr;
    let lag = async || {
        let text = String::from_utf8(send(addr, &Request::get("/metrics")).await.expect("an answer").body);
        let mut families = parse(&text.expect("text"));
        let samples = families.remove("tollgate_sync_lag_seconds").expect("it").samples;
        let of = |name: &str| samples[&(format!("tollgate_sync_lag_seconds_{name}"), vec![])];
        (of("count"), of("sum"))
    };
    let users = cluster.database(&name).await.collection::<Document>("users");
    let mut cursor = place_after(addr, None).await;
    let mut round = 0;
    // A change that comes before the poll is held is told without a wait, and is no lag: then there is one more.
    while lag().await.0 < 5.0 {
        round += 1;
        assert!(round < 100, "never measured");
        let waiting = tokio::spawn(place_after(addr, Some(cursor.clone())));
        let change = doc! { "$set": { "name": format!("Ada {round}") } };
        users.update_one(doc! { "_id": ada.id.as_str() }, change).await.expect("changed");
        cursor = waiting.await.expect("told");
    }
    let (count, sum) = lag().await;
    println!("changes of another program were told after {:.0} ms on average", sum / count * 1000.0);
    assert!(sum / count < 1.0, "{sum} s for {count}");
    running.shutdown().await;
}

/// Asks for what has happened since a place, and gives the place after it.
async fn place_after(edge: std::net::SocketAddr, cursor: Option<String>) -> String {
    let cursor = cursor.map(|cursor| format!("cursor={cursor}&")).unwrap_or_default();
    let path = format!("/edge/v1/sync?{cursor}node=n1");
    let answer = send(edge, &Request::get(&path).bearer(EDGE_SECRET)).await.expect("an answer").json();
    answer["cursor"].as_str().expect("a cursor").to_owned()
}
