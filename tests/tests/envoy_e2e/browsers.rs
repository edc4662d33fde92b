//! Browsers of other origins: preflights pass without a credential, and what is refused can be read by a page that may.

use tollgate_tests::{
    echo::Seen,
    http::Request,
    stack::{Options, Stack},
};

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/hello")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type")
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_pass_and_refusals_can_be_read() {
    const OURS: &str = "http://localhost:3000";
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();

    let answer = stack.send(&preflight(OURS)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
    assert_eq!(answer.header("access-control-allow-origin"), Some(OURS));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
    let headers = answer.header("access-control-allow-headers").unwrap();
    assert!(["authorization", "x-api-key", "content-type"].iter().all(|name| headers.contains(name)), "{headers}");

    let refused = stack.send(&Request::get("/api/hello").header("Origin", OURS)).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(OURS)));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(["www-authenticate", "retry-after", "x-request-id"].iter().all(|name| exposed.contains(name)), "{exposed}");
    let let_in = stack.send(&Request::get("/api/hello").header("Origin", OURS).api_key(&key)).await;
    assert_eq!(let_in.header("access-control-allow-origin"), Some(OURS));
    assert_eq!(Seen::of(&let_in).header("x-auth-user-id"), Some(user.id.as_str()));

    // Another origin, and what only looks like a preflight, are requests like any other.
    for request in [
        preflight("https://elsewhere.test"),
        preflight("http://localhost.elsewhere.test"),
        Request::new("OPTIONS", "/api/hello"),
        Request::new("OPTIONS", "/api/hello").header("Origin", OURS),
    ] {
        let answer = stack.send(&request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (401, &"missing_credential".into()), "{}", answer.text());
        let allowed = answer.header("access-control-allow-origin");
        assert!(allowed.is_none_or(|origin| origin == OURS), "{allowed:?}");
    }
}
