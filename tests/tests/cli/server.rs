//! A command changes the store; the feed of a server that runs on it tells edges within a moment.

use std::time::{Duration, Instant};

use tollgate::{
    config::{Config, Secret},
    serve,
};
use tollgate_protocol::edge::{Change, SyncAnswer};
use tollgate_tests::http::{Request, send};

use super::Shop;

const SECRET: &str = "edge-secret-of-the-tests";

pub(crate) async fn a_running_server_hears_of_a_command(shop: Shop) {
    let id = shop.user("ada@x.y").await;
    let mut config = Config::new(shop.location.clone(), Secret::new(SECRET));
    config.api_listen.set_port(0);
    config.edge_listen.set_port(0);
    let running = serve::start(config).await.expect("it starts");
    let edge = running.edge_addr;
    let sync = |cursor: Option<String>| async move {
        let path = cursor.map_or("/edge/v1/sync".to_owned(), |cursor| format!("/edge/v1/sync?cursor={cursor}"));
        let answer = send(edge, &Request::get(&path).bearer(SECRET)).await.expect("an answer");
        serde_json::from_slice::<SyncAnswer>(&answer.body).expect("a sync answer")
    };
    let cursor = sync(None).await.cursor.to_string();
    let held = tokio::spawn(sync(Some(cursor)));
    shop.run(&["users", "deactivate", "ada@x.y"]).await.ended(0);
    let ended = Instant::now();
    let told = tokio::time::timeout(Duration::from_secs(10), held).await.expect("told in time").expect("an answer");
    println!("a server heard of a command {:?} after it had ended", ended.elapsed());
    assert!(ended.elapsed() < Duration::from_secs(1));
    let users: Vec<String> = told
        .changes
        .into_iter()
        .filter_map(|change| match change {
            Change::User { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(users, [id]);
    running.shutdown().await;
}
