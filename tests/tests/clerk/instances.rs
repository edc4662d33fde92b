//! Several instances of Clerk: users, webhooks and secrets of each are its own.

use serde_json::json;
use tollgate_tests::svix::Delivery;

use super::{CLERK, FORMER_SECRET, Kind, PATH, SECRET, World, claims, event, identity, instance, now, secrets, user};

const EUROPE: &str = "https://clerk.eu.test";

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_own_users_and_its_own_webhooks() {
    let mut first = instance(CLERK);
    first.webhook_secrets = secrets(&[SECRET]);
    let mut europe = instance(EUROPE);
    europe.name = "eu".into();
    europe.webhook_secrets = secrets(&[FORMER_SECRET]);
    let world = World::with(Kind::Sqlite, vec![first, europe]).await;
    let issuers = world.sync().await.settings.expect("settings").issuers;
    let names: Vec<&str> = issuers.iter().filter_map(|issuer| issuer.issuer.as_deref()).collect();
    assert_eq!(names, [CLERK, EUROPE]);

    let send = async |id: &str, path: &str, secret: &str, email: &str| {
        let event = event("user.created", &user("user_1", email, 0));
        world.ask(Delivery::new(id, now(), event).signed(path, secret)).await.status
    };
    let path = "/webhooks/clerk/eu";
    assert_eq!(send("msg_1", path, SECRET, "eve@x.test").await, 400, "the secret of another instance");
    assert_eq!(send("msg_1", PATH, FORMER_SECRET, "eve@x.test").await, 400);
    assert_eq!(send("msg_1", "/webhooks/clerk/us", FORMER_SECRET, "eve@x.test").await, 404);
    assert!(world.everybody().await.is_empty());
    // The same id of a delivery and of a user mean something else in each.
    assert_eq!(send("msg_1", PATH, SECRET, "ada@x.test").await, 204);
    assert_eq!(send("msg_1", path, FORMER_SECRET, "bob@x.test").await, 204);
    let (ada, bob) = (world.linked(CLERK, "user_1").await, world.linked(EUROPE, "user_1").await);
    let (ada, bob) = (ada.expect("made"), bob.expect("made"));
    assert_ne!(ada.id, bob.id);
    let mut european = claims("user_1");
    european["issuer"] = json!(EUROPE);
    assert_eq!(identity(world.resolve(&claims("user_1")).await).user_id, ada.id.as_str());
    assert_eq!(identity(world.resolve(&european).await).user_id, bob.id.as_str());
    world.running.shutdown().await;
}
