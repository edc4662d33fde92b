//! New users whose tokens say no address: looked up at Clerk once, and made without where that does not work in time.

use std::time::Duration;

use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tollgate::{clerk::url::ApiUrl, config::Secret};
use tollgate_protocol::{Code, edge::Outcome};

use super::{
    CLERK, Kind, World, claims,
    fake_api::{FakeApi, Mood},
    identity, instance,
};

/// An Envoy waits so long for the answer that a new user needs.
const EDGE_PATIENCE: Duration = Duration::from_secs(2);

async fn world(api: &FakeApi) -> World {
    let mut clerk = instance(CLERK);
    clerk.secret_key = Some(Secret::new("sk_test_of-the-tests"));
    clerk.api_url = ApiUrl::parse(&api.url).expect("an address");
    World::with(Kind::Sqlite, vec![clerk]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_gets_what_clerk_says_and_clerk_is_asked_once() {
    let api = FakeApi::start().await;
    let world = world(&api).await;
    api.set(Mood::Slowly);
    let mut asks = JoinSet::new();
    let world = std::sync::Arc::new(world);
    for _ in 0..20 {
        let world = std::sync::Arc::clone(&world);
        asks.spawn(async move { identity(world.resolve(&claims("user_1")).await) });
    }
    for made in asks.join_all().await {
        assert_eq!((made.email.as_deref(), made.name.as_deref()), (Some("user_1@x.test"), Some("Ada")));
    }
    let asked = api.asked();
    assert_eq!(asked.len(), 1, "20 first requests, one look-up");
    assert!(asked[0].starts_with("get /v1/users/user_1 http/1.1"), "{}", asked[0]);
    assert!(asked[0].contains("authorization: bearer sk_test_of-the-tests"));
    let user = world.linked(CLERK, "user_1").await.expect("made");
    assert_eq!((user.email_verified, user.profile_image.as_deref()), (true, Some("https://img.test/a")));
    assert_eq!((user.first_name.as_deref(), world.everybody().await.len()), (Some("Ada"), 1));

    // Known, impersonated, or with an address of its own: nobody asks.
    identity(world.resolve(&claims("user_1")).await);
    let mut impersonated = claims("user_2");
    impersonated["impersonated"] = json!(true);
    assert_eq!(world.resolve(&impersonated).await, Outcome::Refused(Code::UserUnknown));
    let mut with_address = claims("user_3");
    with_address["email"] = json!("three@x.test");
    with_address["email_verified"] = json!(true);
    assert_eq!(identity(world.resolve(&with_address).await).email.as_deref(), Some("three@x.test"));
    let mut elsewhere = claims("user_4");
    elsewhere["issuer"] = json!("https://elsewhere.test");
    assert_eq!(identity(world.resolve(&elsewhere).await).email, None, "an instance without a key");
    let mut odd = claims("user_5/../../jwks");
    odd["issuer"] = json!(CLERK);
    assert_eq!(identity(world.resolve(&odd).await).email, None);
    assert_eq!(api.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clerk_does_the_user_is_made_while_an_edge_waits() {
    for mood in [
        Mood::Unknown,
        Mood::Refuses,
        Mood::Limits,
        Mood::Error,
        Mood::Redirect,
        Mood::Html,
        Mood::Huge,
        Mood::Silence,
        Mood::HangUp,
        Mood::Other,
        Mood::Unverified,
    ] {
        let api = FakeApi::start().await;
        let world = world(&api).await;
        api.set(mood);
        let began = Instant::now();
        let made = identity(world.resolve(&claims("user_1")).await);
        let took = began.elapsed();
        assert_eq!((made.email, made.is_active), (None, true), "{mood:?}");
        assert!(took < EDGE_PATIENCE, "{mood:?}: {took:?}");
        assert_eq!(api.asked().len(), 1, "{mood:?}");
        println!("{mood:?}: made without an address in {took:?}");
        world.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clerk_is_left_alone_for_as_long_as_it_asks() {
    let api = FakeApi::start().await;
    let world = world(&api).await;
    api.set(Mood::Limits);
    identity(world.resolve(&claims("user_1")).await);
    api.set(Mood::Good);
    let began = Instant::now();
    for number in 2..20 {
        assert_eq!(identity(world.resolve(&claims(&format!("user_{number}"))).await).email, None);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "the pause is of 7 s");
    assert_eq!(api.asked().len(), 1);
    assert!((world.counted("tollgate_clerk_lookups_total{outcome=\"paused\"}").await - 18.0).abs() < 0.5);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_clerk_lets_in_no_more_is_not_made() {
    let api = FakeApi::start().await;
    let world = world(&api).await;
    api.set(Mood::Banned);
    assert_eq!(world.resolve(&claims("user_1")).await, Outcome::Refused(Code::UserInactive));
    assert!(world.everybody().await.is_empty());
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_address_of_clerk_links_an_account_and_a_foreign_one_does_not() {
    use tollgate::service::users;

    let api = FakeApi::start().await;
    let world = world(&api).await;
    let app = world.app();
    let own = users::ensure(&app, "user_1@x.test", true, Some("Own")).await.expect("a user");
    users::ensure(&app, "user_2@x.test", false, None).await.expect("a user");
    assert_eq!(identity(world.resolve(&claims("user_1")).await).user_id, own.id.as_str());
    assert_eq!(world.resolve(&claims("user_2")).await, Outcome::Refused(Code::EmailConflict));
    world.running.shutdown().await;
}
