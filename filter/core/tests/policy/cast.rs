//! People with credentials of every kind, and an engine that asks about them what an Envoy would ask.

use std::{cell::RefCell, collections::HashMap};

use serde_json::{Value, json};
use tollgate_core::{
    engine::{Call, Engine, Now, Seeds, Step, Turn, Until, World},
    request::{Field, RequestView},
    respond::Verdict,
    settings::Compiled,
    verify::{Alg, HashName, NativeVerifier},
};
use tollgate_protocol::{
    Code, Cursor, Identity, KeyHash, api_key,
    config::PluginConfig,
    edge::{Outcome, ResolveAnswer, ResolveRequest, Settings},
    headers,
};

#[allow(dead_code)]
#[path = "../checks/forge.rs"]
mod forge;

const NOW: Now = Now(1_900_000_000_000);
const CLERK: &str = "https://clerk.example";

#[derive(Default)]
struct Host(RefCell<HashMap<String, Vec<u8>>>);

impl NativeVerifier for Host {
    // Whether a signature holds is tested elsewhere, and costs.
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        Some(true)
    }
}

impl World for Host {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        self.0.borrow().get(slot).cloned()
    }

    fn shared_set(&self, slot: &str, value: &[u8]) {
        self.0.borrow_mut().insert(slot.to_owned(), value.to_vec());
    }

    // One worker alone: nobody writes between its reading and its writing.
    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.shared_get(slot).map(|value| (value, 1))
    }

    fn shared_swap(&self, slot: &str, value: &[u8], _: u32) -> bool {
        self.shared_set(slot, value);
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        Some(b"192.0.2.1:4711".to_vec())
    }
}

/// Somebody: name, kind of credential, role, subscription, scopes of the key, whether active.
pub(crate) type Person = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], bool);

pub(crate) const PEOPLE: [Person; 9] = [
    ("ada", "clerk", "user", "free", &[], true),
    ("pia", "clerk", "user", "pro", &[], true),
    ("boss", "clerk", "admin", "free", &[], true),
    ("old", "legacy", "user", "enterprise", &[], true),
    ("dev", "legacy", "developer", "pro", &[], true),
    ("key", "api_key", "user", "free", &["read"], true),
    ("key2", "api_key", "developer", "pro", &["read", "write"], true),
    ("bosskey", "api_key", "admin", "enterprise", &["admin"], true),
    ("off", "api_key", "admin", "enterprise", &["read", "write", "admin"], false),
];

pub(crate) struct Cast {
    engine: Engine,
    host: Host,
    /// When refusals were told last, in milliseconds.
    told: u64,
}

impl Cast {
    /// An engine with this policy, as JSON.
    pub(crate) fn new(policy: &str) -> Self {
        let policy: Value = serde_json::from_str(policy).unwrap();
        let key = |alg, kid: &str| forge::Signer::new(alg).jwk(Some(kid));
        let settings: Settings = serde_json::from_value(json!({
            "issuers": [
                {"kind": "clerk", "issuer": CLERK, "leeway_seconds": 5, "missing_party": "accept",
                 "keys": [key(Alg::Rs256, "c")]},
                {"kind": "legacy", "leeway_seconds": 5, "keys": [key(Alg::Hs256, "l")]},
            ],
            "policy": policy,
        }))
        .unwrap();
        let config = br#"{"control_plane":{"cluster":"c","edge_secret":"0123456789abcdef"}}"#;
        let seeds = Seeds { hash: [1, 2, 3, 4], nonce: [5; 16] };
        let mut engine = Engine::new(&PluginConfig::parse(config).unwrap(), seeds);
        engine.use_settings(Compiled::compile(&settings).unwrap_or_else(|faults| panic!("{faults:?}")).0);
        engine.heard(NOW);
        engine.start_at(&Cursor::new("e".into(), 1));
        Self { engine, host: Host::default(), told: NOW.0 }
    }

