//! Every route with everything that is wrong: too small a role, another one's record, bodies that are malformed, of
//! another type, too large. Nothing is changed by any of it.

use serde_json::{Value, json};
use tollgate::{
    config::{PasswordCost, Secret},
    domain::UserFilter,
    http::api::ROUTES,
    service::{sign_in, users},
};
use tollgate_tests::http::Request;

use super::{World, good_body};

/// Everything that the store holds about users and keys, as text.
async fn everything(world: &World) -> String {
    let (users, _) = users::search(&world.app, &UserFilter::default(), None, 200).await.expect("users");
    let mut all = format!("{users:?}");
    for user in &users {
        all.push_str(&format!("{:?}", tollgate::service::keys::list(&world.app, &user.id).await.expect("keys")));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_alone_reach_the_routes_of_administrators() {
    let world = World::start().await;
    let before = everything(&world).await;
    let mut by_key = world.claims_of(&world.boss);
    by_key["method"] = json!("api_key");
    by_key["scopes"] = json!(["a:read"]);
    let mut impersonated = world.claims_of(&world.boss);
    impersonated["act"] = json!({"sub": "user_support"});
    let mut lying = world.adas_claims();
    lying["role"] = json!("admin");
    let attempts: [(&str, &Value, &str); 4] = [
        ("a user", &world.adas_claims(), "role_required"),
        ("a user whom the proxy calls an administrator", &lying, "role_required"),
        ("an administrator's key without the scope", &by_key, "scope_required"),
        ("somebody who acts as an administrator", &impersonated, "impersonated_session"),
    ];
    let mut asked = 0;
    for (method, path) in ROUTES.iter().filter(|(_, path)| path.starts_with("/api/admin")) {
        for (who, claims, code) in &attempts {
            let token = world.signer.sign(claims);
            let answer = world.ask(world.request(method.as_str(), path).header("x-auth-assertion", token)).await;
            let got = (answer.status, answer.json()["code"].clone());
            assert_eq!(got, (403, json!(code)), "{who}: {method} {path}");
            asked += 1;
        }
    }
    assert!(asked >= 4 * 8, "{asked}");
    assert_eq!(everything(&world).await, before, "nothing was changed");

    by_key["scopes"] = json!(["tollgate:admin"]);
    let token = world.signer.sign(&by_key);
    let answer = world.ask(Request::get("/api/admin/users").header("x-auth-assertion", token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_used_change_nothing_and_are_told_why() {
    let world = World::start().await;
    let before = everything(&world).await;
    let large = json!({"name": "x".repeat(20_000)}).to_string();
    let bodies: [(&str, &str, u16, &str); 8] = [
        ("nothing", "", 400, "invalid_request"),
        ("no JSON", "{\"name\":", 400, "invalid_request"),
        ("no object", "[1]", 400, "invalid_request"),
        ("a member that is not known", "{\"name\":\"a\",\"admin\":true}", 400, "invalid_request"),
        ("members of another type", "{\"name\":7,\"overlap_seconds\":\"x\"}", 400, "invalid_request"),
        ("no UTF-8", "{\"name\":\"\u{FFFD}\\ud800\"}", 400, "invalid_request"),
        ("nested deeply", &"[".repeat(9_000), 400, "invalid_request"),
        ("too large", &large, 413, "body_too_large"),
    ];
    let mut asked = 0;
    for (method, path) in ROUTES.iter().filter(|(method, path)| good_body(method.as_str(), path).is_some()) {
        let who = if path.starts_with("/api/admin") { &world.boss } else { &world.ada };
        let token = world.signer.sign(&world.claims_of(who));
        for (what, body, status, code) in &bodies {
            // Rules may be long: there it is the member that is refused.
            let (status, code) = match *what {
                "too large" if *path == "/api/admin/policy" => (&400, &"invalid_request"),
                _ => (status, code),
            };
            let request = world.request_with(method.as_str(), path, Some(body)).header("x-auth-assertion", &token);
            let answer = world.ask(request).await;
            let got = (answer.status, answer.json()["code"].clone());
            assert_eq!(got, (*status, json!(code)), "{what}: {method} {path}: {}", answer.text());
            assert!(*status != 400 || answer.json()["faults"].as_array().is_some_and(|faults| !faults.is_empty()));
            asked += 1;
        }
        let body = good_body(method.as_str(), path).expect("a body").to_string();
        let other_type = Request::new(method.as_str(), &path.replace("{id}", world.ada.id.as_str()));
        let other_type = other_type.body(body.as_bytes()).header("Content-Type", "text/plain");
        let answer = world.ask(other_type.header("x-auth-assertion", &token)).await;
        assert_eq!(answer.status, 415, "{method} {path}");
    }
    println!("{asked} bodies refused");
    assert_eq!(everything(&world).await, before, "nothing was changed");
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_is_not_there() {
    let world = World::start().await;
    let password = Secret::new("correct horse battery staple");
    let cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
    sign_in::set_password(&world.app, &world.bob.id, cost, &password).await.expect("a password");
    let login = json!({"email": "bob@example.com", "password": password.expose()});
    let login = Request::post("/auth/login", login.to_string()).header("Content-Type", "application/json");
    let tokens = world.ask(login).await;
    let bobs_session = tokens.json()["session_id"].as_str().expect("a session").to_owned();
    let before = everything(&world).await;
    // An older token: of Clerk's sessions nobody here knows whose they are but Clerk's user.
    let mut claims = world.adas_claims();
    claims["method"] = json!("legacy");
    let mut asked = 0;
    for (method, path) in ROUTES.iter().filter(|(_, path)| path.contains("{id}") && !path.starts_with("/api/admin")) {
        let of = if path.starts_with("/api/sessions") { &bobs_session } else { world.bobs_key.key.id.as_str() };
        for id in [of, "nobody's", "%ff", ".%2e"] {
            let body = good_body(method.as_str(), path).map(|body| body.to_string());
            let mut request = Request::new(method.as_str(), &path.replace("{id}", id));
            if let Some(body) = body {
                request = request.body(body).header("Content-Type", "application/json");
            }
            let answer = world.ask(request.header("x-auth-assertion", world.signer.sign(&claims))).await;
            assert_eq!(
                (answer.status, answer.json()["code"].clone()),
                (404, json!("not_found")),
                "{method} {path} {id}"
            );
            asked += 1;
        }
    }
    assert!(asked >= 12, "{asked}");
    assert_eq!(everything(&world).await, before, "nothing was changed");
    let refresh = json!({"refresh_token": tokens.json()["refresh_token"]});
    let refresh = Request::post("/auth/refresh", refresh.to_string()).header("Content-Type", "application/json");
    assert_eq!(world.ask(refresh).await.status, 200, "Bob's session goes on");
    world.running.shutdown().await;
}
