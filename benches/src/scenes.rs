//! The stages of a decision, and whole requests, as functions that can be called again and again: natively by Criterion,
//! and inside wasm by `benches/wasm`. It must not measure anything, nor sign tokens: who calls it does.

use std::{cell::RefCell, collections::BTreeMap, hint::black_box, rc::Rc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::BoxedUint;
use tollgate_core::{
    decide::{self, Caller},
    engine::{Engine, Step},
    extract::extract,
    policy::unambiguous,
    request::{Pairs, RequestView},
    respond::{HeaderPlan, Kept, Prepared, Verdict},
    settings::Compiled,
    verify::{Alg, IssuerSet, NoNative, Source, verify},
};
use tollgate_protocol::{
    Identity, KeyFacts, KeyHash, Method, Rate, api_key,
    config::{Fact, Limits},
    edge::Settings,
    issuer::{ClaimNames, Issuer, IssuerKind, Jwk, MissingParty},
    policy::{By, Fallback, Limit, LimitHeader, Policy, Route, Scope},
};

use crate::{Host, NOW, decide, engine, header_map, introduce};

/// The algorithms whose verification is measured.
pub const ALGORITHMS: [Alg; 6] = [Alg::Hs256, Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::Es384, Alg::EdDsa];
/// The verification of RS256 where the host has no crypto.
pub const IN_THE_VM: &str = "verify RS256 in Rust";
/// What it was at first, as far as it was arithmetic: the signature alone, by the `rsa` crate's own function.
pub const IN_THE_VM_AT_FIRST: &str = "the signature of RS256 alone, as at first (rsa crate, limbs of 64 bits)";
/// The whole request whose parts the stages of a known token are.
pub const KNOWN_TOKEN: &str = "known token";
/// The stages of [`KNOWN_TOKEN`] that can be called alone, in their order. What is left of the whole is `identify`: to find
/// the token and its identity in memory.
pub const STAGES_OF_KNOWN_TOKEN: [&str; 5] =
    ["read the header map", "find the rule", "extract a bearer token", "decide", "respond"];

/// Signs with the fixed key of an algorithm: the header and the claims of a token, as JSON.
pub type Sign = fn(Alg, &str, &[u8]) -> Vec<u8>;

/// What can be called again and again.
pub struct Scene {
    /// `stage` or `request`.
    pub group: &'static str,
    /// What it does.
    pub name: String,
    /// Does it once. Returns something that depends on all of it.
    pub run: Box<dyn FnMut() -> usize>,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.group, self.name)
    }
}

fn issuer(alg: Alg, jwk: Jwk) -> Issuer {
    Issuer {
        kind: IssuerKind::Legacy,
        issuer: Some(format!("https://{}.test", alg.as_str())),
        authorized_parties: vec![],
        missing_party: MissingParty::Refuse,
        audience: vec![],
        leeway_seconds: 5,
        max_lifetime_seconds: None,
        claims: ClaimNames::default(),
        keys: vec![jwk],
    }
}

