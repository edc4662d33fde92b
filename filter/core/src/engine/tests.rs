//! The road as a whole: what waits, what is shared, what is remembered, and what a change takes back. Each test reads
//! as a story told to one [`Vm`], a VM with a fake host.

use std::{cell::RefCell, collections::BTreeMap};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tollgate_protocol::{
    Cursor, Identity, KeyFacts, KeyHash,
    edge::{Change, Outcome, Settings},
};

use super::*;
use crate::{base64url, request::Field, verify::HashName};

mod caches;
mod credits;
mod limits;
mod revoked;
mod waits;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const T0: u64 = 1_800_000_000_000;

/// The memory that the VMs of one Envoy share; no native crypto.
#[derive(Default)]
struct Shared(RefCell<BTreeMap<String, Vec<u8>>>);

impl NativeVerifier for Shared {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl World for Shared {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        self.0.borrow().get(slot).cloned()
    }
    fn shared_set(&self, slot: &str, value: &[u8]) {
        self.0.borrow_mut().insert(slot.to_owned(), value.to_vec());
    }
    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.shared_get(slot).map(|value| (value, 1))
    }
    fn shared_swap(&self, slot: &str, value: &[u8], _: u32) -> bool {
        self.shared_set(slot, value);
        true
    }
    fn client_address(&self) -> Option<Vec<u8>> {
        None
    }
}

struct Vm<'a> {
    engine: Engine,
    shared: &'a Shared,
    now: Now,
}

/// What a request meets, in short.
#[derive(Debug, PartialEq)]
enum Met {
    /// Let through as this user (empty: anonymous).
    User(String),
    Refused(Code),
    /// Has to wait; with the call that is made.
    Waits(Until, Option<Call>),
}
use Met::{Refused, User, Waits};

fn config(json: &str) -> PluginConfig {
    let json = format!(r#"{{"control_plane":{{"cluster":"c","edge_secret":"0123456789abcdef"}}{json}}}"#);
    PluginConfig::parse(json.as_bytes()).unwrap()
}

fn settings() -> Settings {
    serde_json::from_value(serde_json::json!({
        "issuers": [
            {"kind": "legacy", "leeway_seconds": 5, "keys": [{"kty": "oct", "alg": "HS256",
             "k": base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, SECRET)}]},
            {"kind": "clerk", "issuer": "https://clerk.test", "leeway_seconds": 5, "keys": []},
        ],
        "policy": {"fallback": "authenticate", "routes": [
            {"path": "/public/**", "auth": "none"},
            {"path": "/optional", "auth": "optional"},
            {"path": "/keys-only", "accept": ["api_key"]},
            {"path": "/admin", "roles": ["admin"]},
            {"path": "/paid", "cost": {"at_least": 5, "reserve": 5}},
            {"path": "/watched", "mode": "shadow", "cost": {"at_least": 5, "reserve": 5}},
            {"path": "/streamed", "cost": {"counted": {"body": ["n"]}, "at_least": 1, "reserve": 2}},
        ]},
    }))
    .unwrap()
}

fn cursor(seq: u64) -> Cursor {
    Cursor::new("e".into(), seq)
}

fn identity(user: &str) -> Identity {
    serde_json::from_value(serde_json::json!({"user_id": user, "role": "user", "is_active": true})).unwrap()
}

fn key(number: u8) -> String {
    api_key::assemble(&[number; 40]).unwrap()
}

fn hash(key: &str) -> KeyHash {
    subject::key_hash(key.as_bytes())
}

fn holder(user: &str, key: &str) -> Identity {
    let facts =
        KeyFacts { id: "k1".into(), hash: hash(key), scopes: vec!["read".into()], expires_at: None, rate: None };
    Identity { key: Some(facts), ..identity(user) }
}

