//! What another program changes in MongoDB, past Tollgate, is enforced in a running Envoy within a second. Each test
//! measures it and prints it.

use mongodb::bson::{DateTime, Document, doc};
use tollgate_protocol::Code;
use tollgate_tests::{
    http::Request,
    mongod::{self, Cluster},
    stack::{Options, Stack},
};

use super::changes::{SECOND, everywhere};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plain_mongodb_client_changes_is_enforced_within_a_second() {
    let cluster = Cluster::set(1).await;
    let name = mongod::fresh_name();
    let stack = Stack::start(Options { store: Some(cluster.location(&name)), ..Options::default() }).await;
    let other_program = cluster.database(&name).await;
    let users = other_program.collection::<Document>("users");
    let api_keys = other_program.collection::<Document>("api_keys");

    // Somebody whom the other program has made, with as little as it knows.
    let made = users.insert_one(doc! { "email": "ada@example.com", "hobby": "looms" }).await.expect("inserted");
    let id = made.inserted_id.as_object_id().expect("an ObjectId");
    let by_token = |path: &str| Request::get(path).bearer(&stack.legacy_jwt(&id.to_hex()));
    let (anyone, admins) = (by_token("/api/a"), by_token("/admin/a"));
    everywhere(&stack, "the user is good", SECOND, &anyone, Ok(())).await;
    everywhere(&stack, "the user is no admin", SECOND, &admins, Err(Code::RoleRequired)).await;

    for (change, what, request, expect) in [
        (doc! { "role": "admin" }, "role = admin", &admins, Ok(())),
        (doc! { "role": "user" }, "role = user", &admins, Err(Code::RoleRequired)),
        (doc! { "is_active": false }, "is_active = false", &anyone, Err(Code::UserInactive)),
        (doc! { "is_active": true }, "is_active = true", &anyone, Ok(())),
    ] {
        users.update_one(doc! { "_id": id }, doc! { "$set": change }).await.expect("updated");
        let took = everywhere(&stack, what, SECOND, request, expect).await;
        println!("{what}, set by a plain MongoDB client, was in force on every worker of Envoy after {took:?}");
    }

    let ada = tollgate::service::users::get_by_email(stack.app(), "ada@example.com").await.expect("found");
    let keys = [stack.api_key(&ada, &[]).await, stack.api_key(&ada, &[]).await];
    let requests = keys.each_ref().map(|key| Request::get("/api/a").api_key(key.plain.expose()));
    for request in &requests {
        everywhere(&stack, "the key is good", SECOND, request, Ok(())).await;
    }
    let (first, second) = (keys[0].key.id.as_str(), keys[1].key.id.as_str());
    let revoked = doc! { "$set": { "revoked_at": DateTime::from_millis(1_700_000_000_000) } };
    api_keys.update_one(doc! { "_id": first }, revoked).await.expect("updated");
    let took = everywhere(&stack, "revoked", SECOND, &requests[0], Err(Code::ApiKeyRevoked)).await;
    println!("a key that a plain client marked as revoked was refused everywhere after {took:?}");
    api_keys.delete_one(doc! { "_id": second }).await.expect("deleted");
    let refused = || async {
        let answer = stack.send(&requests[1]).await;
        (answer.status == 401).then_some(())
    };
    let (_, took) = tollgate_tests::wait::until("the deleted key is refused", SECOND, refused).await;
    println!("a key that a plain client deleted was refused after {took:?}");

    users.delete_one(doc! { "_id": id }).await.expect("deleted");
    let took = everywhere(&stack, "gone", SECOND, &anyone, Err(Code::UserUnknown)).await;
    println!("a user whom a plain client deleted was unknown everywhere after {took:?}");
}
