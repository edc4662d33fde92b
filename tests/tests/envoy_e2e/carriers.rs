//! Each carrier of a credential reaches the backend as an identity in headers, without the credential; what a client
//! says about itself in reserved headers never does.

use tollgate::domain::User;
use tollgate_protocol::headers;
use tollgate_tests::{
    echo::Seen,
    http::Request,
    stack::{Options, Stack},
};

const EMAIL: &str = "ada@example.com";

/// Who is asking, on which path, with which request, and what the backend shall be told beside the usual.
struct Case {
    what: &'static str,
    request: Request,
    credential: String,
    method: &'static str,
    more: Vec<(&'static str, String)>,
}

fn cases(stack: &Stack, user: &User, key: &tollgate::service::keys::Issued) -> Vec<Case> {
    let (plain, clerk) = (key.plain.expose().to_owned(), stack.clerk_jwt(EMAIL));
    let legacy = stack.legacy_jwt(user.id.as_str());
    let session = stack.clerk(EMAIL).claims()["sid"].as_str().unwrap().to_owned();
    let key_facts = || {
        vec![
            (headers::KEY_ID, key.key.id.as_str().to_owned()),
            (headers::SCOPES, "reports:read templates:read".to_owned()),
        ]
    };
    let session_facts = || vec![(headers::SESSION_ID, session.clone())];
    let case = |what, request, credential: &str, method, more| Case {
        what,
        request,
        credential: credential.to_owned(),
        method,
        more,
    };
    vec![
        case("X-API-Key", Request::get("/api/a?b=c").api_key(&plain), &plain, "api_key", key_facts()),
        case("Bearer sk_", Request::get("/api/a?b=c").bearer(&plain), &plain, "api_key", key_facts()),
        case("Bearer Clerk JWT", Request::get("/api/a?b=c").bearer(&clerk), &clerk, "clerk", session_facts()),
        case("Bearer legacy JWT", Request::get("/api/a?b=c").bearer(&legacy), &legacy, "legacy", vec![]),
        case(
            "Clerk's cookie",
            Request::get("/web/a?b=c").header("Cookie", format!("theme=dark; __session={clerk}; x=y")),
            &clerk,
            "clerk",
            session_facts(),
        ),
        case(
            "X-API-Key beside a bad bearer token",
            Request::get("/api/a?b=c").bearer("junk").api_key(&plain),
            &plain,
            "api_key",
            key_facts(),
        ),
        case(
            "the scheme in capitals",
            Request::get("/api/a?b=c").header("AUTHORIZATION", format!("BEARER {clerk}")),
            &clerk,
            "clerk",
            session_facts(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_carrier_reaches_the_backend_as_an_identity() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.named_user(EMAIL, "Ada Lövelace, 50% \"Engine\"").await;
    let key = stack.api_key(&user, &["templates:read", "reports:read"]).await;
    // The first sign-in with Clerk links the account; from then on every kind of credential knows the Clerk id.
    stack.seen(&Request::get("/api/a").bearer(&stack.clerk_jwt(EMAIL))).await;
    let clerk_id = stack.clerk(EMAIL).claims()["sub"].as_str().unwrap().to_owned();

    for Case { what, request, credential, method, more } in cases(&stack, &user, &key) {
        let answer = stack.send(&request).await;
        let seen = Seen::of(&answer);
        let mut expected = vec![
            (headers::USER_ID, user.id.to_string()),
            (headers::METHOD, method.to_owned()),
            (headers::ROLE, "user".to_owned()),
            (headers::EMAIL, EMAIL.to_owned()),
            (headers::NAME, "Ada%20L%C3%B6velace,%2050%25%20\"Engine\"".to_owned()),
            (headers::CLERK_ID, clerk_id.clone()),
            (headers::SUBSCRIPTION, "free".to_owned()),
            (headers::TOKENS_REMAINING, "10000".to_owned()),
        ];
        expected.extend(more);
        expected.sort();
        let mut told: Vec<_> =
            seen.names("x-auth-").into_iter().map(|name| (name, seen.header(name).unwrap())).collect();
        told.sort_unstable();
        let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(told, expected, "{what}");
        assert!(!seen.has_anywhere(&credential), "{what}: the credential reached the backend");
        assert_eq!((seen.header("authorization"), seen.header("x-api-key")), (None, None), "{what}");
        assert!(seen.path.ends_with("/a?b=c"), "{what}: {}", seen.path);
        if what == "Clerk's cookie" {
            assert_eq!(seen.header("cookie"), Some("theme=dark; x=y"));
        }

        let entry = stack.envoy.access_entry(answer.header("x-request-id").unwrap()).await;
        assert_eq!(
            (&entry["details"], &entry["user_id"], &entry["method"], &entry["code"]),
            (&"via_upstream".into(), &user.id.as_str().into(), &method.into(), &serde_json::Value::Null),
            "{what}: {entry}"
        );
        assert!(entry["path"].as_str().is_some_and(|path| path.ends_with("/a")), "no query in the log: {entry}");
    }
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_headers_of_a_client_never_arrive() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user(EMAIL).await;
    let key = stack.api_key(&user, &[]).await;
    let spoofed = |mut request: Request| {
        for name in headers::IDENTITY.iter().chain(&["x-auth-", "x-auth-other", "x-auth-user-id.2"]) {
            let mixed: String =
                name.chars().enumerate().map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
            for spelling in [(*name).to_owned(), name.to_uppercase(), mixed] {
                request = request.header(spelling, "spoofed");
            }
        }
        request
    };
    for (path, allowed) in [("/api/a", true), ("/optional/a", true), ("/optional/a", false), ("/public/a", false)] {
        let request = spoofed(Request::get(path));
        let request = if allowed { request.api_key(key.plain.expose()) } else { request };
        let seen = stack.seen(&request).await;
        assert!(!seen.has_anywhere("spoofed"), "{path}");
        assert_eq!(seen.names("x-auth-").is_empty(), !allowed, "{path}: {:?}", seen.names("x-auth-"));
        if allowed {
            assert_eq!(seen.header(headers::USER_ID), Some(user.id.as_str()), "{path}");
        }
    }
    // Names that a backend could take for them are refused by Envoy.
    let answer = stack.send(&Request::get("/public/a").header("x_auth_user_id", "spoofed")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_asks_for_it_gets_the_credential_too() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user(EMAIL).await;
    let token = stack.legacy_jwt(user.id.as_str());
    let seen = stack.seen(&Request::get("/internal/forwarded/a").bearer(&token)).await;
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(seen.header(headers::USER_ID), Some(user.id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_came_while_the_request_waited_arrives_whole() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user(EMAIL).await;
    let body = vec![b'x'; 3 << 20];
    let request = Request::post("/api/upload", body).bearer(&stack.legacy_jwt(user.id.as_str()));
    let seen = stack.seen(&request).await;
    assert_eq!((seen.body_bytes, seen.header(headers::USER_ID)), (3 << 20, Some(user.id.as_str())));
}
