//! The description of the API: it names exactly the routes there are, its page asks nobody for anything, and a program that
//! believes it (schemathesis) finds no answer that it does not name and none of 500 and above.

use std::{collections::BTreeSet, process::Stdio};

use serde_json::Value;
use tollgate::http::api::{OPEN_ROUTES, ROUTES};
use tollgate_tests::http::Request;

use super::{World, forward::Forwarder};

#[tokio::test(flavor = "multi_thread")]
async fn it_names_exactly_the_routes_there_are() {
    let world = World::start().await;
    let answer = world.ask(Request::get("/openapi.json")).await;
    let document = answer.json();
    assert_eq!((answer.status, &document["openapi"]), (200, &"3.1.0".into()));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut named = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            named.insert((method.to_ascii_uppercase(), path.clone()));
            let is_open = OPEN_ROUTES.iter().any(|(_, open)| open == path);
            assert_eq!(operation["security"].as_array().map(Vec::is_empty), Some(is_open), "{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 5), "{method} {path}");
            assert_eq!(operation["responses"]["401"].is_object(), !is_open || path.starts_with("/auth/"), "{path}");
        }
    }
    let routes = ROUTES.iter().chain(OPEN_ROUTES).map(|(method, path)| (method.to_string(), (*path).to_owned()));
    assert_eq!(named, routes.collect());
    let ids: BTreeSet<String> = references(&document);
    assert!(!ids.is_empty());
    for id in &ids {
        assert!(document.pointer(&id[1..]).is_some(), "{id} leads nowhere");
    }
    world.running.shutdown().await;
}

fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(id)) => BTreeSet::from([id.clone()]),
                _ => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_shows_every_route_and_asks_nobody_for_anything() {
    let world = World::start().await;
    let answer = world.ask(Request::get("/docs")).await;
    let page = String::from_utf8(answer.body.clone()).expect("UTF-8");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    for (method, path) in ROUTES.iter().chain(OPEN_ROUTES) {
        assert!(page.contains(&format!("<b>{method}</b> <code>{path}</code>")), "{method} {path}");
    }
    for asking in ["<script", "<link", "<img", "<iframe", "src=", "@import", "url(", "href=\"http"] {
        assert!(!page.contains(asking), "{asking}");
    }
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_believes_it_finds_nothing_wrong() {
    let packages = std::env::var_os("SCHEMATHESIS_PACKAGES").expect("SCHEMATHESIS_PACKAGES, which `make setup` writes");
    let world = std::sync::Arc::new(World::start().await);
    let forwarder = Forwarder::start(std::sync::Arc::clone(&world)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let output = tokio::process::Command::new("python3")
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/openapi.json", forwarder.addr))
        .args(["--checks", "all", "--exclude-checks", EXCLUDED, "--seed", "1", "--max-examples", "40"])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--no-color"])
        .args(["--suppress-health-check", "all", "--request-timeout", "20"])
        .current_dir(folder.path())
        .env("PYTHONPATH", packages)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let faults = String::from_utf8_lossy(&output.stderr);
    let asked = forwarder.asked();
    println!("schemathesis: {asked} requests");
    assert!(output.status.success(), "{text}\n{faults}");
    assert!(asked >= 1_000, "it has asked {asked} times only:\n{text}\n{faults}");
}

/// What the description cannot say: limits of texts (`positive_data_acceptance`); and that the forwarder in between signs
/// whatever comes (`ignored_auth`, which other tests look at).
const EXCLUDED: &str = "positive_data_acceptance,ignored_auth";
