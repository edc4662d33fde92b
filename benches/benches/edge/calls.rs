//! Which calls the filter makes to the host for one request, by name and in order: Envoy's own trace of the border to the
//! VM, with the filter as it is shipped. It must not know why they are made.

use std::{collections::BTreeMap, time::Duration};

use tollgate_tests::{
    http::{self, Answer, Request},
    wait::{PATIENCE, until},
};

use crate::{
    cases::Outcome,
    chain::Chain,
    world::{Edge, World},
};

/// Envoy's log has been written so long after something happened.
const FLUSHED: Duration = Duration::from_millis(300);

/// One call to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Without the ABI's `proxy_`.
    pub(crate) name: String,
    /// As the module has given them; pointers are of its memory.
    pub(crate) arguments: Vec<u64>,
}

/// What one request came to.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) outcome: Outcome,
    /// Callbacks that Envoy made.
    pub(crate) callbacks: Vec<String>,
    /// Calls that the filter made in them.
    pub(crate) calls: Vec<Call>,
    pub(crate) answer: Answer,
}

impl Recorded {
    /// How often each call was made.
    pub(crate) fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.name.as_str()).or_default() += 1;
        }
        counts
    }

    /// The calls of one name.
    pub(crate) fn of<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c Call> {
        self.calls.iter().filter(move |call| call.name == name)
    }
}

/// Makes a request end so, and looks at it.
pub(crate) async fn record(world: &mut World, outcome: Outcome) -> Recorded {
    let request = world.requests[&outcome.sent][outcome.number].clone();
    // Where nothing was sent before, somebody known has to say that the filter is ready.
    let known = world.requests[&outcome.sent][0].clone();
    world.start(Chain::Tollgate, if outcome.before == 0 { &known } else { &request }, outcome.status).await;
    let edge = world.edge(Chain::Tollgate);
    for _ in 0..outcome.before {
        edge.send(&request).await;
    }
    level(edge, "trace").await;
    // What was logged before is not of this request.
    tokio::time::sleep(FLUSHED).await;
    let before = edge.log().len();
    let answer = edge.send(&request).await;
    assert_eq!(answer.status, outcome.status, "{}: {}", outcome.name, answer.text());
    let over = || async { edge.log()[before..].contains("[host<-vm] proxy_on_delete").then_some(()) };
    until("the end of a request", PATIENCE, over).await;
    level(edge, "info").await;
    let (callbacks, calls) = read(&edge.log()[before..]);
    assert!(!calls.is_empty(), "{}: no call is in Envoy's log", outcome.name);
    Recorded { outcome, callbacks, calls, answer }
}

async fn level(edge: &Edge, level: &str) {
    let answer = http::send(edge.admin, &Request::new("POST", &format!("/logging?wasm={level}"))).await;
    assert_eq!(answer.expect("an answer").status, 200, "the level of the log");
}

/// Callbacks, and calls in them, of one request. The VMs of all threads write into one log.
fn read(log: &str) -> (Vec<String>, Vec<Call>) {
    let (mut callbacks, mut calls) = (Vec::new(), Vec::new());
    let mut inside: BTreeMap<&str, &str> = BTreeMap::new();
    for line in log.lines() {
        let thread = line.split('[').nth(2).unwrap_or_default();
        if let Some((name, _)) = after(line, "[host->vm] ") {
            // The host asks for memory in the middle of its own calls.
            if name != "malloc" && !inside.contains_key(thread) {
                inside.insert(thread, name);
                if is_of_request(name) {
                    callbacks.push(name.trim_start_matches("proxy_").to_owned());
                }
            }
        } else if let Some(name) = line.split_once("[host<-vm] ").and_then(|(_, rest)| rest.split(' ').next()) {
            if inside.get(thread) == Some(&name) {
                inside.remove(thread);
            }
        } else if let Some((name, arguments)) = after(line, "[vm->host] ")
            && inside.get(thread).is_some_and(|callback| is_of_request(callback))
        {
            let name = name.trim_start_matches("env.proxy_").to_owned();
            let arguments = arguments.split(", ").filter_map(|number| number.parse().ok()).collect();
            calls.push(Call { name, arguments });
        }
    }
    (callbacks, calls)
}

/// Not what is done for all requests, in the tick or for an answer of the control plane.
fn is_of_request(callback: &str) -> bool {
    !matches!(callback, "proxy_on_tick" | "proxy_on_http_call_response")
}

/// Name and arguments of a call in a line of the log.
fn after<'l>(line: &'l str, mark: &str) -> Option<(&'l str, &'l str)> {
    let (name, rest) = line.split_once(mark)?.1.split_once('(')?;
    Some((name, rest.split(')').next()?))
}
