//! Each stage of a decision alone, and whole requests, natively: where the time goes inside the core. What Envoy adds
//! around it is not in these figures.

use std::{collections::BTreeMap, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tollgate_benches::{Host, NOW, decide, engine, header_map, introduce};
use tollgate_core::{
    extract::extract,
    request::{Pairs, RequestView},
    respond::Verdict,
    verify::{Alg, IssuerSet, NoNative, Source, verify},
};
use tollgate_protocol::{
    Identity, KeyFacts, KeyHash, Rate, api_key,
    config::Limits,
    edge::Settings,
    issuer::{ClaimNames, Issuer, IssuerKind, MissingParty},
    policy::{By, Fallback, Limit, LimitHeader, Policy, Route, Scope},
};

#[allow(dead_code)]
#[path = "../../filter/core/tests/checks/forge.rs"]
mod forge;

const ALGORITHMS: [Alg; 6] = [Alg::Hs256, Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::Es384, Alg::EdDsa];

fn issuer(alg: Alg) -> Issuer {
    Issuer {
        kind: IssuerKind::Legacy,
        issuer: Some(format!("https://{}.test", alg.as_str())),
        authorized_parties: vec![],
        missing_party: MissingParty::Refuse,
        audience: vec![],
        leeway_seconds: 5,
        max_lifetime_seconds: None,
        claims: ClaimNames::default(),
        keys: vec![forge::Signer::new(alg).jwk(Some("k"))],
    }
}

/// A token of about 700 bytes.
fn token(alg: Alg) -> String {
    let header = format!(r#"{{"alg":"{0}","kid":"k","typ":"JWT"}}"#, alg.as_str());
    let claims = format!(
        r#"{{"iss":"https://{}.test","sub":"user_2GIoQhbUpy0hX7B2cVkuTMinXoD","exp":{},"iat":{},"pad":"{}"}}"#,
        alg.as_str(),
        NOW.seconds() + 60,
        NOW.seconds(),
        "x".repeat(120),
    );
    String::from_utf8(forge::Signer::new(alg).token(&header, claims.as_bytes())).expect("ASCII")
}

/// Everything needs a credential; one path has a limit, whose bucket no measurement empties.
fn policy() -> Policy {
    let rate = Some(Rate { requests: u32::MAX, seconds: 1, burst: None });
    let limit =
        Limit { by: By::User, scope: Scope::Envoy, rate, tiers: BTreeMap::new(), headers: LimitHeader::ALL.to_vec() };
    let route = Route { path: "/limited/**".into(), limits: vec!["calls".into()], ..Route::default() };
    let limits = BTreeMap::from([("calls".into(), limit)]);
    Policy { fallback: Fallback::Authenticate, limits, routes: vec![route], ..Policy::default() }
}

fn settings() -> Settings {
    Settings { issuers: ALGORITHMS.into_iter().map(issuer).collect(), policy: policy(), ..Settings::default() }
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

fn stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage");
    let map = header_map("/api/templates/7", "authorization", &format!("Bearer {}", token(Alg::Rs256)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("read the header map", |b| {
        b.iter(|| RequestView::read(Pairs::open(black_box(&map)).expect("a map")).path.len())
    });
    let request = RequestView::read(Pairs::open(&map).expect("a map"));
    group.bench_function("extract a bearer token", |b| b.iter(|| extract(black_box(&request), false).is_ok()));
    let (set, _) = IssuerSet::compile(&settings().issuers);
    for alg in ALGORITHMS {
        let token = token(alg);
        group.bench_function(format!("verify {} in Rust", alg.as_str()), |b| {
            b.iter(|| {
                let token = black_box(token.as_bytes());
                assert!(verify(token, Source::Header, &set, NOW.seconds(), &Limits::default(), &NoNative).is_ok());
            })
        });
    }
    group.finish();
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    let host = Host::default();
    let mut engine = engine(&settings());
    let passes = |step| match step {
        tollgate_core::engine::Step::Done(Verdict::Forward(plan)) => plan.headers().count(),
        other => panic!("{other:?}"),
    };
    let refused = |step| match step {
        tollgate_core::engine::Step::Done(Verdict::Refuse(reply)) => reply.body.len(),
        other => panic!("{other:?}"),
    };

    let key = api_key::assemble(&[7; api_key::RANDOM_CHARS]).expect("a key");
    let map = header_map("/api/templates/7", "x-api-key", &key);
    let hash = KeyHash(<sha2::Sha256 as sha2::Digest>::digest(key.as_bytes()).into());
    introduce(&mut engine, &map, &host, identity(Some(hash)));
    group.bench_function("known API key", |b| b.iter(|| passes(decide(&mut engine, black_box(&map), &host))));

    let map = header_map("/limited/7", "x-api-key", &key);
    group.bench_function("known API key, limited", |b| b.iter(|| passes(decide(&mut engine, black_box(&map), &host))));

    let map = header_map("/api/templates/7", "authorization", &format!("Bearer {}", token(Alg::Rs256)));
    introduce(&mut engine, &map, &host, identity(None));
    group.bench_function("known token", |b| b.iter(|| passes(decide(&mut engine, black_box(&map), &host))));

    let map = header_map("/api/templates/7", "x-api-key", &key.replace('7', "8"));
    group.bench_function("junk API key, refused", |b| b.iter(|| refused(decide(&mut engine, black_box(&map), &host))));

    let map = header_map("/api/templates/7", "accept-language", "en");
    group.bench_function("no credential, refused", |b| b.iter(|| refused(decide(&mut engine, black_box(&map), &host))));
    group.finish();
}

criterion_group!(benches, stages, requests);
criterion_main!(benches);
