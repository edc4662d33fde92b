//! The table of host calls: how many for each outcome, and why each one is made. It must not know how they were counted.

use std::{collections::BTreeSet, fmt::Write as _};

use tollgate_benches::budget::Budget;

use crate::calls::Recorded;

/// Why a call is made, by its name, and whether the floor makes it, too.
const REASONS: &[(&str, bool, &str)] = &[
    ("get_header_map_pairs", true, "the request, read once; what is asked of it is borrowed from that buffer"),
    ("get_current_time_nanoseconds", true, "expiry, staleness and limits are judged at every request, hits included"),
    ("call_foreign_function", true, "`verify_signature`, Envoy's own, for a token that is not remembered"),
    ("remove_header_map_value", true, "the credential must not reach the backend, nor a reserved header of the client"),
    (
        "replace_header_map_value",
        true,
        "a header of the identity; or one that tells of a limit; one call each, since to write \
      the whole map costs more",
    ),
    ("set_property", true, "a fact in filter state, for access logs and other filters; one call each"),
    ("increment_metric", true, "the counter of what became of the request"),
    ("send_local_response", true, "the refusal, whole"),
    ("get_property", false, "the client's address, where it is needed: for limits by address, and to tell of refusals"),
    (
        "get_shared_data",
        false,
        "what workers share: a limit's bucket, or an identity that another worker has asked for",
    ),
    ("set_shared_data", false, "the same, written"),
    ("define_metric", false, "the counter of something that happens for the first time"),
];

/// Returns the tables.
pub(crate) fn table(budget: &Budget, all: &[Recorded]) -> String {
    let mut text = format!(
        "{}\n\nCalls that the filter makes to Envoy for one request, as Envoy itself traces them; the filter as it is shipped, \
         and warm: who is known is known, and the same has happened before. Not counted: what is done for all requests every \
         100 ms, and Envoy's calls for memory when it returns something.\n\n\
         | outcome | callbacks | calls to the host | number | target | |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        tollgate_benches::machine()
    );
    for recorded in all {
        let calls: Vec<String> = recorded.counts().iter().map(|(name, count)| format!("{count} × `{name}`")).collect();
        let callbacks: Vec<String> = recorded.callbacks.iter().map(|name| format!("`{name}`")).collect();
        let number = recorded.calls.len();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {number} | {} |",
            recorded.outcome.name,
            callbacks.join(" "),
            calls.join(", "),
            budget.verdict(&format!("host calls: {}", recorded.outcome.name), number as f64),
        );
    }
    text.push_str("\n| call | why | in the floor |\n| --- | --- | --- |\n");
    let made: BTreeSet<&str> = all.iter().flat_map(|recorded| recorded.counts().into_keys()).collect();
    for name in made {
        let known = REASONS.iter().find(|(known, ..)| *known == name);
        let (is_in_floor, why) = known.map_or((false, "**not known**"), |(_, is_in_floor, why)| (*is_in_floor, *why));
        let _ = writeln!(text, "| `{name}` | {why} | {} |", if is_in_floor { "yes" } else { "no" });
    }
    text
}
