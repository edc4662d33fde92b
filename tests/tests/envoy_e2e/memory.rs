//! What a worker remembers is bounded: a hundred thousand different tokens leave its memory as it was.

use tokio::task::JoinSet;
use tollgate::dev::mint::{random_base62, tamper};
use tollgate_protocol::api_key;
use tollgate_tests::{
    http::{Connection, Request},
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

const CLIENTS: u64 = 8;
const WARM_UP: u64 = 20_000;
const MEASURED: u64 = 100_000;
/// What the whole process may grow by: a tenth of what the tokens alone would take, if they were kept.
const ALLOWED_KB: u64 = 8_000;

/// The request of a number, different from that of every other number; and the status that it gets.
fn request(stack: &Stack, users: &[String], number: u64) -> (Request, u16) {
    let user = &users[usize::try_from(number).unwrap() % users.len()];
    let api = || Request::get("/api/a");
    match number % 20 {
        0 => (api().bearer(&tamper(&stack.sign_legacy(&stack.legacy(user).claim("n", number)))), 401),
        1 => (api().bearer(&format!("junk.{number}.junk")), 401),
        2 => (api().api_key(&format!("sk_{number:043}")), 401),
        // Well-formed, and nobody's: each is asked for once.
        3 if number % 100 == 3 => {
            let random: Vec<u8> = random_base62(api_key::RANDOM_CHARS).unwrap().bytes().map(|byte| byte % 62).collect();
            (api().api_key(&api_key::assemble(&random).unwrap()), 401)
        }
        4 if number % 100 == 4 => (api().bearer(&stack.legacy_jwt(&format!("nobody-{number}"))), 401),
        _ => (
            api().bearer(&stack.sign_legacy(&stack.legacy(user).claim("n", number).claim("fill", "x".repeat(300)))),
            200,
        ),
    }
}

/// Sends the requests of all numbers of a range, over a few connections.
async fn send(stack: &std::sync::Arc<Stack>, users: &[String], numbers: std::ops::Range<u64>) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (stack, users, numbers) = (std::sync::Arc::clone(stack), users.to_vec(), numbers.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(stack.envoy.addr).await.unwrap();
            for number in numbers.filter(|number| number % CLIENTS == client) {
                let (request, status) = request(&stack, &users, number);
                let answer = connection.send(&request).await.unwrap();
                assert_eq!(answer.status, status, "{number}: {}", answer.text());
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_tokens_leave_memory_flat() {
    // Bounds that the warm-up reaches on every worker. That they hold is the same for larger ones.
    let cache = "cache: {tokens: 2000, token_bytes: 2000000, identities: 500, unknown: 200}";
    let stack = Stack::start(Options { filter_settings: vec![cache.to_owned()], ..Options::default() }).await;
    let mut users = Vec::new();
    for number in 0..20 {
        users.push(stack.user(&format!("user{number}@example.com")).await.id.to_string());
    }
    let stack = std::sync::Arc::new(stack);
    send(&stack, &users, 0..WARM_UP).await;
    let before = stack.envoy.resident_kb();
    let mut steps = Vec::new();
    for step in 0..5 {
        let start = WARM_UP + step * MEASURED / 5;
        send(&stack, &users, start..start + MEASURED / 5).await;
        steps.push(stack.envoy.resident_kb());
    }
    println!("Envoy's memory after {WARM_UP} tokens: {before} kB; after each further {}: {steps:?} kB", MEASURED / 5);
    let after = *steps.last().unwrap();
    assert!(after <= before + ALLOWED_KB, "{before} kB became {after} kB: {steps:?}");
    // The workers write the same gauge, each when what it remembers has changed.
    until("a worker with a full cache", PATIENCE, || async {
        let cached = stack.envoy.stat("wasmcustom.tollgate_cached_tokens").await;
        assert!(cached <= 2000, "{cached} tokens are cached");
        (cached >= 1000).then_some(())
    })
    .await;
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}