/// A legacy token of a subject that expires so many seconds after [`T0`].
fn token(subject: &str, expires_in: u64) -> String {
    sign(&format!(r#"{{"sub":"{subject}","exp":{}}}"#, T0 / 1000 + expires_in))
}

/// A legacy token of these claims.
fn sign(claims: &str) -> String {
    sign_with(r#"{"alg":"HS256"}"#, claims)
}

/// The same with another header.
fn sign_with(header: &str, claims: &str) -> String {
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut mac = <Hmac<Sha256>>::new_from_slice(SECRET).unwrap();
    mac.update(signed.as_bytes());
    let signature = mac.finalize().into_bytes();
    format!("{signed}.{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature))
}

fn answer(outcome: Outcome, as_of: u64) -> Option<ResolveAnswer> {
    Some(ResolveAnswer { as_of: cursor(as_of), outcome })
}

impl<'a> Vm<'a> {
    /// A VM that has no settings yet.
    fn blank(shared: &'a Shared) -> Self {
        let seeds = Seeds { hash: [1, 2, 3, 4], nonce: [7; 16] };
        Self { engine: Engine::new(&config(""), seeds), shared, now: Now(T0) }
    }

    /// A VM that follows the feed from 1 on.
    fn ready(shared: &'a Shared) -> Self {
        let mut vm = Self::blank(shared);
        vm.engine.use_settings(Compiled::compile(&settings()).unwrap().0);
        vm.engine.heard(vm.now);
        vm.engine.start_at(&cursor(1));
        vm
    }

    fn turn(&mut self, path: &str, headers: &[(&str, &str)], turn: Turn<'_>) -> Met {
        let mut request = RequestView { method: b"GET", path: path.as_bytes(), ..RequestView::default() };
        for (name, value) in headers {
            let value = Field::One(value.as_bytes());
            match *name {
                "x-api-key" => request.api_key = value,
                "authorization" => request.authorization = value,
                other => panic!("{other}"),
            }
        }
        match self.engine.decide(&request, turn, self.now, self.shared) {
            Step::Done(Verdict::Refuse(reply)) => Refused(reply.code),
            Step::Wait(wait) => Waits(wait.until, wait.call),
            Step::Done(Verdict::Forward(plan)) => {
                let user = plan.header(tollgate_protocol::headers::USER_ID);
                User(user.map(|value| String::from_utf8(value.to_vec()).unwrap()).unwrap_or_default())
            }
        }
    }

    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Met {
        self.turn(path, headers, Turn::First)
    }

    fn with_key(&mut self, key: &str) -> Met {
        self.get("/", &[("x-api-key", key)])
    }

    fn with_token(&mut self, token: &str) -> Met {
        self.get("/", &[("authorization", &format!("Bearer {token}"))])
    }

    /// Asks for a key and takes in the answer: the whole of a first request.
    fn learn(&mut self, key: &str, outcome: Outcome, as_of: u64) -> Settled {
        let Waits(Until::Identity(subject), Some(_)) = self.with_key(key) else { panic!("nothing was asked") };
        self.engine.answered(subject, answer(outcome, as_of), self.now, self.shared)
    }

    fn changed(&mut self, change: Change, seq: u64) {
        self.engine.changed(&[change], &cursor(seq), self.now);
    }

    fn later(&mut self, milliseconds: u64) {
        self.now = Now(self.now.0 + milliseconds);
    }
}

#[test]
fn routes_decide_before_credentials_are_looked_at() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    assert_eq!(vm.get("/public/x", &[("authorization", "junk")]), User(String::new()));
    assert_eq!(vm.get("/optional", &[]), User(String::new()));
    assert_eq!(vm.get("/optional", &[("authorization", "junk")]), Refused(Code::MalformedCredential));
    assert_eq!(vm.get("/", &[]), Refused(Code::MissingCredential));
    assert_eq!(vm.get("/a/../b", &[]), Refused(Code::AmbiguousPath));
    let bearer = format!("Bearer {}", token("u", 60));
    assert_eq!(vm.get("/keys-only", &[("authorization", &bearer)]), Refused(Code::MethodNotAccepted));
}

#[test]
fn junk_keys_cost_no_look_up() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    for junk in ["sk_", "sk_short", "nonsense", &key(1)[..48], &format!("{}x", key(1))] {
        assert_eq!(vm.with_key(junk), Refused(Code::ApiKeyMalformed), "{junk}");
    }
}

#[test]
fn a_token_in_memory_is_still_judged_by_the_time() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let token = token("u1", 60);
    let Waits(Until::Identity(subject), Some(_)) = vm.with_token(&token) else { panic!() };
    let _ = vm.engine.answered(subject, answer(Outcome::Identity(identity("u1")), 1), vm.now, &shared);
    assert_eq!(vm.with_token(&token), User("u1".into()));
    vm.later(64_000);
    assert_eq!(vm.with_token(&token), User("u1".into()), "within the skew of 5 s");
    vm.later(1_000);
    assert_eq!(vm.with_token(&token), Refused(Code::TokenExpired));
}

#[test]
fn a_token_in_memory_does_not_outlive_its_key() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let token = token("u1", 60);
    let Waits(Until::Identity(subject), Some(_)) = vm.with_token(&token) else { panic!() };
    let _ = vm.engine.answered(subject, answer(Outcome::Identity(identity("u1")), 1), vm.now, &shared);
    assert_eq!(vm.with_token(&token), User("u1".into()));
    let mut without = settings();
    without.issuers.remove(0);
    vm.engine.use_settings(Compiled::compile(&without).unwrap().0);
    assert_eq!(vm.with_token(&token), Refused(Code::TokenWrongIssuer));
}

