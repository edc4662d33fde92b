//! The wire between filter and control plane, held to checked-in examples: what stands in `protocol/golden/v1` has to
//! be read, and written again as it stands. A change of shape without a change there is a failing test.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tollgate::service::policy;
use tollgate_core::policy::CompiledPolicy;
use tollgate_protocol::{
    Code, Revocation, Revoked,
    credits::{LeaseAnswer, LeaseOutcome, LeaseRequest, TakeOutcome, UsageAnswer, UsageReport},
    edge::{Change, ResolveAnswer, ResolveRequest, SyncAnswer},
    headers,
    limits::{LimitsAnswer, LimitsReport},
    problem::Problem,
    refusals::RefusalReport,
};

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/golden/v1").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Reads an example, writes it, and compares; then once more with a member that a newer version might add.
#[track_caller]
fn check<T: serde::Serialize + serde::de::DeserializeOwned>(name: &str) -> T {
    let text = golden(name);
    let read: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let wanted: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), wanted, "{name}");
    let mut newer = wanted;
    newer.as_object_mut().unwrap().insert("added_later".into(), Value::Bool(true));
    serde_json::from_value::<T>(newer).unwrap_or_else(|e| panic!("{name} with a member more: {e}"));
    read
}

#[test]
fn every_message_reads_and_writes_as_it_is_written_down() {
    let full: SyncAnswer = check("sync-full.json");
    assert_eq!(full.settings.unwrap().issuers.len(), 2);
    let changes: SyncAnswer = check("sync-changes.json");
    assert_eq!(changes.changes.len(), 6);
    let kinds: Vec<Revoked> = changes
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Revoked { revocation, .. } => Some(revocation.what),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [Revoked::Session, Revoked::Token, Revoked::Key]);
    let reset: SyncAnswer = check("sync-revocations.json");
    assert_eq!(reset.revocations.len(), 2);
    check::<ResolveRequest>("resolve-key.json");
    check::<ResolveRequest>("resolve-clerk.json");
    check::<ResolveRequest>("resolve-legacy.json");
    check::<ResolveAnswer>("answer-identity.json");
    check::<ResolveAnswer>("answer-refused.json");
    check::<UsageReport>("usage.json");
    check::<UsageAnswer>("usage-answer.json");
    check::<LeaseRequest>("leases.json");
    check::<LeaseAnswer>("leases-answer.json");
    check::<LimitsReport>("limits.json");
    check::<LimitsAnswer>("limits-answer.json");
    check::<RefusalReport>("refusals.json");
    let problem: Problem = check("problem.json");
    assert_eq!(problem, Problem::new(problem.code, &problem.request_id));
}

#[test]
fn a_kind_of_change_that_is_not_known_is_read_as_such() {
    let newer = r#"{"cursor":"a.1","changes":[{"what":"session","sid":"sess_1","seq":4}]}"#;
    let answer: SyncAnswer = serde_json::from_str(newer).unwrap();
    assert_eq!(answer.changes, [Change::Unknown]);
}

#[test]
fn an_outcome_of_a_lease_that_is_not_known_is_no_lease() {
    let newer =
        r#"{"taken":[{"request":"1","outcome":"queued","place":3}],"renewed":[{"id":"a","outcome":"recalled"}]}"#;
    let answer: LeaseAnswer = serde_json::from_str(newer).unwrap();
    assert_eq!(answer.taken[0].outcome, TakeOutcome::Unknown);
    assert_eq!(answer.renewed[0].outcome, LeaseOutcome::Unknown);
}

#[test]
fn a_kind_of_revocation_that_is_not_known_is_read_as_such() {
    let newer = r#"{"what":"device","id":"d1","until":1800000000}"#;
    let revocation: Revocation = serde_json::from_str(newer).unwrap();
    assert_eq!((revocation.what, revocation.id.as_str()), (Revoked::Unknown, "d1"));
}

#[test]
fn the_catalogue_of_codes_is_as_written_down() {
    let lines: Vec<String> = Code::ALL.iter().map(|code| format!("{} {}", code.status(), code)).collect();
    let wanted = golden("codes.txt");
    assert_eq!(lines, wanted.lines().collect::<Vec<_>>());
}

#[test]
fn the_reserved_headers_are_as_written_down() {
    assert_eq!(headers::IDENTITY, golden("headers.txt").lines().collect::<Vec<_>>());
}

#[test]
fn secrets_on_the_wire_do_not_print() {
    let full: SyncAnswer = serde_json::from_str(&golden("sync-full.json").replace("\"AAAA\"", "\"c2VjcmV0\"")).unwrap();
    assert!(!format!("{full:?}").contains("c2VjcmV0"));
}

/// Rules as somebody might write them, good ones and bad ones, near what is just allowed.
fn rules() -> impl Strategy<Value = String> {
    let word = |words: &[&'static str]| prop::sample::select(words.to_vec());
    let unit = word(&["s", "min", "hour", "day"]);
    let number = || prop_oneof![1..10_u32, 364..370_u32, 2_500..2_600_u32, any::<u32>()];
    let rate = (number(), unit, prop::option::of(number())).prop_map(|(requests, unit, burst)| match burst {
        Some(burst) => format!("{requests}/{unit} burst {burst}"),
        None => format!("{requests}/{unit}"),
    });
    let by = word(&["user", "key", "address", "endpoint"]);
    let limits = prop::collection::vec((by, rate), 0..3);
    let path =
        word(&["/", "/a", "/a/**", "/{x}", "/{user_id}/b", "/a/{user_id}/**", "/**", "a", "/a//b", "/%61", "/a b"]);
    let more = word(&[
        "",
        "auth = \"none\"",
        "auth = \"optional\"",
        "methods = [\"GET\", \"POST\"]",
        "methods = [\"GET\"]",
        "host = \"*.h.test\"",
        "host = \"h.test\"",
        "owner = \"user_id\"",
        "accept = [\"cookie\"]",
        "roles = [\"admin\"]",
        "scopes = [\"a:b\"]",
        "cost = 18446744073709551615",
        "cost = { body = \"a.b\", reserve = 4 }",
        "cost = { header = \"x-used\", at_least = 0 }",
        "limits = [\"l0\"]",
        "limits = [\"l0\", \"l1\"]",
    ]);
    let routes = prop::collection::vec((path, more.clone(), more), 0..4);
    (limits, routes).prop_map(|(limits, routes)| {
        let limit =
            |(at, (by, rate)): (usize, &(&str, String))| format!("[limits.l{at}]\nby = \"{by}\"\nrate = \"{rate}\"\n");
        let route = |(path, one, two): &(&str, &str, &str)| {
            let two = if one.split(' ').next() == two.split(' ').next() { "" } else { *two };
            format!("[[routes]]\npath = \"{path}\"\n{one}\n{two}\n")
        };
        limits.iter().enumerate().map(limit).chain(routes.iter().map(route)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// Rules that the control plane sends and the filter refuses would leave new Envoys without any.
    #[test]
    fn rules_that_one_end_takes_the_other_takes(text in rules()) {
        if let Ok(read) = policy::parse(&text) {
            let compiled = CompiledPolicy::compile(&read);
            prop_assert!(compiled.is_ok(), "{:?}: {}", compiled.err(), text);
        }
    }
}
