//! Counters and gauges in Envoy's own statistics. Nothing in them is per user. A metric that the host refuses is
//! silently not counted: no request depends on one.

use std::collections::BTreeMap;

use tollgate_protocol::{Code, Method};

use crate::host::{self, MetricType};

/// The metrics of one plugin.
#[derive(Debug)]
pub(crate) struct Metrics {
    denied: BTreeMap<Code, Option<u32>>,
    allowed: BTreeMap<Option<Method>, Option<u32>>,
    watched: BTreeMap<Option<Code>, Option<u32>>,
    native_checks: Option<u32>,
    native_in_use: Option<u32>,
    resolves: Option<u32>,
    sync_failures: Option<u32>,
    spent: Option<u32>,
    lease_calls: Option<u32>,
    lease_failures: Option<u32>,
    limits_calls: Option<u32>,
    limits_failures: Option<u32>,
    heard_seconds: Option<u32>,
    cached_tokens: Option<u32>,
    cached_identities: Option<u32>,
    /// What was told last of the two.
    told: (usize, usize),
}

impl Metrics {
    /// Defines what is always there; the counters by code and kind appear with their first count.
    pub(crate) fn new() -> Self {
        let define = host::define_metric;
        Self {
            denied: BTreeMap::new(),
            allowed: BTreeMap::new(),
            watched: BTreeMap::new(),
            native_checks: define(MetricType::Counter, "tollgate_native_signature_checks_total"),
            native_in_use: define(MetricType::Gauge, "tollgate_native_crypto"),
            resolves: define(MetricType::Counter, "tollgate_resolve_calls_total"),
            sync_failures: define(MetricType::Counter, "tollgate_sync_failures_total"),
            spent: define(MetricType::Counter, "tollgate_tokens_used_total"),
            lease_calls: define(MetricType::Counter, "tollgate_lease_calls_total"),
            lease_failures: define(MetricType::Counter, "tollgate_lease_failures_total"),
            limits_calls: define(MetricType::Counter, "tollgate_limits_calls_total"),
            limits_failures: define(MetricType::Counter, "tollgate_limits_failures_total"),
            heard_seconds: define(MetricType::Gauge, "tollgate_control_plane_heard_seconds"),
            cached_tokens: define(MetricType::Gauge, "tollgate_cached_tokens"),
            cached_identities: define(MetricType::Gauge, "tollgate_cached_identities"),
            told: (0, 0),
        }
    }

    /// A request was refused.
    pub(crate) fn denied(&mut self, code: Code) {
        let define = || host::define_metric(MetricType::Counter, &format!("tollgate_denied_total.code.{code}"));
        count(*self.denied.entry(code).or_insert_with(define), 1);
    }

    /// A request was let through; without a method, it had no identity.
    pub(crate) fn allowed(&mut self, method: Option<Method>) {
        let define = || {
            let method = method.map_or("anonymous", Method::as_str);
            host::define_metric(MetricType::Counter, &format!("tollgate_allowed_total.method.{method}"))
        };
        count(*self.allowed.entry(method).or_insert_with(define), 1);
    }

    /// A request passed on a route that is only watched; with a code, it would have been refused.
    pub(crate) fn watched(&mut self, code: Option<Code>) {
        let define = || {
            let verdict = code.map_or("pass", Code::as_str);
            host::define_metric(MetricType::Counter, &format!("tollgate_shadow_total.verdict.{verdict}"))
        };
        count(*self.watched.entry(code).or_insert_with(define), 1);
    }

    /// Envoy's verifier has judged this many signatures.
    pub(crate) fn native_checks(&self, number: u64) {
        if number > 0 {
            count(self.native_checks, i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// Whether Envoy's verifier is in use.
    pub(crate) fn native_in_use(&self, yes: bool) {
        gauge(self.native_in_use, u64::from(yes));
    }

    /// A `resolve` call was made.
    pub(crate) fn resolve(&self) {
        count(self.resolves, 1);
    }

    /// A `sync` call failed.
    pub(crate) fn sync_failure(&self) {
        count(self.sync_failures, 1);
    }

    /// A request has cost this many tokens.
    pub(crate) fn spent(&self, tokens: u64) {
        if tokens > 0 {
            count(self.spent, i64::try_from(tokens).unwrap_or(i64::MAX));
        }
    }

    /// A call about leases was answered, or not.
    pub(crate) fn lease_call(&self, is_answered: bool) {
        count(self.lease_calls, 1);
        if !is_answered {
            count(self.lease_failures, 1);
        }
    }

    /// A report about limits over all Envoys was answered, or was not.
    pub(crate) fn limits_call(&self, is_answered: bool) {
        count(self.limits_calls, 1);
        if !is_answered {
            count(self.limits_failures, 1);
        }
    }

    /// When the control plane was heard last, in unix seconds.
    pub(crate) fn heard(&self, seconds: u64) {
        gauge(self.heard_seconds, seconds);
    }

    /// How much this VM remembers. All VMs of an Envoy write the same gauge: one that sees no requests (that of the main
    /// thread) must not write over one that does, so only changes are told.
    pub(crate) fn memory(&mut self, remembered: (usize, usize)) {
        if core::mem::replace(&mut self.told, remembered) != remembered {
            gauge(self.cached_tokens, u64::try_from(remembered.0).unwrap_or(u64::MAX));
            gauge(self.cached_identities, u64::try_from(remembered.1).unwrap_or(u64::MAX));
        }
    }
}

fn count(id: Option<u32>, by: i64) {
    if let Some(id) = id {
        host::count(id, by);
    }
}

fn gauge(id: Option<u32>, value: u64) {
    if let Some(id) = id {
        host::gauge(id, value);
    }
}
