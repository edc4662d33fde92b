//! Rules that are only watched against the same rules enforced, on the same traffic: the report has exactly what was
//! refused. And rules that an administrator puts by the API.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use tollgate::{
    dev::shipped,
    domain::{Role, UserPatch},
    service::{refusals, users},
};
use tollgate_tests::{
    echo::Seen,
    http::Request,
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

const SECOND: Duration = Duration::from_secs(1);

/// Traffic, written by hand and not recorded: something for each kind of refusal. Each with the route that decides about it and how often it comes.
async fn traffic(stack: &Stack) -> Vec<(&'static str, Request, u64)> {
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let with_scope = stack.api_key(&user, &["reports:read"]).await.plain.expose().to_owned();
    let jwt = stack.clerk_jwt("grace@example.com");
    let legacy = stack.legacy_jwt(user.id.as_str());
    let get = |path: &str| Request::get(path);
    let cookie = |path: &str| Request::get(path).header("Cookie", format!("__session={jwt}"));
    vec![
        ("/api/**", get("/api/a").api_key(&key), 5),
        ("/api/**", get("/api/a"), 3),
        ("/api/**", get("/api/b?x=1").bearer("junk"), 2),
        ("/api/**", get("/api/a").bearer(&jwt), 4),
        ("/api/**", cookie("/api/a"), 2),
        ("/web/**", cookie("/web/a"), 3),
        ("/web/**", get("/web/a").api_key(&key), 2),
        ("/extension/**", get("/extension/a").bearer(&jwt), 3),
        ("/extension/**", get("/extension/a").bearer(&legacy), 1),
        ("/admin/**", get("/admin/a").api_key(&key), 4),
        ("/admin/**", Request::new("DELETE", "/admin/users/1").bearer(&legacy), 2),
        ("/admin/**", get("/admin/a"), 1),
        ("/reports/**", get("/reports/a").api_key(&key), 2),
        ("/reports/**", get("/reports/a").api_key(&with_scope), 2),
        ("/pro/**", get("/pro/a").bearer(&legacy), 3),
        ("/api/users/{user_id}/**", get(&format!("/api/users/{}/a", user.id)).api_key(&key), 1),
        ("/api/users/{user_id}/**", get("/api/users/somebody/a").api_key(&key), 3),
        ("/public/**", get("/public/a"), 2),
        ("/optional/**", get("/optional/a").bearer("junk"), 2),
        ("default", get("/no/such/route").api_key(&key), 2),
        ("none", get("/api/a%25b").api_key(&key), 1),
        ("none", get("/api/a;b"), 1),
    ]
}

type Counts = BTreeMap<(String, String), u64>;

async fn report(stack: &Stack) -> Counts {
    let (found, next) = refusals::watched(stack.app(), None, 200).await.expect("the report");
    assert_eq!(next, None);
    found.into_iter().map(|watched| ((watched.route, watched.code), watched.count)).collect()
}

/// The same as administrators read it.
async fn told(stack: &Stack) -> Counts {
    let boss = stack.user("boss@example.com").await;
    let admin = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(stack.app(), &boss.id, &admin, None).await.expect("an administrator");
    let request = Request::get("/api/admin/shadow?limit=200").bearer(&stack.legacy_jwt(boss.id.as_str()));
    let answer = stack.send(&request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.json();
    assert!(page.get("next").is_none_or(|next| next.is_null()), "{page}");
    let text = |item: &serde_json::Value, name: &str| item[name].as_str().expect("a text").to_owned();
    let items = page["items"].as_array().expect("a list");
    items
        .iter()
        .map(|item| ((text(item, "route"), text(item, "code")), item["count"].as_u64().expect("a number")))
        .collect()
}

/// The report, once it has as many refusals as it should; it gets no more.
async fn whole_report(stack: &Stack, expected: &Counts) {
    let sum = |counts: &Counts| counts.values().sum::<u64>();
    until("everything is told", PATIENCE, || async { (sum(&report(stack).await) >= sum(expected)).then_some(()) })
        .await;
    assert_eq!(&report(stack).await, expected);
}

async fn everywhere(stack: &Stack, request: &Request, status: u16) {
    let all = || async {
        for _ in 0..20 {
            if stack.send(request).await.status != status {
                return None;
            }
        }
        Some(())
    };
    until("every worker has the new rules", PATIENCE, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_watched_differs_from_what_is_enforced_as_the_report_says_and_nowhere_else() {
    let mut stack = Stack::start(Options::default()).await;
    let traffic = traffic(&stack).await;
    // First as it is: who is refused, and why.
    let mut expected = Counts::new();
    let mut verdicts = Vec::new();
    for (route, request, times) in &traffic {
        let answer = stack.send(request).await;
        let code = (answer.status != 200).then(|| answer.json()["code"].as_str().expect("a code").to_owned());
        if let Some(code) = &code {
            *expected.entry(((*route).to_owned(), code.clone())).or_default() += times;
        }
        verdicts.push(code);
    }
    assert!(expected.len() >= 10, "{expected:?}");
    assert_eq!(report(&stack).await, Counts::new(), "nothing is only watched");

    stack.write_policy(&format!("mode = \"shadow\"\n{}", shipped::POLICY));
    // Rules that are enforced stand beside those that are not: here, to see when the others hold.
    everywhere(&stack, &Request::get("/public/a").header("x-probe", "1"), 200).await;
    let is_watched = || async {
        let seen = Seen::of(&stack.send(&Request::get("/public/a")).await);
        (seen.header("x-auth-shadow") == Some("pass")).then_some(())
    };
    for _ in 0..20 {
        until("every worker only watches", PATIENCE, is_watched).await;
    }
    let mut samples = Vec::new();
    for ((_, request, times), verdict) in traffic.iter().zip(&verdicts) {
        for _ in 0..*times {
            let answer = stack.send(request).await;
            assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
            let seen = Seen::of(&answer);
            assert_eq!(seen.header("x-auth-shadow"), Some(verdict.as_deref().unwrap_or("pass")), "{request:?}");
            if verdict.is_some() {
                samples.push(seen.header("x-request-id").expect("an id").to_owned());
            }
        }
    }
    whole_report(&stack, &expected).await;
    let (found, _) = refusals::watched(stack.app(), None, 200).await.expect("the report");
    for watched in &found {
        assert!(!watched.samples.is_empty() && watched.samples.iter().all(|id| samples.contains(id)), "{watched:?}");
        assert!(watched.first <= watched.last);
    }
    assert_eq!(told(&stack).await, expected, "administrators read the same");
    println!("{} requests watched: {} differences in {} kinds", samples.len(), samples.len(), found.len());

    // A control plane that is away for a while misses nothing.
    stack.stop_control_plane().await;
    for _ in 0..10 {
        assert_eq!(stack.send(&Request::get("/api/a")).await.status, 200);
    }
    *expected.entry(("/api/**".to_owned(), "missing_credential".to_owned())).or_default() += 10;
    let failed = || stack.envoy.stat("cluster.tollgate_control_plane.upstream_cx_connect_fail");
    let before = failed().await;
    until("it is called in vain", PATIENCE, || async { (failed().await >= before + 6).then_some(()) }).await;
    stack.start_control_plane().await;
    whole_report(&stack, &expected).await;
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_an_administrator_puts_hold_within_a_second() {
    let stack = Stack::start(Options { policy_in_store: true, ..Options::default() }).await;
    let boss = stack.user("boss@example.com").await;
    let admin = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(stack.app(), &boss.id, &admin, None).await.expect("an administrator");
    let token = stack.legacy_jwt(boss.id.as_str());
    let read = stack.send(&Request::get("/api/admin/policy").bearer(&token)).await;
    assert_eq!((read.status, read.json()["policy"].as_str()), (200, Some(shipped::POLICY)), "{}", read.text());
    assert_eq!(stack.send(&Request::get("/newly/open")).await.status, 403);

    let mut tag = read.header("etag").expect("an ETag").to_owned();
    let mut slowest = Duration::ZERO;
    for (auth, status) in [("none", 200), ("required", 401), ("none", 200)] {
        let text = format!("{}\n[[routes]]\npath = \"/newly/open\"\nauth = \"{auth}\"\n", shipped::POLICY);
        let put = Request::new("PUT", "/api/admin/policy").body(json!({ "policy": text }).to_string());
        let put = put.header("Content-Type", "application/json").header("If-Match", &tag).bearer(&token);
        let began = Instant::now();
        let answer = stack.send(&put).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("etag").expect("an ETag").clone_into(&mut tag);
        everywhere(&stack, &Request::get("/newly/open"), status).await;
        slowest = slowest.max(began.elapsed());
        let late = stack.send(&put).await;
        assert_eq!(late.status, 412, "the same change again: {}", late.text());
    }
    println!("rules put by the API: in force at every worker after {slowest:?} at most");
    assert!(slowest < SECOND, "{slowest:?}");
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}
