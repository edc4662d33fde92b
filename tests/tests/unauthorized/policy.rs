//! The rules for routes by the API: read, put for one state only, refused as a whole with every place, in force at all
//! control planes of a store within a second.

use std::{net::SocketAddr, time::Instant};

use serde_json::{Value, json};
use tollgate::{
    config::{Config, Secret, StoreLocation},
    serve,
};
use tollgate_protocol::edge::SyncAnswer;
use tollgate_tests::{
    http::{Answer, Request, send},
    wait::{PATIENCE, until},
};

use super::{SECRET, World};

const PATH: &str = "/api/admin/policy";

impl World {
    async fn read_policy(&self) -> Answer {
        let token = self.signer.sign(&self.claims_of(&self.boss));
        self.ask(Request::get(PATH).header("x-auth-assertion", token)).await
    }

    async fn put_policy(&self, text: &str, tag: Option<&str>) -> Answer {
        let token = self.signer.sign(&self.claims_of(&self.boss));
        let body = json!({ "policy": text }).to_string();
        let request = Request::new("PUT", PATH).body(body.as_bytes()).header("Content-Type", "application/json");
        let request = tag.into_iter().fold(request, |request, tag| request.header("If-Match", tag));
        self.ask(request.header("x-auth-assertion", token)).await
    }
}

/// The paths of the rules that an Envoy is told.
async fn told(edge: SocketAddr) -> Vec<String> {
    let answer = send(edge, &Request::get("/edge/v1/sync").bearer(SECRET)).await.expect("an answer");
    let answer: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
    answer.settings.expect("settings").policy.routes.into_iter().map(|route| route.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_put_for_one_state_and_hold_everywhere_within_a_second() {
    let world = World::start().await;
    let mut config = Config::new(world.store(), Secret::new(SECRET));
    config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.edge_listen = config.api_listen;
    let other = serve::start(config).await.expect("another one starts");

    let built_in = world.read_policy().await;
    let body = built_in.json();
    assert_eq!((built_in.status, built_in.header("etag"), &body["origin"]), (200, Some("\"0\""), &"built_in".into()));
    assert_eq!((&body["changed_at"], &body["changed_by"]), (&Value::Null, &Value::Null));
    let text = format!("{}\n[[routes]]\npath = \"/new\"\n", body["policy"].as_str().expect("a text"));

    let put = world.put_policy(&text, Some("\"0\"")).await;
    assert_eq!((put.status, put.header("etag")), (200, Some("\"1\"")), "{}", put.text());
    let began = Instant::now();
    assert!(told(world.running.edge_addr).await.contains(&"/new".to_owned()), "at once where it was put");
    until("the other one has it", PATIENCE, || async {
        told(other.edge_addr).await.contains(&"/new".to_owned()).then_some(())
    })
    .await;
    let took = began.elapsed();
    println!("a policy was in force at another control plane after {took:?}");
    assert!(took.as_millis() < 1_000, "{took:?}");

    let read = world.read_policy().await.json();
    assert_eq!((&read["policy"], &read["origin"], &read["revision"]), (&json!(text), &json!("store"), &json!("1")));
    assert_eq!(read["changed_by"], format!("user:{}", world.boss.id));
    for late in ["\"0\"", "\"2\"", "\"abc\""] {
        let answer = world.put_policy("", Some(late)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (412, &json!("changed_meanwhile")), "{late}");
    }
    let faulty = "default = \"open\"\n[[routes]]\npath = \"/a\"\n  roles = [\"root\"]\nlimit = 1\n";
    let refused = world.put_policy(faulty, Some("\"1\"")).await;
    let places: Vec<(Value, Value)> = refused.json()["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| (fault["line"].clone(), fault["column"].clone()))
        .collect();
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_request")));
    assert!(
        [(1, 1), (4, 3), (5, 1)].iter().all(|(line, column)| places.contains(&(json!(line), json!(column)))),
        "{places:?}"
    );
    assert_eq!(world.read_policy().await.json()["policy"], json!(text), "the last good one goes on");

    let token = world.signer.sign(&world.claims_of(&world.boss));
    let audit = world.ask(Request::get("/api/admin/audit?subject=policy").header("x-auth-assertion", token)).await;
    let entries = audit.json();
    assert_eq!(entries["items"].as_array().map(Vec::len), Some(1), "{entries}");
    assert_eq!(entries["items"][0]["actor"], format!("user:{}", world.boss.id));
    assert_eq!(entries["items"][0]["after"]["version"], 1);
    other.shutdown().await;
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_settings_name_a_file_the_file_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "[[routes]]\npath = \"/of-the-file\"\n").expect("written");
    let world = World::start_with(|config| config.policy_file = Some(file.clone())).await;
    let read = world.read_policy().await;
    assert_eq!(read.json()["origin"], "file");
    assert_eq!(read.json()["policy"], "[[routes]]\npath = \"/of-the-file\"\n");
    for tag in [None, read.header("etag")] {
        let put = world.put_policy("", tag).await;
        assert_eq!((put.status, &put.json()["code"]), (409, &json!("policy_is_a_file")));
    }
    std::fs::write(&file, "# longer\n[[routes]]\npath = \"/newer\"\n").expect("written");
    until("the file's new rules are shown", PATIENCE, || async {
        let read = world.read_policy().await.json();
        read["policy"].as_str().is_some_and(|text| text.contains("/newer")).then_some(())
    })
    .await;
    assert_eq!(told(world.running.edge_addr).await, ["/newer"]);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_holds_after_a_restart() {
    let world = World::start().await;
    assert_eq!(world.put_policy("[[routes]]\npath = \"/kept\"\n", None).await.status, 200);
    let store: StoreLocation = world.store();
    world.running.shutdown().await;
    let mut config = Config::new(store, Secret::new(SECRET));
    config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.edge_listen = config.api_listen;
    let again = serve::start(config).await.expect("it starts");
    assert_eq!(told(again.edge_addr).await, ["/kept"]);
    again.shutdown().await;
}
