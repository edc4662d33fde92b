//! Rules that change while requests go on: in force within a second at every worker, whole, and nobody is cut off; and rules
//! that are only watched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tollgate::{
    dev::shipped,
    domain::{Role, UserPatch},
    service::users,
};
use tollgate_tests::{
    echo::Seen,
    http::{Connection, Request},
    stack::{Options, Stack},
    wait::until,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_watched_passes_as_it_came_and_the_verdict_is_told() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let cases = [
        (Request::get("/admin/a").api_key(&key), "role_required", 403),
        (Request::get("/api/a").api_key(&key), "pass", 200),
        (Request::get("/api/a"), "missing_credential", 401),
        (Request::get("/api/a").bearer("junk"), "token_malformed", 401),
        (Request::get("/public/a"), "pass", 200),
        (Request::get("/no/such/route").api_key(&key), "route_denied", 403),
        (Request::get("/api/a%25b").api_key(&key), "ambiguous_path", 400),
    ];
    for (request, _, status) in &cases {
        assert_eq!(stack.send(request).await.status, *status);
    }
    stack.write_policy(&format!("mode = \"shadow\"\n{}", shipped::POLICY));
    let watched = || async {
        let answer = stack.send(&Request::get("/admin/a").api_key(&key)).await;
        (answer.status == 200).then_some(())
    };
    let (_, took) = until("nothing is enforced any more", SECOND, watched).await;
    println!("rules changed to only watching: in force after {took:?}");
    // The other worker may be 100 ms behind.
    everywhere(&stack, &Request::get("/admin/a").api_key(&key), 200).await;
    for (request, verdict, _) in &cases {
        let answer =
            stack.send(&request.clone().header("X-Auth-Shadow", "forged").header("x-auth-role", "admin")).await;
        assert_eq!(answer.status, 200, "{verdict}: {}", answer.text());
        let seen = Seen::of(&answer);
        assert_eq!(seen.header("x-auth-shadow"), Some(*verdict), "{request:?}");
        let has_key = request.bytes().windows(9).any(|part| part.eq_ignore_ascii_case(b"x-api-key"));
        assert_eq!(seen.header("x-api-key"), has_key.then_some(key.as_str()), "{verdict}: the credential goes on");
        assert!(!seen.has_anywhere("forged") && seen.header("x-auth-role") != Some("admin"), "{verdict}");
    }
    assert!(stack.envoy.stat("wasmcustom.tollgate_shadow_total.verdict.role_required").await >= 1);
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

/// Waits until many new connections, which Envoy spreads over its workers, all get this status.
async fn everywhere(stack: &Stack, request: &Request, status: u16) {
    let all = || async {
        for _ in 0..20 {
            if stack.send(request).await.status != status {
                return None;
            }
        }
        Some(())
    };
    until("every worker has the new rules", SECOND, all).await;
}

/// Rules in two versions that differ in two things: no request may see one of each.
fn rules(is_first: bool) -> String {
    let handed_on = if is_first { "forward_credential = true" } else { "assertion = true" };
    let pair = ["one", "two"].map(|name| format!("[[routes]]\npath = \"/pair/{name}\"\n{handed_on}\n"));
    format!("{}{}", shipped::POLICY, pair.concat())
}

/// Clients on connections of their own, which must not be dropped, and whose requests must be judged by one version of the
/// rules each. How many were, by version.
fn clients(stack: &Arc<Stack>, key: &str, over: &Arc<AtomicBool>) -> tokio::task::JoinSet<[u64; 2]> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (stack, over, key) = (Arc::clone(stack), Arc::clone(over), key.to_owned());
        clients.spawn(async move {
            let mut connection = Connection::open(stack.envoy.addr).await.expect("a connection");
            let mut counts = [0_u64; 2];
            while !over.load(Ordering::Relaxed) {
                for name in ["one", "two", "three"] {
                    let request = Request::get(&format!("/pair/{name}")).api_key(&key);
                    let answer = connection.send(&request).await.expect("an answer on the same connection");
                    if name == "three" {
                        assert_eq!(answer.status, 403, "{}", answer.text());
                        continue;
                    }
                    let seen = Seen::of(&answer);
                    match (seen.header("x-api-key").is_some(), seen.header("x-auth-assertion").is_some()) {
                        (true, false) => counts[0] += 1,
                        (false, true) => counts[1] += 1,
                        other => panic!("half of each version: {other:?}"),
                    }
                }
            }
            counts
        });
    }
    clients
}

/// Changes the rules again and again under load; each `look`th time it waits until a new request is judged by them.
async fn change_under_load(stack: Stack, swaps: usize, look: usize, change: impl AsyncFn(&Stack, String)) {
    let stack = Arc::new(stack);
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let request = Request::get("/pair/two").api_key(&key);
    change(&stack, rules(true)).await;
    // By rules that a control plane begins with either both pass or none.
    everywhere(&stack, &Request::get("/pair/three").api_key(&key), 403).await;
    everywhere(&stack, &request, 200).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients = clients(&stack, &key, &over);
    let (mut before, mut slowest) = (0, Duration::ZERO);
    for swap in 0..swaps {
        // What a change needs is there after the first few.
        if swap == swaps / 20 {
            before = stack.envoy.resident_kb();
        }
        let is_first = swap % 2 == 1;
        change(&stack, rules(is_first)).await;
        if swap % look == 0 || swap + 1 == swaps {
            let changed = || async {
                let seen = Seen::of(&stack.send(&request).await);
                (seen.header("x-api-key").is_some() == is_first).then_some(())
            };
            let (_, took) = until("the new rules", SECOND, changed).await;
            slowest = slowest.max(took);
        }
    }
    over.store(true, Ordering::Relaxed);
    let counts = clients.join_all().await;
    let (first, second) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one[0], sum.1 + one[1]));
    let grown = stack.envoy.resident_kb().saturating_sub(before);
    println!(
        "{swaps} changes of the rules under load: in force after {slowest:?} at most; {first} requests by one version, \
         {second} by the other, none by both, nobody cut off; Envoy grew by {grown} kB"
    );
    assert!(first > 0 && second > 0);
    assert!(grown < 8_000, "{grown} kB");
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_file_that_change_under_load_cut_nobody_off() {
    let stack = Stack::start(Options::default()).await;
    change_under_load(stack, 20, 1, async |stack: &Stack, rules: String| stack.write_policy(&rules)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_of_the_rules_cut_nobody_off() {
    let stack = Stack::start(Options { policy_in_store: true, ..Options::default() }).await;
    let boss = stack.user("boss@example.com").await;
    let patch = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    users::update(stack.app(), &boss.id, &patch, None).await.expect("an administrator");
    let token = stack.legacy_jwt(boss.id.as_str());
    let put = async |stack: &Stack, rules: String| {
        let body = serde_json::json!({ "policy": rules }).to_string();
        let request = Request::new("PUT", "/api/admin/policy").body(body).header("Content-Type", "application/json");
        let answer = stack.send(&request.bearer(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    change_under_load(stack, 1_000, 25, put).await;
}