    /// What somebody gets: `pass` as themselves, `anonymous`, or the code of the refusal. `-` is nobody, `junk` a header
    /// that is no credential; `ada@cookie` is Ada with her token in a cookie. On a route that is only watched: the same after `watched:`. `target` is a path, or a host and a path.
    pub(crate) fn ask(&mut self, method: &str, target: &str, who: &str) -> String {
        let (host, path) = match target.find('/') {
            Some(at) if at > 0 => target.split_at(at),
            _ => ("any.example", target),
        };
        let (who, by_cookie) = who.strip_suffix("@cookie").map_or((who, false), |who| (who, true));
        let credential = credential(who);
        let cookie = credential.as_deref().and_then(|bearer| bearer.strip_prefix("Bearer "));
        let cookie = cookie.map(|token| format!("a=b; __session={token}")).unwrap_or_default();
        let mut request = RequestView {
            method: method.as_bytes(),
            authority: host.as_bytes(),
            path: path.as_bytes(),
            ..RequestView::default()
        };
        match &credential {
            None => {}
            Some(_) if by_cookie => request.cookies.push(cookie.as_bytes()),
            Some(key) if key.starts_with("sk_") => request.api_key = Field::One(key.as_bytes()),
            Some(bearer) => request.authorization = Field::One(bearer.as_bytes()),
        }
        let mut step = self.engine.decide(&request, Turn::First, NOW, &self.host);
        if let Step::Wait(wait) = &step {
            let (Until::Identity(subject), Some(Call::Resolve(_, asked))) = (wait.until.clone(), &wait.call) else {
                panic!("{step:?}")
            };
            let outcome = Outcome::Identity(identity(who, asked));
            let answer = ResolveAnswer { as_of: Cursor::new("e".into(), 1), outcome };
            let _ = self.engine.answered(subject, Some(answer), NOW, &self.host);
            step = self.engine.decide(&request, Turn::First, NOW, &self.host);
        }
        let refused = match &step {
            Step::Done(Verdict::Refuse(reply)) => Some((reply.code, false)),
            Step::Done(Verdict::Forward(plan)) => plan.shadow.and_then(Result::err).map(|code| (code, true)),
            Step::Wait(_) => None,
        };
        if let Some((code, watched)) = refused {
            self.is_told(&request, code, watched);
        }
        match step {
            Step::Done(Verdict::Refuse(reply)) => reply.code.to_string(),
            Step::Done(Verdict::Forward(plan)) if plan.shadow.is_some() => {
                let told = plan.header(headers::SHADOW).expect("it is told");
                let kept = plan.remove.is_empty();
                format!("{}:{}", if kept { "watched" } else { "changed" }, String::from_utf8_lossy(told))
            }
            Step::Done(Verdict::Forward(plan)) => match plan.header(headers::USER_ID) {
                Some(id) if id == id_of(who).as_bytes() => "pass".into(),
                Some(id) => format!("as {}", String::from_utf8_lossy(id)),
                None => "anonymous".into(),
            },
            Step::Wait(wait) => panic!("it waits: {wait:?}"),
        }
    }
}

impl Cast {
    /// What the control plane is told of a refusal is what the client was told.
    fn is_told(&mut self, request: &RequestView<'_>, code: Code, watched: bool) {
        let request = RequestView {
            method: request.method,
            path: request.path,
            authority: request.authority,
            request_id: b"id-1",
            api_key: request.api_key,
            authorization: request.authorization,
            cookies: request.cookies.clone(),
            grpc: request.grpc,
            reserved: Vec::new(),
        };
        self.engine.note_refusal(&request, code, watched, NOW);
        self.told += 10_000;
        let report = self.engine.refusals().due(self.told).expect("a report");
        self.engine.refusals().arrived(self.told);
        let [refused] = &report.refused[..] else { panic!("{report:?}") };
        assert_eq!((&*refused.request_id, refused.code, refused.watched), ("id-1", code, watched), "{refused:?}");
        let counted: Vec<_> = report.watched.iter().map(|count| (&count.route, count.code, count.count)).collect();
        let expected = if watched { vec![(&refused.route, code, 1)] } else { Vec::new() };
        assert_eq!(counted, expected);
        match code {
            Code::AmbiguousPath => assert_eq!(refused.route, "none"),
            Code::RouteDenied => assert_eq!(refused.route, "default"),
            _ => assert_ne!(refused.route, "none"),
        }
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains("sk_") && !text.contains("eyJ"), "{text}");
    }
}

fn id_of(who: &str) -> String {
    format!("usr_{who}")
}

fn credential(who: &str) -> Option<String> {
    let kind = PEOPLE.iter().find(|person| person.0 == who).map(|person| person.1);
    let times = format!(r#""iat":{},"exp":{}"#, NOW.seconds(), NOW.seconds() + 60);
    let bearer = |alg, kid: &str, claims: String| {
        let header = format!(r#"{{"alg":"{}","kid":"{kid}"}}"#, Alg::as_str(alg));
        let token = forge::Signer::new(alg).token(&header, claims.as_bytes());
        Some(format!("Bearer {}", String::from_utf8(token).unwrap()))
    };
    match (who, kind) {
        ("-", _) => None,
        ("junk", _) => Some("Basic YTpi".into()),
        (_, Some("clerk")) => {
            let claims =
                format!(r#"{{"iss":"{CLERK}","sub":"user_{who}","sid":"sess_1","nbf":{},{times}}}"#, NOW.seconds());
            bearer(Alg::Rs256, "c", claims)
        }
        (_, Some("legacy")) => bearer(Alg::Hs256, "l", format!(r#"{{"sub":"{}",{times}}}"#, id_of(who))),
        (_, Some(_)) => {
            let number = PEOPLE.iter().position(|person| person.0 == who).unwrap();
            api_key::assemble(&[u8::try_from(number).unwrap(); 40])
        }
        (_, None) => panic!("nobody is called {who}"),
    }
}

fn identity(who: &str, asked: &ResolveRequest) -> Identity {
    let (_, _, role, subscription, scopes, active) = PEOPLE.into_iter().find(|person| person.0 == who).unwrap();
    let key = match asked {
        ResolveRequest::ApiKey { hash: KeyHash(hash) } => {
            json!({"id": "key_1", "hash": KeyHash(*hash), "scopes": scopes})
        }
        ResolveRequest::Clerk { .. } | ResolveRequest::Legacy { .. } => Value::Null,
    };
    let identity = json!({
        "user_id": id_of(who), "role": role, "is_active": active, "subscription": subscription, "key": key,
        "tokens_remaining": 100,
    });
    serde_json::from_value(identity).unwrap()
}
