//! People of the store, with tokens and keys, and the requests that they send. It must not know who answers them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use tollgate::{
    clock::{Clock as _, SystemClock},
    dev::mint::{ClerkToken, tamper},
    domain::{ApiKey, KeyId, Stamp, UserId},
    store::Imported,
};
use tollgate_protocol::{KeyHash, api_key};
use tollgate_tests::{http::Request, stack::Stack};

use crate::cases::Sent;

/// Everything that is sent, as bytes.
pub(crate) type Requests = BTreeMap<Sent, Vec<Vec<u8>>>;

const USERS: usize = 500;
const TOKENS: usize = 5_000;
pub(crate) const KEYS: usize = 10_000;
/// Keys of one user.
const KEYS_EACH: usize = 100;
/// Bytes of a claim that makes tokens as long as Clerk's usually are, about 700.
const FILLING: usize = 120;

/// Makes people, their requests, and says which API key is whose.
pub(crate) async fn make(stack: &Stack) -> (Requests, Vec<(String, String)>) {
    println!("making {USERS} users with {TOKENS} tokens, and {KEYS} API keys");
    let mut requests = Requests::new();
    let mut add = |sent, request| requests.entry(sent).or_default().push(request);
    for number in 0..TOKENS {
        let token = token(stack, number, FILLING);
        let good = stack.sign(&token);
        add(Sent::BadSignatures, api().bearer(&tamper(&good)).bytes());
        add(Sent::Tokens, api().bearer(&good).bytes());
        add(Sent::Expired, api().bearer(&stack.sign(&token.shifted(-25 * 3600))).bytes());
    }
    let keys = keys(stack, 0..KEYS).await;
    for (number, (key, _)) in keys.iter().enumerate() {
        add(Sent::Keys, api().api_key(key).bytes());
        add(Sent::JunkKeys, api().api_key(&junk(key)).bytes());
        if number == 0 {
            add(Sent::Limited, agent(Request::get("/limited")).api_key(key).bytes());
        }
    }
    add(Sent::Nothing, api().bytes());
    add(Sent::Public, agent(Request::get("/public")).bytes());
    (requests, keys)
}

/// A good token of one of the users, of a day, with a claim that has so many bytes.
pub(crate) fn token(stack: &Stack, number: usize, filling: usize) -> ClerkToken {
    let token = stack.clerk(&format!("user{:03}@example.com", number % USERS)).name("Ada Lovelace");
    token.claim("role", "user").claim("fill", "x".repeat(filling)).expires_in(24 * 3600)
}

/// API keys of these numbers, each with the id of its user. All in one transaction: one by one, 50,000 take minutes.
pub(crate) async fn keys(stack: &Stack, numbers: std::ops::Range<usize>) -> Vec<(String, String)> {
    let now = SystemClock.now();
    let store = tollgate::store::open(&stack.config.store).await.expect("the store opens");
    let (mut made, mut records) = (Vec::new(), Vec::new());
    let mut user_id = UserId::new("");
    for number in numbers {
        if records.len() % KEYS_EACH == 0 {
            user_id = stack.user(&format!("keys{number}@example.com")).await.id;
        }
        let key = well_formed(number as u64);
        records.push(ApiKey {
            id: KeyId::new(format!("key_bench{number}")),
            user_id: user_id.clone(),
            name: "bench".to_owned(),
            hash: KeyHash(Sha256::digest(key.as_bytes()).into()),
            prefix: String::new(),
            last_four: String::new(),
            scopes: Vec::new(),
            rate: None,
            created_at: now,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        });
        made.push((key, user_id.as_str().to_owned()));
    }
    let outcomes = store.import_keys(&records, &Stamp::system(now)).await.expect("keys");
    assert!(outcomes.iter().all(|outcome| *outcome == Imported::Added), "every key is new");
    made
}

/// The key of a number: its form and its checksum are good.
pub(crate) fn well_formed(number: u64) -> String {
    // Numbers that follow each other give keys that differ everywhere (SplitMix64).
    let digit = |place: u64| {
        let mut bits = number.wrapping_mul(64).wrapping_add(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % 62) as u8
    };
    let random: Vec<u8> = (0..api_key::RANDOM_CHARS as u64).map(digit).collect();
    api_key::assemble(&random).expect("a key")
}

/// The request of all: a route that asks for a role, and has a limit for each user.
pub(crate) fn api() -> Request {
    agent(Request::get("/api/a"))
}

fn agent(request: Request) -> Request {
    request.header("User-Agent", "bench")
}

/// A key that only looks like one: its checksum is another.
pub(crate) fn junk(key: &str) -> String {
    let (head, last) = key.split_at(key.len() - 1);
    format!("{head}{}", if last == "A" { "B" } else { "A" })
}
