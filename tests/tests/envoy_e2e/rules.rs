//! Rules that change while requests go on: in force within a second at every worker, whole, and nobody is cut off; and rules
//! that are only watched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tollgate::dev::shipped;
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

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_under_load_cut_nobody_off() {
    const SWAPS: usize = 60;
    let stack = Arc::new(Stack::start(Options::default()).await);
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    // Two rules that always change together: no request may see one of them alone.
    let rules = |role: &str| {
        let pair = ["one", "two"].map(|name| format!("[[routes]]\npath = \"/pair/{name}\"\nroles = [\"{role}\"]\n"));
        format!("{}{}", shipped::POLICY, pair.concat())
    };
    stack.write_policy(&rules("user"));
    everywhere(&stack, &Request::get("/pair/one").api_key(&key), 200).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (stack, over, key) = (Arc::clone(&stack), Arc::clone(&over), key.clone());
        clients.spawn(async move {
            // One connection for all of it: it must not be dropped.
            let mut connection = Connection::open(stack.envoy.addr).await.expect("a connection");
            let mut counts = [0_u64; 2];
            while !over.load(Ordering::Relaxed) {
                for name in ["one", "two", "three"] {
                    let request = Request::get(&format!("/pair/{name}")).api_key(&key);
                    let answer = connection.send(&request).await.expect("an answer on the same connection");
                    match (name, answer.status) {
                        ("three", 403) => {}
                        (_, 200) if name != "three" => counts[0] += 1,
                        (_, 403) if name != "three" => counts[1] += 1,
                        other => panic!("{other:?}: {}", answer.text()),
                    }
                }
            }
            counts
        });
    }
    let before = stack.envoy.resident_kb();
    let mut slowest = Duration::ZERO;
    for swap in 0..SWAPS {
        let (role, status) = if swap % 2 == 0 { ("admin", 403) } else { ("user", 200) };
        stack.write_policy(&rules(role));
        let changed = || async {
            let answer = stack.send(&Request::get("/pair/two").api_key(&key)).await;
            (answer.status == status).then_some(())
        };
        let (_, took) = until("the new rules", SECOND, changed).await;
        slowest = slowest.max(took);
    }
    over.store(true, Ordering::Relaxed);
    let counts = clients.join_all().await;
    let (passed, refused) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one[0], sum.1 + one[1]));
    let grown = stack.envoy.resident_kb().saturating_sub(before);
    println!(
        "{SWAPS} changes of the rules under load: in force after {slowest:?} at most; {passed} passed, {refused} refused, \
         none cut off; Envoy grew by {grown} kB"
    );
    assert!(passed > 0 && refused > 0);
    assert!(grown < 8_000, "{grown} kB");
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}
