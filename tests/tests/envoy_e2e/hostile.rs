//! Whatever bytes a client sends: one answer, no trap, nothing split. Envoy itself refuses some of them before the
//! filter sees them; which ones is not what is tested here.

use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_protocol::headers;
use tollgate_tests::{
    echo::Seen,
    http::{Answer, Connection, Request},
    stack::{Options, Stack},
};

/// Clients at the same time.
const CLIENTS: u8 = 8;
/// What a text tries that wants to be more than a value.
const SPLIT: &str = "a\r\nset-cookie: injected=1\r\nx-injected: 1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// Where credentials and identities stand, and what an operator's log shows.
const FIELDS: [&str; 7] =
    ["Authorization", "X-API-Key", "Cookie", "X-Auth-User-Id", "X-Request-Id", "X-Other", "Content-Type"];

/// Sends bytes and reads exactly one answer; nothing may follow it.
async fn one_answer(stack: &Stack, what: &str, bytes: &[u8]) -> Answer {
    let mut connection = Connection::open(stack.envoy.addr).await.unwrap();
    // Envoy may close before it has read everything.
    drop(connection.write(bytes).await);
    let answer = connection.answer().await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
    if answer.header("connection") == Some("close") {
        let rest = connection.rest().await.unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&rest), "", "{what}: more than one answer");
    } else {
        // The connection is in step still: the next answer belongs to the next request.
        let next = connection.send(&Request::get("/public/next")).await;
        let next = next.unwrap_or_else(|fault| panic!("{what}: the next request: {fault}"));
        assert_eq!(Seen::of(&next).path, "/public/next", "{what}");
    }
    // 501: a transfer encoding that Envoy does not know.
    assert!(answer.status < 500 || answer.status == 501, "{what}: {}", answer.text());
    assert!(!answer.headers.iter().any(|(name, _)| name == "x-injected" || name == "set-cookie"), "{what}: {answer:?}");
    if answer.status == 200 {
        let seen = Seen::of(&answer);
        assert_eq!((seen.header("x-injected"), seen.header("set-cookie")), (None, None), "{what}");
    } else if answer.header("content-type") == Some("application/problem+json") {
        assert_eq!(answer.json()["status"], answer.status, "{what}");
    }
    answer
}

/// The filter has judged so many, lost no VM, and goes on.
async fn healthy(stack: &Stack, vms: u64, good: &Request, at_least: u64) {
    let stats = stack.envoy.stats().await;
    let refused = stats.iter().filter(|(name, _)| name.starts_with("wasmcustom.tollgate_denied_total"));
    let refused: Vec<_> = refused.map(|(name, count)| (name.rsplit('.').next().unwrap_or_default(), count)).collect();
    let judged: u64 = refused.iter().map(|(_, count)| **count).sum();
    assert!(judged >= at_least, "too few reached the filter: {refused:?}");
    for _ in 0..16 {
        assert_eq!(stack.send(good).await.status, 200);
    }
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
    assert_eq!(stack.envoy.active_vms().await, vms, "a VM was lost");
}

