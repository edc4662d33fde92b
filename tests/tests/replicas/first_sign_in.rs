//! First sign-ins of one person at two control planes at once.

use std::{collections::BTreeSet, net::SocketAddr};

use mongodb::bson::{Document, doc};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tollgate::{
    config::{Config, Secret},
    serve,
};
use tollgate_protocol::edge::{Outcome, ResolveAnswer};
use tollgate_tests::{
    http::{Request, send},
    mongod::{self, Cluster},
};

const SECRET: &str = "edge-secret-of-the-tests";

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_first_sign_ins_on_two_control_planes_make_one_user() {
    let (cluster, name) = (Cluster::shared().await, mongod::fresh_name());
    let mut config = Config::new(cluster.location(&name), Secret::new(SECRET));
    config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.edge_listen = config.api_listen;
    // Started at once, too: two openings of an empty database.
    let (one, other) = tokio::join!(serve::start(config.clone()), serve::start(config));
    let running = [one.expect("it starts"), other.expect("it starts")];

    let claims = json!({
        "credential": "clerk", "issuer": "https://clerk.test", "subject": "user_1", "email": "one@example.com",
        "email_verified": true,
    });
    let began = Instant::now();
    let mut asks = JoinSet::new();
    for n in 0..500 {
        let (edge, body) = (running[n % 2].edge_addr, claims.to_string());
        asks.spawn(async move {
            let request = Request::post("/edge/v1/resolve", body).header("Content-Type", "application/json");
            send(edge, &request.bearer(SECRET)).await.expect("an answer")
        });
    }
    let mut ids = BTreeSet::new();
    for answer in asks.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: ResolveAnswer = serde_json::from_slice(&answer.body).expect("an answer");
        match answer.outcome {
            Outcome::Identity(identity) => ids.insert(identity.user_id),
            Outcome::Refused(code) => panic!("refused: {code}"),
        };
    }
    println!("500 first sign-ins of one person on two control planes took {:?}", began.elapsed());
    assert_eq!(ids.len(), 1, "{ids:?}");
    let database = cluster.database(&name).await;
    for collection in ["users", "tollgate_audit"] {
        let count = database.collection::<Document>(collection).count_documents(doc! {}).await.expect("counted");
        assert_eq!(count, 1, "{collection}");
    }
    for running in running {
        running.shutdown().await;
    }
}
