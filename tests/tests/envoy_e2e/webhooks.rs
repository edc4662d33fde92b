//! What Clerk sends comes through Envoy, without a credential, and what it says holds on every worker within a second.

use serde_json::{Value, json};
use tollgate_protocol::Code;
use tollgate_tests::{
    http::Request,
    mongod::{self, Cluster},
    stack::{Options, Stack, WEBHOOK_SECRET},
    svix::Delivery,
};

use super::changes::{SECOND, everywhere};

const PATH: &str = "/webhooks/clerk";

async fn deliver(stack: &Stack, id: &str, kind: &str, data: Value) {
    let event = json!({"object": "event", "type": kind, "data": data, "instance_id": "ins_1"});
    let answer = stack.send(&Delivery::new(id, stack.now(), event).signed(PATH, WEBHOOK_SECRET)).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// The claim of a token.
fn claim(token: &str, name: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let payload = token.split('.').nth(1).expect("a payload");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON");
    claims[name].as_str().expect("a text").to_owned()
}

async fn sessions_and_users(options: Options, store: &str) {
    let stack = Stack::start(options).await;
    let phone = stack.clerk_jwt("ada@example.com");
    let laptop = stack.sign(&stack.clerk("ada@example.com").claim("sid", "sess_laptop"));
    let (by_phone, by_laptop) = (Request::get("/web/a").bearer(&phone), Request::get("/web/a").bearer(&laptop));
    let made = stack
        .send(
            &Request::post("/api/keys", r#"{"name":"extension"}"#)
                .header("Content-Type", "application/json")
                .bearer(&phone),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let by_key = Request::get("/extension/a").api_key(made.json()["key"].as_str().expect("a key"));
    for request in [&by_phone, &by_laptop, &by_key] {
        everywhere(&stack, "all is well", SECOND, request, Ok(())).await;
    }

    // As long as one may be.
    let session = json!({"object": "session", "id": claim(&phone, "sid"), "padding": "x".repeat(250 * 1024)});
    deliver(&stack, "msg_1", "session.revoked", session).await;
    let took = everywhere(&stack, "the session is refused", SECOND, &by_phone, Err(Code::TokenRevoked)).await;
    println!("{store}: session.revoked of Clerk reached every worker of Envoy in {took:?}");
    everywhere(&stack, "another session goes on", SECOND, &by_laptop, Ok(())).await;

    deliver(&stack, "msg_2", "user.deleted", json!({"object": "user", "id": claim(&phone, "sub"), "deleted": true}))
        .await;
    let took = everywhere(&stack, "the user is refused", SECOND, &by_laptop, Err(Code::UserInactive)).await;
    println!("{store}: user.deleted of Clerk reached every worker of Envoy in {took:?}");
    everywhere(&stack, "and so are their keys", SECOND, &by_key, Err(Code::UserInactive)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_and_a_deleted_user_are_refused_within_a_second() {
    sessions_and_users(Options::default(), "SQLite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_and_a_deleted_user_are_refused_within_a_second_on_mongodb() {
    let cluster = Cluster::shared().await;
    let store = Some(cluster.location(&mongod::fresh_name()));
    sessions_and_users(Options { store, ..Options::default() }, "MongoDB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_delivery_is_refused_behind_envoy_too() {
    let stack = Stack::start(Options::default()).await;
    let token = stack.clerk_jwt("ada@example.com");
    let request = Request::get("/web/a").bearer(&token);
    everywhere(&stack, "all is well", SECOND, &request, Ok(())).await;
    let event = json!({"type": "user.deleted", "data": {"id": claim(&token, "sub"), "deleted": true}});
    let delivery = Delivery::new("msg_1", stack.now(), event);
    for forged in [
        delivery.signed(PATH, "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3"),
        delivery.signed(PATH, WEBHOOK_SECRET).header("svix-id", "msg_2"),
        Request::post(PATH, delivery.body.clone()),
    ] {
        let answer = stack.send(&forged).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("webhook_refused")));
    }
    let unknown = delivery.signed("/webhooks/clerk/eu", WEBHOOK_SECRET);
    assert_eq!(stack.send(&unknown).await.status, 404);
    everywhere(&stack, "all is still well", SECOND, &request, Ok(())).await;
}
