//! What is expected of each vector, and what differs from it on purpose.
//!
//! `valid` is to be accepted, `invalid` and `acceptable` are to be refused: what a careful verifier may refuse is
//! refused. Each vector for which that does not hold is listed by set and number in `tests/vectors/exceptions.json`,
//! with the reason; a listed vector that comes out as expected, or is not there, fails the test, so the list cannot rot.

use std::collections::BTreeMap;

use serde_json::Value;

/// The vectors of one set, counted and judged.
pub(crate) struct Tally {
    set: String,
    listed: BTreeMap<u64, Listed>,
    accepted: u32,
    refused: u32,
    differing: u32,
    unexpected: Vec<String>,
}

impl Tally {
    pub(crate) fn new(set: String) -> Self {
        Self { listed: listed(&set), set, accepted: 0, refused: 0, differing: 0, unexpected: Vec::new() }
    }

    pub(crate) fn has_tests(&self) -> bool {
        self.accepted + self.refused > 0
    }

    pub(crate) fn judge(&mut self, test: &Value, accepted: bool) {
        let number = test["tcId"].as_u64().unwrap();
        let result = test["result"].as_str().unwrap();
        assert!(["valid", "invalid", "acceptable"].contains(&result));
        let mut expected = result == "valid";
        if let Some(listed) = self.listed.remove(&number) {
            assert_eq!(listed.vectors, result, "{} {number} is listed as another kind", self.set);
            expected = listed.accepted;
            assert_ne!(expected, result == "valid", "{} {number} is listed as it is expected", self.set);
            self.differing += 1;
        }
        *if accepted { &mut self.accepted } else { &mut self.refused } += 1;
        if accepted != expected {
            let what = if accepted { "accepted" } else { "refused" };
            self.unexpected.push(format!("{} {number}: {result}, but {what} ({})", self.set, test["comment"]));
        }
    }
}

/// Prints the counts and fails on anything unexpected.
pub(crate) fn finish(tallies: Vec<Tally>) {
    let mut unexpected = Vec::new();
    let (mut accepted, mut refused, mut differing) = (0, 0, 0);
    for tally in tallies {
        let set = &tally.set;
        println!("{set}: {} accepted, {} refused, {} listed", tally.accepted, tally.refused, tally.differing);
        accepted += tally.accepted;
        refused += tally.refused;
        differing += tally.differing;
        unexpected.extend(tally.unexpected);
        unexpected.extend(tally.listed.keys().map(|number| format!("{set} {number}: listed, but not in the set")));
    }
    println!("together: {accepted} accepted, {refused} refused, of which {differing} differ as listed");
    assert!(unexpected.is_empty(), "{} unexpected:\n{}", unexpected.len(), unexpected.join("\n"));
}

/// What the list says of one vector.
struct Listed {
    vectors: String,
    accepted: bool,
}

fn listed(set: &str) -> BTreeMap<u64, Listed> {
    let all: Value = serde_json::from_str(include_str!("../../vectors/exceptions.json")).unwrap();
    let mut numbers = BTreeMap::new();
    for entry in all.as_array().unwrap().iter().filter(|entry| entry["set"] == set) {
        assert!(!entry["reason"].as_str().unwrap().is_empty());
        let accepted = match entry["outcome"].as_str() {
            Some("accepted") => true,
            Some("refused") => false,
            other => panic!("{set}: outcome {other:?}"),
        };
        for range in entry["tests"].as_array().unwrap() {
            let (first, last) = match range.as_array() {
                Some(ends) => (ends[0].as_u64().unwrap(), ends[1].as_u64().unwrap()),
                None => (range.as_u64().unwrap(), range.as_u64().unwrap()),
            };
            assert!(first <= last);
            for number in first..=last {
                let listed = Listed { vectors: entry["vectors"].as_str().unwrap().into(), accepted };
                assert!(numbers.insert(number, listed).is_none(), "{set} {number} is listed twice");
            }
        }
    }
    numbers
}
