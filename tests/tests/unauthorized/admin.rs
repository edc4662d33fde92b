//! What administrators can do, and what every change leaves behind; what users change about themselves.

use serde_json::{Value, json};
use tollgate_tests::http::{Answer, Request};

use super::World;

impl World {
    async fn boss(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        self.call_as(&self.claims_of(&self.boss), method, path, body, headers).await
    }

    async fn call_as(
        &self,
        claims: &Value,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::new(method, path);
        if let Some(body) = body {
            request = request.body(body.to_string().as_bytes()).header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.ask(request.header("x-auth-assertion", self.signer.sign(claims))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_for_one_state_and_leaves_an_entry() {
    let world = World::start().await;
    let path = format!("/api/admin/users/{}", world.bob.id);
    let read = world.boss("GET", &path, None, &[]).await;
    let tag = read.header("etag").expect("an ETag").to_owned();
    assert_eq!(tag, format!("\"{}\"", read.json()["revision"].as_str().expect("a revision")));
    let change = json!({"role": "developer", "is_active": false, "subscription": "pro", "monthly_limit": 5000});
    let headers = [("If-Match", tag.as_str()), ("x-request-id", "req-1")];
    let changed = world.boss("PATCH", &path, Some(change.clone()), &headers).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for (member, value) in change.as_object().expect("members") {
        assert_eq!(&changed.json()[member], value, "{member}");
    }
    let late = world.boss("PATCH", &path, Some(json!({"role": "user"})), &headers).await;
    assert_eq!((late.status, &late.json()["code"]), (412, &json!("changed_meanwhile")));
    for bad in ["x", "\"a\", \"b\"", "W/\"a\"", ""] {
        let answer = world.boss("PATCH", &path, Some(json!({"role": "user"})), &[("If-Match", bad)]).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    let missing = world.boss("PATCH", "/api/admin/users/nobody", Some(json!({"role": "user"})), &[]).await;
    assert_eq!(missing.status, 404);

    let entries = world.boss("GET", &format!("/api/admin/audit?subject={}", world.bob.id), None, &[]).await.json();
    let last = &entries["items"][0];
    assert_eq!((&last["action"], &last["request_id"]), (&json!("user.changed"), &json!("req-1")));
    assert_eq!(last["actor"], format!("user:{}", world.boss.id));
    assert_eq!((&last["before"]["role"], &last["after"]["role"]), (&json!("user"), &json!("developer")));
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_cannot_be_removed() {
    let world = World::start().await;
    let path = format!("/api/admin/users/{}", world.boss.id);
    for change in [json!({"role": "user"}), json!({"is_active": false})] {
        let answer = world.boss("PATCH", &path, Some(change), &[]).await;
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("last_admin")));
    }
    let second = format!("/api/admin/users/{}", world.bob.id);
    assert_eq!(world.boss("PATCH", &second, Some(json!({"role": "admin"})), &[]).await.status, 200);
    assert_eq!(world.boss("PATCH", &path, Some(json!({"role": "user"})), &[]).await.status, 200);
    assert_eq!(world.boss("GET", &path, None, &[]).await.status, 403, "no administrator any more");
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_searched_in_pages() {
    let world = World::start().await;
    let ids = |answer: &Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().cloned().expect("items");
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut next = Some(String::new());
    while let Some(cursor) = next {
        let page = world.boss("GET", &format!("/api/admin/users?limit=1{cursor}"), None, &[]).await;
        seen.extend(ids(&page));
        next = page.json()["next"].as_str().map(|cursor| format!("&cursor={cursor}"));
    }
    seen.sort();
    let mut all: Vec<String> =
        [&world.ada, &world.bob, &world.boss].iter().map(|user| user.id.as_str().to_owned()).collect();
    all.sort();
    assert_eq!(seen, all);
    for (query, expected) in [
        ("q=ADA%40example.com", vec![world.ada.id.as_str()]),
        ("role=admin", vec![world.boss.id.as_str()]),
        ("active=false", vec![]),
        ("subscription=pro", vec![]),
    ] {
        assert_eq!(ids(&world.boss("GET", &format!("/api/admin/users?{query}"), None, &[]).await), expected, "{query}");
    }
    let keys = world.boss("GET", &format!("/api/admin/keys?user_id={}", world.ada.id), None, &[]).await;
    assert_eq!(ids(&keys), [world.adas_key.key.id.as_str()]);
    assert!(!keys.text().contains(world.adas_key.plain.expose()));
    for bad in
        ["limit=0", "limit=201", "limit=x", "cursor=x", "role=root", "active=1", "q=", "page=2", "q=a&q=b", "q=%00"]
    {
        let answer = world.boss("GET", &format!("/api/admin/users?{bad}"), None, &[]).await;
        assert_eq!((answer.status, answer.json()["faults"].as_array().map(Vec::len)), (400, Some(1)), "{bad}");
    }
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_anybody_are_issued_and_revoked_and_rotated_by_their_owners() {
    let world = World::start().await;
    let body = json!({"name": "ci", "scopes": ["b"], "rate": "60/min burst 5"});
    let made = world.boss("POST", &format!("/api/admin/users/{}/keys", world.ada.id), Some(body), &[]).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (id, plain) = (made.json()["id"].clone(), made.json()["key"].clone());
    let id = id.as_str().expect("an id");
    let shown = world.boss("GET", &format!("/api/admin/keys/{id}"), None, &[]).await.json();
    assert_eq!((&shown["user_id"], &shown["rate"]), (&json!(world.ada.id.as_str()), &json!("60/min burst 5")));

    let rotate = format!("/api/keys/{id}/rotate");
    let foreign = world.call_as(&world.claims_of(&world.bob), "POST", &rotate, Some(json!({})), &[]).await;
    assert_eq!(foreign.status, 404);
    let long =
        world.call_as(&world.adas_claims(), "POST", &rotate, Some(json!({"overlap_seconds": 9_999_999})), &[]).await;
    assert_eq!(long.json()["faults"][0]["field"], "overlap_seconds");
    let rotated = world.call_as(&world.adas_claims(), "POST", &rotate, Some(json!({"overlap_seconds": 60})), &[]).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let new = rotated.json();
    assert!(new["key"] != plain && new["name"] == "ci" && new["scopes"] == json!(["b"]), "{new}");
    assert!(new["expires_at"].is_null());
    let former = world.boss("GET", &format!("/api/admin/keys/{id}"), None, &[]).await.json();
    assert!(former["expires_at"].is_string() && former["revoked_at"].is_null(), "{former}");

    let new = new["id"].as_str().expect("an id");
    assert_eq!(world.boss("DELETE", &format!("/api/admin/keys/{new}"), None, &[]).await.status, 204);
    let gone =
        world.call_as(&world.adas_claims(), "POST", &format!("/api/keys/{new}/rotate"), Some(json!({})), &[]).await;
    assert_eq!((gone.status, &gone.json()["code"]), (409, &json!("conflict")));
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_change_their_own_profile_and_nothing_else() {
    let world = World::start().await;
    let claims = world.adas_claims();
    let change = json!({
        "name": "Ada L.", "bio": "one\ntwo", "website": "https://ada.example", "profile_image": null,
        "social_links": {"github": "https://github.example/ada"},
    });
    let tag = world.call_as(&claims, "GET", "/api/me", None, &[]).await.header("etag").expect("an ETag").to_owned();
    let changed = world.call_as(&claims, "PATCH", "/api/me", Some(change), &[("If-Match", &tag)]).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["social_links"], json!({"github": "https://github.example/ada"}));
    assert_eq!((&changed.json()["name"], &changed.json()["bio"]), (&json!("Ada L."), &json!("one\ntwo")));
    let late = world.call_as(&claims, "PATCH", "/api/me", Some(json!({"name": "x"})), &[("If-Match", &tag)]).await;
    assert_eq!(late.status, 412);
    for (member, value) in [
        ("role", json!("admin")),
        ("tokens_remaining", json!(1)),
        ("email", json!("x@y.z")),
        ("subscription", json!("pro")),
    ] {
        let answer = world.call_as(&claims, "PATCH", "/api/me", Some(json!({member: value})), &[]).await;
        assert_eq!((answer.status, &answer.json()["faults"][0]["field"]), (400, &json!(member)));
    }
    let bad = json!({"name": "", "website": "javascript:alert(1)", "social_links": {"X Y": "https://x"}, "bio": 7});
    let answer = world.call_as(&claims, "PATCH", "/api/me", Some(bad), &[]).await;
    assert_eq!(answer.json()["faults"][0]["field"], "bio", "{}", answer.text());
    let bad = json!({"name": "", "website": "javascript:alert(1)", "social_links": {"X Y": "https://x"}});
    let answer = world.call_as(&claims, "PATCH", "/api/me", Some(bad), &[]).await;
    assert_eq!(answer.json()["faults"].as_array().map(Vec::len), Some(3), "{}", answer.text());
    let mut impersonated = claims.clone();
    impersonated["act"] = json!({"sub": "user_support"});
    let answer = world.call_as(&impersonated, "PATCH", "/api/me", Some(json!({"name": "x"})), &[]).await;
    assert_eq!(answer.status, 403);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_given_once_and_corrected_and_both_is_noted() {
    let world = World::start().await;
    let path = |what: &str| format!("/api/admin/users/{}/{what}", world.bob.id);
    let once = [("Idempotency-Key", "ticket-17"), ("x-request-id", "req-7")];
    let first = world.boss("POST", &path("grant"), Some(json!({"amount": 500, "note": "ticket 17"})), &once).await;
    assert_eq!((first.status, &first.json()["remaining"]), (200, &json!(10_500)), "{}", first.text());
    let again = world.boss("POST", &path("grant"), Some(json!({"amount": 500, "note": "ticket 17"})), &once).await;
    assert_eq!((again.status, again.json()), (200, first.json()), "the same key is the same grant");
    let other = world.boss("POST", &path("grant"), Some(json!({"amount": 501})), &once).await;
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("conflict")));
    let down = world.boss("POST", &path("adjust"), Some(json!({"amount": -10_400})), &[("Idempotency-Key", "a")]).await;
    assert_eq!((down.status, &down.json()["remaining"]), (200, &json!(100)), "{}", down.text());
    let below = world.boss("POST", &path("adjust"), Some(json!({"amount": -101})), &[("Idempotency-Key", "b")]).await;
    assert_eq!((below.status, &below.json()["code"]), (402, &json!("tokens_exhausted")));
    for (amount, headers) in [
        (json!(0), &[("Idempotency-Key", "c")][..]),
        (json!(-5), &[("Idempotency-Key", "c")]),
        (json!(1.5), &[("Idempotency-Key", "c")]),
        (json!("5"), &[("Idempotency-Key", "c")]),
        (json!(5), &[]),
        (json!(5), &[("Idempotency-Key", "")]),
    ] {
        let answer = world.boss("POST", &path("grant"), Some(json!({"amount": amount})), headers).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!("invalid_request")), "{amount}");
    }
    let unknown = world.boss("POST", "/api/admin/users/nobody/grant", Some(json!({"amount": 5})), &once[..1]).await;
    assert_eq!(unknown.status, 409, "the key stands for another grant");
    let fresh = [("Idempotency-Key", "fresh")];
    let unknown = world.boss("POST", "/api/admin/users/nobody/grant", Some(json!({"amount": 5})), &fresh).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    let history = world.boss("GET", &path("tokens/history?limit=200"), None, &[]).await;
    let history = history.json();
    let given = history["entries"].as_array().expect("entries").iter().find(|entry| entry["note"] == "ticket 17");
    assert_eq!(given.expect("the grant")["amount"], 500);
    let log = world.boss("GET", &format!("/api/admin/audit?subject={}", world.bob.id), None, &[]).await.json();
    let noted = log["items"].as_array().expect("items").iter().find(|item| item["request_id"] == "req-7");
    let noted = noted.unwrap_or_else(|| panic!("an entry: {log}"));
    assert_eq!(noted["actor"], format!("user:{}", world.boss.id), "{noted}");
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_sessions_and_keys_are_revoked_by_name() {
    let world = World::start().await;
    let order = async |body: Value| world.boss("POST", "/api/admin/revocations", Some(body), &[]).await;
    for what in ["token", "session", "key"] {
        let made = order(json!({"what": what, "id": format!("{what}_1"), "issuer": "https://issuer.test"})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let body = made.json();
        assert!(body["what"] == what && body["until"].is_string(), "{body}");
    }
    let noted = async || {
        let log = world.boss("GET", "/api/admin/audit?limit=200", None, &[]).await.json();
        let actions = log["items"].as_array().cloned().unwrap_or_default().into_iter();
        let actions = actions.filter_map(|entry| entry["action"].as_str().map(str::to_owned));
        actions.filter(|action| action.ends_with(".revoked")).collect::<Vec<_>>()
    };
    assert_eq!(noted().await, ["signing_key.revoked", "session.revoked", "token.revoked"]);
    for (bad, field) in [
        (json!({"id": "x"}), "what"),
        (json!({"what": "user", "id": "x"}), "what"),
        (json!({"what": "token"}), "id"),
        (json!({"what": "token", "id": ""}), "id"),
        (json!({"what": "token", "id": "a\u{7}"}), "id"),
        (json!({"what": "token", "id": "x".repeat(256)}), "id"),
        (json!({"what": "token", "id": "x", "issuer": ""}), "issuer"),
        (json!({"what": "token", "id": "x", "until": "2020-01-01T00:00:00Z"}), "until"),
        (json!({"what": "token", "id": "x", "until": "2999-01-01T00:00:00Z"}), "until"),
    ] {
        let answer = order(bad.clone()).await;
        let body = answer.json();
        let faults: Vec<_> =
            body["faults"].as_array().into_iter().flatten().map(|fault| fault["field"].clone()).collect();
        assert_eq!((answer.status, faults), (400, vec![json!(field)]), "{bad}");
    }
    assert_eq!(noted().await.len(), 3, "nothing else was revoked");

    let log_out = format!("/api/admin/users/{}/logout", world.ada.id);
    assert_eq!(world.boss("POST", &log_out, None, &[]).await.status, 204);
    let ada = world.boss("GET", &format!("/api/admin/users/{}", world.ada.id), None, &[]).await.json();
    assert!(ada["last_logout_at"].is_string(), "{ada}");
    assert_eq!(world.boss("POST", "/api/admin/users/nobody/logout", None, &[]).await.status, 404);
    world.running.shutdown().await;
}