#[test]
fn a_token_that_has_expired_is_remembered_as_that_and_nothing_else() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let token = token("u1", 60);
    vm.later(65_000);
    for _ in 0..2 {
        assert_eq!(vm.with_token(&token), Refused(Code::TokenExpired));
        assert_eq!(vm.engine.cached().0, 1);
    }
    vm.now = Now(vm.now.0 - 1_000);
    assert!(matches!(vm.with_token(&token), Waits(Until::Identity(_), Some(_))), "the clock was set back");
    vm.later(1_000);
    assert_eq!(vm.with_token(&token), Refused(Code::TokenExpired));
    let mut other = settings();
    other.issuers[0].leeway_seconds = 60;
    vm.engine.use_settings(Compiled::compile(&other).unwrap().0);
    assert!(matches!(vm.with_token(&token), Waits(Until::Identity(_), _)), "other settings, another judgement");
    other.issuers.remove(0);
    vm.engine.use_settings(Compiled::compile(&other).unwrap().0);
    assert_eq!(vm.with_token(&token), Refused(Code::TokenWrongIssuer));
}

#[test]
fn a_token_that_ends_as_a_known_one_is_another() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let (known, other) = (token("u1", 60), token("admin", 60));
    let Waits(Until::Identity(subject), Some(_)) = vm.with_token(&known) else { panic!() };
    let _ = vm.engine.answered(subject, answer(Outcome::Identity(identity("u1")), 1), vm.now, &shared);
    assert_eq!(vm.with_token(&known), User("u1".into()));
    let (signed, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = known.rsplit_once('.').unwrap();
    assert_eq!(vm.with_token(&format!("{signed}.{signature}")), Refused(Code::TokenBadSignature));
    for at in 0..known.len() {
        let mut bytes = known.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert!(matches!(vm.with_token(&forged), Refused(_)), "byte {at}");
    }
    assert_eq!(vm.with_token(&known), User("u1".into()));
}

#[test]
fn secrets_of_an_engine_do_not_print() {
    let shared = Shared::default();
    let vm = Vm::ready(&shared);
    assert!(!format!("{:?}", vm.engine).contains("0123456789"));
    assert!(base64url("a b").is_none());
}
