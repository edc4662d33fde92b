//! Every refusal that can be had: its status, body and headers as the client sees them, its word in Envoy's access
//! log, and its count.

use std::collections::BTreeSet;

use tollgate::{
    dev::mint::{ClerkToken, random_base62, tamper},
    domain::{Role, UserPatch},
    service::{keys, sign_in, users},
};
use tollgate_protocol::{
    Code, api_key,
    code::Challenge,
    problem::Problem,
    refusals::{REFUSALS_PATH, Refused},
};
use tollgate_tests::{
    control_plane::tool,
    envoy::Envoy,
    http::{self, Answer, Request},
    stack::{ISSUER, Options, Stack, new_key},
    wait::{PATIENCE, until},
};

/// What needs a stack of its own: below, and in the tests of limits and of credits.
const ELSEWHERE: [Code; 5] =
    [Code::TokenWrongAudience, Code::TokensExhausted, Code::RateLimited, Code::NotReady, Code::IdentityUnavailable];

/// Checks one refusal from every side. Gives the id of its request.
pub(crate) async fn check(envoy: &Envoy, what: &str, answer: &Answer, code: Code) -> String {
    let what = format!("{what}: {}", answer.text());
    assert_eq!(answer.status, code.status(), "{what}");
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let request_id = answer.header("x-request-id").unwrap_or_else(|| panic!("{what}: no request id"));
    assert_eq!(problem, Problem::new(code, request_id), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    let challenge = code.challenge().map(|challenge| match challenge {
        Challenge::Bare => "Bearer realm=\"tollgate\"".to_owned(),
        other => format!("Bearer realm=\"tollgate\", error=\"{}\"", other.error().unwrap()),
    });
    assert_eq!(answer.header("www-authenticate"), challenge.as_deref(), "{what}");
    assert_eq!(answer.header("retry-after").is_some(), matches!(code.status(), 429 | 503), "{what}");

    let entry = envoy.access_entry(request_id).await;
    for field in ["details", "code"] {
        assert_eq!(entry[field], code.as_str(), "{what}: {entry}");
    }
    assert_eq!(entry["user_id"], serde_json::Value::Null, "{what}: {entry}");
    request_id.to_owned()
}

/// What the control plane was told of a refusal: the same code, and no secret.
pub(crate) async fn told(stack: &Stack, request_id: &str, code: Code) -> Refused {
    let request = Request::get(&format!("{REFUSALS_PATH}/{request_id}")).bearer(stack.config.edge_secret.expose());
    let known = || async {
        let answer = http::send(stack.config.edge_listen, &request).await.ok()?;
        (answer.status == 200).then_some(answer)
    };
    let (answer, _) = until(&format!("{code} is told"), PATIENCE, known).await;
    assert!(!answer.text().contains("sk_") && !answer.text().contains("eyJ"), "{}", answer.text());
    let refused: Refused = serde_json::from_slice(&answer.body).expect("a refusal");
    assert_eq!((&*refused.request_id, refused.code, refused.watched), (request_id, code, false), "{refused:?}");
    refused
}

/// One way or more to each code.
async fn ways(stack: &Stack) -> Vec<(Code, Request)> {
    use Code::*;
    let user = stack.user("ada@example.com").await;
    let get = |path: &str| Request::get(path);
    let api = || Request::get("/api/a");
    let clerk = || stack.clerk("grace@example.com");
    let bearer = |token: &ClerkToken| api().bearer(&stack.sign(token));
    let good_key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let mut ways = vec![
        (AmbiguousCredential, api().api_key(&good_key).api_key(&good_key)),
        (AmbiguousCredential, api().bearer("a").bearer("b")),
        (AmbiguousPath, get("/api/a;b").api_key(&good_key)),
        (AmbiguousPath, get("/api/a%25b").api_key(&good_key)),
        (MissingCredential, api()),
        (MissingCredential, api().header("Cookie", format!("__session={}", stack.clerk_jwt("grace@example.com")))),
        (MalformedCredential, api().header("Authorization", "Basic dXNlcjpwYXNz")),
        (MalformedCredential, api().header("Authorization", "Bearer")),
        (ApiKeyMalformed, api().api_key("")),
        (ApiKeyMalformed, api().api_key("sk_short")),
        (ApiKeyMalformed, api().bearer(&changed(&good_key))),
        (ApiKeyMalformed, api().api_key("junk").bearer(&stack.clerk_jwt("grace@example.com"))),
        (ApiKeyUnknown, api().api_key(&unknown_key())),
        (RouteDenied, get("/nowhere").api_key(&good_key)),
        (RoleRequired, get("/admin/a").api_key(&good_key)),
        // Envoy decodes what needs no encoding before the filter looks; overlong forms it passes on as they are.
        (RoleRequired, get("/%61dmin/x").api_key(&good_key)),
        (AmbiguousPath, get("/api/%c0%ae%c0%ae/admin").api_key(&good_key)),
        (SubscriptionRequired, get("/pro/a").api_key(&good_key)),
        (ScopeRequired, get("/reports/a").api_key(&good_key)),
        (NotOwner, get(&format!("/api/users/{}x/profile", user.id)).api_key(&good_key)),
        (NotOwner, get(&format!("/api/users/x/{}", user.id)).api_key(&good_key)),
        (ScopeRequired, get("/reports/a").api_key(stack.api_key(&user, &["reports:write"]).await.plain.expose())),
        (MethodNotAccepted, get("/web/a").api_key(&good_key)),
        (MethodNotAccepted, get("/extension/a").bearer(&stack.clerk_jwt("grace@example.com"))),
    ];

    let expired = keys::issue_expired(stack.app(), &user.id, "old").await.unwrap();
    ways.push((ApiKeyExpired, api().api_key(expired.plain.expose())));
    let revoked = stack.api_key(&user, &[]).await;
    keys::revoke(stack.app(), &user.id, &revoked.key.id).await.unwrap();
    ways.push((ApiKeyRevoked, api().api_key(revoked.plain.expose())));

    let (ours, other) = (stack.issuer.key().unwrap(), new_key());
    let confused = stack.sign_legacy(&stack.legacy("u").claim("iss", ISSUER).header("kid", ours.kid()));
    ways.extend([
        (TokenMalformed, api().bearer("a.b.c")),
        (TokenMalformed, api().bearer("junk")),
        (TokenMalformed, bearer(&clerk().claim("exp", "1234567890"))),
        (TokenAlgorithm, api().bearer(&confused)),
        (TokenAlgorithm, bearer(&clerk().header("alg", "none"))),
        (TokenUnknownKey, api().bearer(&clerk().sign(&other).unwrap())),
        (TokenBadSignature, api().bearer(&clerk().sign(&other.named(ours.kid())).unwrap())),
        (TokenBadSignature, api().bearer(&tamper(&stack.clerk_jwt("grace@example.com")))),
        (TokenBadSignature, api().bearer(&tamper(&stack.legacy_jwt(user.id.as_str())))),
        (TokenExpired, bearer(&clerk().shifted(-3600))),
        (TokenExpired, api().bearer(&stack.sign_legacy(&stack.legacy(user.id.as_str()).shifted(-7200)))),
        (TokenNotYetValid, bearer(&clerk().shifted(3600))),
        (TokenWrongIssuer, bearer(&clerk().claim("iss", "https://issuer.elsewhere.test"))),
        (TokenWrongParty, bearer(&clerk().party("https://elsewhere.test"))),
        (TokenWrongParty, bearer(&clerk().without("azp"))),
        (TokenWrongClass, bearer(&clerk().template_class())),
        (SessionPending, bearer(&clerk().pending())),
        (UserUnknown, api().bearer(&stack.legacy_jwt("usr_nobody"))),
        // Nobody is created by a session in which somebody acts as somebody else.
        (UserUnknown, bearer(&stack.clerk("new@example.com").claim("act", serde_json::json!({ "sub": "user_admin" })))),
        // Somebody who says that Ada's address is theirs, and has not proved it; then somebody who says so of an admin's.
        (EmailUnverified, bearer(&clerk().email("ada@example.com", false))),
        (EmailConflict, bearer(&stack.clerk("boss@example.com"))),
    ]);
    let boss = stack.user("boss@example.com").await;
    let admin = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(stack.app(), &boss.id, &admin, None).await.unwrap();

    let left = stack.user("left@example.com").await;
    let before = stack.legacy(left.id.as_str());
    for token in [before.clone().without("iat"), before] {
        ways.push((TokenRevoked, api().bearer(&stack.sign_legacy(&token))));
    }
    sign_in::sign_out(stack.app(), &left.id).await.unwrap();

    let gone = stack.user("gone@example.com").await;
    let inactive = UserPatch { is_active: Some(false), ..UserPatch::default() };
    users::update(stack.app(), &gone.id, &inactive, None).await.unwrap();
    ways.push((UserInactive, api().bearer(&stack.legacy_jwt(gone.id.as_str()))));
    ways.push((UserInactive, api().api_key(stack.api_key(&gone, &[]).await.plain.expose())));
    ways
}

/// The same key with another last letter.
fn changed(key: &str) -> String {
    let (head, last) = key.split_at(key.len() - 1);
    format!("{head}{}", if last == "x" { "y" } else { "x" })
}

fn unknown_key() -> String {
    let numbers: Vec<u8> = random_base62(api_key::RANDOM_CHARS).unwrap().bytes().map(|byte| byte % 62).collect();
    api_key::assemble(&numbers).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_answered_logged_and_counted() {
    let stack = Stack::start(Options::default()).await;
    let ways = ways(&stack).await;
    let produced: BTreeSet<Code> = ways.iter().map(|(code, _)| *code).collect();
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !produced.contains(code)).copied().collect();
    let mut expected = ELSEWHERE.to_vec();
    expected.sort();
    assert_eq!(missing, expected, "every code of the catalogue is produced here or elsewhere");

    let mut asked = Vec::new();
    for (code, request) in &ways {
        // Twice: the second answer comes from memory, where there is one.
        for turn in ["first", "again"] {
            let id = check(&stack.envoy, &format!("{code}, {turn}"), &stack.send(request).await, *code).await;
            asked.push((id, *code));
        }
    }
    for (id, code) in &asked {
        let refused = told(&stack, id, *code).await;
        // Who is known is told where they were refused for what they are.
        let is_about_them =
            matches!(code, Code::RoleRequired | Code::ScopeRequired | Code::NotOwner | Code::UserInactive);
        assert!(refused.user_id.is_some() || !is_about_them, "{refused:?}");
    }
    let (id, code) = asked.iter().find(|(_, code)| *code == Code::RoleRequired).expect("one");
    let ran = tool(&stack.config).args(["explain", "--request-id", id]).output().await.expect("tollgate runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    for part in [id.as_str(), code.as_str(), "/admin/**", "role admin", "api_key", "usr_", "role user, active"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let ran = tool(&stack.config).args(["explain", "--request-id", "nothing"]).output().await.expect("tollgate runs");
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));

    let prometheus = stack.envoy.prometheus().await;
    for code in &produced {
        let times = 2 * ways.iter().filter(|(other, _)| other == code).count();
        let line = format!("tollgate_denied_total{{code=\"{code}\"}} {times}");
        assert!(prometheus.lines().any(|known| known == line), "{line} in:\n{}", tollgate_lines(&prometheus));
    }
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

fn tollgate_lines(prometheus: &str) -> String {
    prometheus.lines().filter(|line| line.starts_with("tollgate_")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_service_is_refused() {
    let options = Options { legacy_audience: vec!["https://api.test".to_owned()], ..Options::default() };
    let stack = Stack::start(options).await;
    let user = stack.user("ada@example.com").await;
    let send = async |aud: serde_json::Value| {
        let token = stack.sign_legacy(&stack.legacy(user.id.as_str()).claim("aud", aud));
        stack.send(&Request::get("/api/a").bearer(&token)).await
    };
    assert_eq!(send("https://api.test".into()).await.status, 200);
    let answer = send(vec!["https://other.test"].into()).await;
    check(&stack.envoy, "another audience", &answer, Code::TokenWrongAudience).await;
    let without = Request::get("/api/a").bearer(&stack.legacy_jwt(user.id.as_str()));
    check(&stack.envoy, "no audience", &stack.send(&without).await, Code::TokenWrongAudience).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_nothing_passes() {
    let stack = Stack::start(Options { control_plane_later: true, ..Options::default() }).await;
    for request in [Request::get("/api/a"), Request::get("/public/a"), Request::get("/nowhere")] {
        check(&stack.envoy, "no settings", &stack.send(&request).await, Code::NotReady).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_person_without_a_control_plane_is_unavailable() {
    let mut stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let known = Request::get("/api/a").bearer(&stack.legacy_jwt(user.id.as_str()));
    stack.stop_control_plane().await;
    check(&stack.envoy, "unknown", &stack.send(&known).await, Code::IdentityUnavailable).await;
}