/// A token of about 700 bytes.
fn token(alg: Alg, sign: Sign) -> String {
    let header = format!(r#"{{"alg":"{0}","kid":"k","typ":"JWT"}}"#, alg.as_str());
    let claims = format!(
        r#"{{"iss":"https://{}.test","sub":"user_2GIoQhbUpy0hX7B2cVkuTMinXoD","exp":{},"iat":{},"pad":"{}"}}"#,
        alg.as_str(),
        NOW.seconds() + 60,
        NOW.seconds(),
        "x".repeat(120),
    );
    String::from_utf8(sign(alg, &header, claims.as_bytes())).expect("ASCII")
}

/// Everything needs a credential; one path has a limit, whose bucket no measurement empties.
fn policy() -> Policy {
    let rate = Some(Rate { requests: u32::MAX, seconds: 1, burst: None });
    let limit =
        Limit { by: By::User, scope: Scope::Envoy, rate, tiers: BTreeMap::new(), headers: LimitHeader::ALL.to_vec() };
    let route = Route { path: "/limited/**".into(), limits: vec!["calls".into()], ..Route::default() };
    let roles = Route { path: "/api/**".into(), roles: vec!["user".into()], ..Route::default() };
    let limits = BTreeMap::from([("calls".into(), limit)]);
    Policy { fallback: Fallback::Authenticate, limits, routes: vec![route, roles], ..Policy::default() }
}

fn settings(jwk: fn(Alg) -> Jwk) -> Settings {
    let issuers = ALGORITHMS.into_iter().map(|alg| issuer(alg, jwk(alg))).collect();
    Settings { issuers, policy: policy(), ..Settings::default() }
}

fn identity(key: Option<KeyHash>) -> Identity {
    Identity {
        user_id: "usr_I8SlJqvwR3GtgJI932s5sI".into(),
        role: "user".into(),
        is_active: true,
        email: Some("ada@example.com".into()),
        name: Some("Ada Lovelace".into()),
        clerk_id: None,
        subscription: Some("pro".into()),
        tokens_remaining: Some(10_000),
        tokens_not_before: None,
        key: key.map(|hash| KeyFacts {
            id: "key_1".into(),
            hash,
            scopes: vec!["read".into()],
            expires_at: None,
            rate: None,
        }),
    }
}

/// Everything that is measured. `jwk` gives the public key of an algorithm under the key id `k`.
///
/// # Panics
/// If a scene does not end as it should: each is tried once.
pub fn all(sign: Sign, jwk: fn(Alg) -> Jwk) -> Vec<Scene> {
    let mut scenes = stages(sign, jwk);
    scenes.extend(requests(sign, jwk));
    for scene in &mut scenes {
        assert!((scene.run)() > 0, "{scene:?}");
    }
    scenes
}

fn scene(group: &'static str, name: impl Into<String>, run: impl FnMut() -> usize + 'static) -> Scene {
    Scene { group, name: name.into(), run: Box::new(run) }
}

/// What lives as long as the program: scenes borrow from it.
fn for_ever<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn stages(sign: Sign, jwk: fn(Alg) -> Jwk) -> Vec<Scene> {
    let settings = settings(jwk);
    let map = for_ever(header_map("/api/templates/7", "authorization", &format!("Bearer {}", token(Alg::Rs256, sign))));
    let request = for_ever(RequestView::read(Pairs::open(map).expect("a map")));
    let compiled = for_ever(Compiled::compile(&settings).expect("settings").0);
    let (set, _) = IssuerSet::compile(&settings.issuers);
    let set = for_ever(set);
    let find = move || {
        let path = unambiguous(black_box(request).path).expect("a path");
        compiled.policy.rule(request.method, request.authority, path).expect("a rule").rule
    };
    let identity = for_ever(identity(None));
    let caller = Caller {
        method: Method::Legacy,
        identity,
        scopes: &[],
        session_id: Some("sess_2GIoQhbUpy0hX7B2cVkuTMinXoD"),
        issued_at: Some(NOW.seconds()),
        actor: None,
    };
    let permit = for_ever(decide::decide(caller, find(), None, NOW.seconds()).expect("a permit"));
    let [person, credential] = [Kept::default(), Kept::default()];
    let mut scenes = vec![
        scene("stage", STAGES_OF_KNOWN_TOKEN[0], || {
            RequestView::read(Pairs::open(black_box(map)).expect("a map")).path.len()
        }),
        scene("stage", STAGES_OF_KNOWN_TOKEN[1], move || find().roles.len()),
        scene("stage", STAGES_OF_KNOWN_TOKEN[2], || usize::from(extract(black_box(request), false).is_ok())),
        scene("stage", STAGES_OF_KNOWN_TOKEN[3], move || {
            usize::from(decide::decide(black_box(caller), find(), None, NOW.seconds()).is_ok())
        }),
        scene("stage", STAGES_OF_KNOWN_TOKEN[4], move || {
            let prepared = Prepared { person: &person, credential: &credential, facts: &[Fact::UserId, Fact::Method] };
            HeaderPlan::permitted(black_box(permit), prepared, find(), None, request, NOW.seconds()).headers().count()
        }),
    ];
    scenes.extend(ALGORITHMS.map(|alg| {
        let token = token(alg, sign);
        scene("stage", format!("verify {} in Rust", alg.as_str()), move || {
            let token = black_box(token.as_bytes());
            usize::from(verify(token, Source::Header, set, NOW.seconds(), &Limits::default(), &NoNative).is_ok())
        })
    }));
    scenes
}

/// The signature of a token by the `rsa` crate's own function; `jwk` is its key.
///
/// # Panics
/// If that is no RSA key.
pub fn fall_back_at_first(sign: Sign, jwk: &Jwk) -> Scene {
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let number = |member: &Option<String>| BoxedUint::from_be_slice_vartime(&decoded(member.as_deref().expect("RSA")));
    let key = rsa::PublicKey::new(number(&jwk.n), number(&jwk.e)).expect("a key");
    let token = token(Alg::Rs256, sign);
    let (message, signature) = token.rsplit_once('.').expect("a token");
    let (message, signature) = (message.to_owned(), decoded(signature));
    scene("stage", IN_THE_VM_AT_FIRST, move || {
        let message = black_box(message.as_bytes());
        usize::from(key.pkcs1v15_verify::<sha2::Sha256>(message, &signature).is_ok())
    })
}

fn requests(sign: Sign, jwk: fn(Alg) -> Jwk) -> Vec<Scene> {
    let host = Rc::new(Host::default());
    let engine = Rc::new(RefCell::new(engine(&settings(jwk))));
    let key = api_key::assemble(&[7; api_key::RANDOM_CHARS]).expect("a key");
    let junk = key.replace('7', "8");
    let bearer = format!("Bearer {}", token(Alg::Rs256, sign));
    let hash = KeyHash(<sha2::Sha256 as sha2::Digest>::digest(key.as_bytes()).into());
    let known_key = header_map("/api/templates/7", "x-api-key", &key);
    let known_token = header_map("/api/templates/7", "authorization", &bearer);
    introduce(&mut engine.borrow_mut(), &known_key, &host, identity(Some(hash)));
    introduce(&mut engine.borrow_mut(), &known_token, &host, identity(None));
    [
        (KNOWN_TOKEN, known_token),
        ("known API key", known_key),
        ("known API key, limited", header_map("/limited/7", "x-api-key", &key)),
        ("junk API key, refused", header_map("/api/templates/7", "x-api-key", &junk)),
        ("no credential, refused", header_map("/api/templates/7", "accept-language", "en")),
    ]
    .map(|(name, map)| {
        let (engine, host) = (Rc::clone(&engine), Rc::clone(&host));
        let is_refused = name.ends_with("refused");
        scene("request", name, move || once(&mut engine.borrow_mut(), &map, &host, is_refused))
    })
    .into()
}

/// Headers for the backend, or bytes of the refusal.
fn once(engine: &mut Engine, map: &[u8], host: &Host, is_refused: bool) -> usize {
    match decide(engine, black_box(map), host) {
        Step::Done(Verdict::Forward(plan)) if !is_refused => plan.headers().count(),
        Step::Done(Verdict::Refuse(reply)) if is_refused => reply.body.len(),
        other => panic!("{other:?}"),
    }
}