/// One byte in every place where it might do harm.
async fn every_place(stack: &Stack, byte: u8, key: &str, jwt: &str) {
    for field in FIELDS {
        for value in
            [vec![byte], [b"Bearer a", [byte].as_slice(), b".b.c"].concat(), [jwt.as_bytes(), &[byte]].concat()]
        {
            let value = if field == "Cookie" { [b"__session=", value.as_slice()].concat() } else { value };
            let request = Request::get("/web/a").header(field, value);
            one_answer(stack, &format!("byte {byte} in {field}"), &request.bytes()).await;
        }
    }
    let name = [b"x-auth-a".as_slice(), &[byte], b"b"].concat();
    let named = Request::get("/api/a").header(name, "spoofed").api_key(key);
    let answer = one_answer(stack, &format!("byte {byte} in a name"), &named.bytes()).await;
    let arrived = answer.status == 200 && Seen::of(&answer).has_anywhere("spoofed");
    assert!(!arrived, "byte {byte} in a name: {}", answer.text());
    let path = [b"GET /web/a".as_slice(), &[byte], b"b HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    one_answer(stack, &format!("byte {byte} in the path"), &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_in_any_header_give_one_answer() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let good = Request::get("/api/a").api_key(&key);
    let vms = stack.envoy.active_vms().await;
    let jwt = stack.clerk_jwt("grace@example.com");

    let stack = Arc::new(stack);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (stack, key, jwt) = (Arc::clone(&stack), key.clone(), jwt.clone());
        clients.spawn(async move {
            for byte in (0..=255).filter(|byte| byte % CLIENTS == client) {
                every_place(&stack, byte, &key, &jwt).await;
            }
        });
    }
    clients.join_all().await;
    healthy(&stack, vms, &good, 4000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_repeated_headers_give_one_answer() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let good = Request::get("/api/a").api_key(&key);
    let vms = stack.envoy.active_vms().await;
    let jwt = stack.clerk_jwt("grace@example.com");
    let nested = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));

    for length in [1, 8_000, 8_193, 30_000, 59_000, 60_000, 61_500] {
        for field in FIELDS.into_iter().chain(["x-auth-long"]) {
            for fill in ["x", ",", "=", ";", ".", "é"] {
                for start in ["", "Bearer ", "Bearer sk_", "Bearer a.b.", "__session=", "sk_"] {
                    let value = format!("{start}{}", fill.repeat(length / fill.len()));
                    let request = Request::get("/web/a").header(field, value);
                    one_answer(&stack, &format!("{length} bytes of {fill} in {field}"), &request.bytes()).await;
                }
            }
        }
        let path = Request::get(&format!("/web/{}", "a/".repeat(length / 2)));
        one_answer(&stack, &format!("a path of {length} bytes"), &path.bytes()).await;
    }
    // Doubled, and more.
    for times in [2, 3, 90] {
        for field in FIELDS.into_iter().chain([
            "Host",
            "x-auth-user-id",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "x-forwarded-for",
        ]) {
            for value in ["", "1", "Bearer a.b.c", &key, "__session=a; __session=b"] {
                let request = (0..times).fold(Request::get("/web/a"), |request, _| request.header(field, value));
                one_answer(&stack, &format!("{field}: {value} {times} times"), &request.bytes()).await;
            }
        }
    }
    // Tokens whose insides are hostile: signed by the right key, so that they are read to the end.
    let clerk = || stack.clerk("grace@example.com");
    let deep = (0..100).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    for token in [
        clerk().claim("deep", deep),
        clerk().claim("sub", "x".repeat(7000)),
        clerk().claim("sub", ""),
        clerk().claim("sub", 17),
        clerk().claim("email", "é".repeat(500)).claim("email_verified", true),
        clerk().claim("name", "\u{0}\u{7f}\u{85}\u{2028}😀"),
        clerk().claim("exp", u64::MAX),
        clerk().claim("exp", -1),
        clerk().claim("nbf", 1e300),
        clerk().header("crit", vec!["x"]),
        clerk().header("kid", nested.get(..4000).unwrap_or_default()),
    ] {
        let request = Request::get("/web/a").bearer(&stack.sign(&token));
        one_answer(&stack, &format!("{token:?}"), &request.bytes()).await;
    }
    one_answer(&stack, "junk as a token", &Request::get("/web/a").bearer(&nested).bytes()).await;
    one_answer(&stack, "a good token", &Request::get("/web/a").bearer(&jwt).bytes()).await;
    healthy(&stack, vms, &good, 1500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_in_claims_and_names_stay_inside_their_header() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.named_user("ada@example.com", SPLIT).await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let good = Request::get("/api/a").api_key(&key);
    let vms = stack.envoy.active_vms().await;

    // A name in the store, however it came there, reaches the backend encoded, and whole.
    let seen = Seen::of(&one_answer(&stack, "a name in the store", &good.bytes()).await);
    let name = seen.header(headers::NAME).unwrap();
    assert!(
        name.starts_with("a%0D%0Aset-cookie:%20injected=1%0D%0A") && name.bytes().all(|b| b.is_ascii_graphic()),
        "{name}"
    );

    let clerk = || stack.clerk("grace@example.com");
    for (claim, refused) in [
        ("sub", false),
        ("sid", false),
        ("name", false),
        ("email", false),
        ("jti", false),
        ("iss", true),
        ("azp", true),
        ("sts", true),
    ] {
        let token = stack.sign(&clerk().claim(claim, SPLIT));
        let answer = one_answer(&stack, claim, &Request::get("/web/a").bearer(&token).bytes()).await;
        assert!(answer.status != 200 || !refused, "{claim}: {}", answer.text());
    }
    for parameter in ["kid", "cat", "typ", "alg"] {
        let token = stack.sign(&clerk().header(parameter, SPLIT));
        let answer = one_answer(&stack, parameter, &Request::get("/web/a").bearer(&token).bytes()).await;
        assert_eq!(answer.status, 401, "{parameter}: {}", answer.text());
    }
    let acted = stack.clerk("known@example.com");
    stack.seen(&Request::get("/web/a").bearer(&stack.sign(&acted))).await;
    let acted = stack.sign(&acted.claim("act", serde_json::json!({ "sub": SPLIT })));
    one_answer(&stack, "act", &Request::get("/web/a").bearer(&acted).bytes()).await;
    let legacy = stack.legacy_jwt(SPLIT);
    assert_eq!(
        one_answer(&stack, "a legacy subject", &Request::get("/web/a").bearer(&legacy).bytes()).await.status,
        401
    );
    healthy(&stack, vms, &good, 8).await;
}
