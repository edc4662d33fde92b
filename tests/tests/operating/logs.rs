//! The log: one JSON object a line, each with the request that it belongs to.

use serde_json::json;
use tollgate_tests::{
    http::Request,
    stack::user_with_password,
    wait::{PATIENCE, until},
};

use super::{Program, post};

#[tokio::test(flavor = "multi_thread")]
async fn lines_name_their_request_and_its_user() {
    let program = Program::start(|config| config.log_filter = "info,tollgate=debug".to_owned()).await;
    let ada = user_with_password(&program.config, "ada@example.com", Some("correct horse")).await;
    let assertion = program.assertion(&ada).await;
    let body = json!({"name": "ci", "scopes": []});
    let request = post("/api/keys?x=secret-query", &body).header("x-auth-assertion", &assertion);
    let answer = program.api(request.header("x-request-id", "request-one")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    program.api(Request::get("/api/me").header("x-request-id", "request-two")).await;
    let answer = program.resolve(json!({"credential": "legacy", "subject": ada.id.as_str()})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let of = |id: &'static str| {
        let lines = program.lines();
        lines.into_iter().filter(move |line| {
            let spans = line["spans"].as_array().into_iter().flatten();
            spans.into_iter().any(|span| span["name"] == "request" && span["request_id"] == id)
        })
    };
    let access = || async { (of("request-two").any(|line| line["message"] == "request")).then_some(()) };
    until("the line of the second request", PATIENCE, access).await;

    // What the handler said, and one line about the request.
    let lines: Vec<_> = of("request-one").collect();
    assert!(lines.iter().any(|line| line["message"] == "API key issued"), "{lines:?}");
    let access: Vec<_> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(access.len(), 1, "{lines:?}");
    let access = access[0];
    for (name, expected) in [
        ("level", json!("INFO")),
        ("listener", json!("api")),
        ("method", json!("POST")),
        ("route", json!("/api/keys")),
        ("status", json!(201)),
        ("request_id", json!("request-one")),
    ] {
        assert_eq!(access[name], expected, "{name}: {access}");
    }
    assert!(access["ms"].is_u64() && access["timestamp"].is_string(), "{access}");
    assert_eq!(access["spans"][0]["user.id"], json!(ada.id.as_str()), "{access}");

    let refused = of("request-two").find(|line| line["message"] == "request").expect("its line");
    assert_eq!((&refused["status"], &refused["code"]), (&json!(401), &json!("assertion_required")));
    assert!(refused["spans"][0]["user.id"].is_null(), "nobody: {refused}");

    let lines = program.lines();
    let edge: Vec<_> = lines.iter().filter(|line| line["route"] == "/edge/v1/resolve").collect();
    assert!(!edge.is_empty() && edge.iter().all(|line| line["level"] == "DEBUG"), "{edge:?}");
    assert!(lines.iter().all(|line| !line.to_string().contains("secret-query")), "a raw path");
}
