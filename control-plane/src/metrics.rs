//! Counters and gauges, in Prometheus' text form. Labels come from closed sets only: routes, codes, configured issuers.

use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::{
    domain::ledger::{Entry, EntryKind},
    store::{StoreError, timing},
};

/// Upper bounds in seconds: a change is to be enforced within one.
const LAG_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All of them. Each server has its own registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests by listener, route and status.
    pub(crate) requests: IntCounterVec,
    /// How long they took, by listener and route.
    pub(crate) seconds: HistogramVec,
    /// Answers of `resolve` by kind of credential and outcome.
    pub(crate) resolves: IntCounterVec,
    /// Long polls that are held open.
    pub(crate) syncs: IntGauge,
    /// From a change to its being told to an Envoy that waits for it.
    pub(crate) sync_lag: Histogram,
    /// Since when the feed of this process may lack something.
    pub(crate) feed_age: Gauge,
    /// Batches of counted use that are being booked.
    pub(crate) usage_pending: IntGauge,
    /// Fetches of key sets by issuer and outcome.
    pub(crate) fetches: IntCounterVec,
    /// When an issuer's key set was last good, in Unix seconds.
    pub(crate) key_set_time: GaugeVec,
    /// Age of an issuer's last good key set in seconds.
    pub(crate) key_set_age: GaugeVec,
    /// Logins and refreshes of the older sign-in by outcome.
    pub(crate) sign_ins: IntCounterVec,
    /// Events of Clerk by type and what became of them.
    pub(crate) webhooks: IntCounterVec,
    /// Users looked up at Clerk by outcome.
    pub(crate) lookups: IntCounterVec,
    /// Failures of the store by kind.
    pub(crate) store_errors: IntCounterVec,
    /// Tokens by what became of them.
    pub(crate) tokens: IntCounterVec,
    /// Reservations that are open, when it was last counted.
    pub(crate) open_reservations: IntGauge,
    /// Reservations that were settled because nobody renewed them.
    pub(crate) expired_reservations: IntCounter,
    /// Batches of counted use by outcome.
    pub(crate) usage_batches: IntCounterVec,
    /// Whether the policy in use is the newest one: 0 after a faulty one was refused.
    pub(crate) policy_current: Gauge,
    /// 0 after faulty TLS files were refused.
    pub(crate) tls_current: Gauge,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// Two of them have one name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<GaugeVec, prometheus::Error> {
            let vec = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let requests = counters("tollgate_requests_total", "Requests answered.", &["listener", "route", "status"])?;
        let resolves = counters("tollgate_resolves_total", "Credentials resolved.", &["credential", "outcome"])?;
        let fetches = counters("tollgate_key_set_fetches_total", "Fetches of key sets.", &["issuer", "outcome"])?;
        let sign_ins = counters("tollgate_sign_ins_total", "Logins and refreshes.", &["what", "outcome"])?;
        let webhooks = counters("tollgate_webhooks_total", "Events of Clerk.", &["event", "outcome"])?;
        let lookups = counters("tollgate_clerk_lookups_total", "Users looked up at Clerk.", &["outcome"])?;
        let store_errors = counters("tollgate_store_errors_total", "Failures of the store.", &["kind"])?;
        let key_set_time = gauges("tollgate_key_set_timestamp_seconds", "When a key set was last good.", &["issuer"])?;
        let key_set_age = gauges("tollgate_key_set_age_seconds", "Age of the last good key set.", &["issuer"])?;
        let opts = HistogramOpts::new("tollgate_request_seconds", "Time to answer a request.");
        let seconds = HistogramVec::new(opts, &["listener", "route"])?;
        registry.register(Box::new(seconds.clone()))?;
        let syncs = IntGauge::new("tollgate_sync_connections", "Long polls held open.")?;
        registry.register(Box::new(syncs.clone()))?;
        let help = "From a change to its being told to an Envoy that waits for it.";
        let opts = HistogramOpts::new("tollgate_sync_lag_seconds", help).buckets(LAG_BUCKETS.to_vec());
        let sync_lag = Histogram::with_opts(opts)?;
        registry.register(Box::new(sync_lag.clone()))?;
        let feed_age = Gauge::new("tollgate_feed_age_seconds", "Since the feed was last read to its end.")?;
        registry.register(Box::new(feed_age.clone()))?;
        let usage_pending = IntGauge::new("tollgate_usage_pending", "Batches of counted use being booked.")?;
        registry.register(Box::new(usage_pending.clone()))?;
        if let Some(seconds) = timing::seconds() {
            registry.register(Box::new(seconds))?;
        }
        let tokens = counters("tollgate_tokens_total", "Tokens (credits) by what became of them.", &["change"])?;
        let usage_batches = counters("tollgate_usage_batches_total", "Batches of counted use.", &["outcome"])?;
        let open_reservations = IntGauge::new("tollgate_open_reservations", "Reservations that are open.")?;
        registry.register(Box::new(open_reservations.clone()))?;
        let expired_reservations = IntCounter::new(
            "tollgate_expired_reservations_total",
            "Reservations settled because their time was over.",
        )?;
        registry.register(Box::new(expired_reservations.clone()))?;
        let policy_current = Gauge::new("tollgate_policy_current", "0 after a faulty policy was refused.")?;
        registry.register(Box::new(policy_current.clone()))?;
        policy_current.set(1.0);
        let tls_current = Gauge::new("tollgate_tls_current", "0 after faulty TLS files were refused.")?;
        registry.register(Box::new(tls_current.clone()))?;
        tls_current.set(1.0);
        Ok(Self {
            registry,
            requests,
            seconds,
            resolves,
            syncs,
            sync_lag,
            feed_age,
            usage_pending,
            fetches,
            key_set_time,
            key_set_age,
            sign_ins,
            webhooks,
            lookups,
            store_errors,
            tokens,
            open_reservations,
            expired_reservations,
            usage_batches,
            policy_current,
            tls_current,
        })
    }

    /// Registers one gauge more.
    ///
    /// # Errors
    /// There is one of this name.
    pub(crate) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Registers counters more.
    ///
    /// # Errors
    /// There are some of this name.
    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers histograms more, with these upper bounds.
    ///
    /// # Errors
    /// There are some of this name.
    pub(crate) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?)
    }

    /// Registers what counts.
    ///
    /// # Errors
    /// There is something of its name.
    pub(crate) fn register<C: Collector + Clone + 'static>(&self, what: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(what.clone()))?;
        Ok(what)
    }

    /// All values as text.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// Counts what new entries of the ledger moved.
    pub(crate) fn count_entries(&self, entries: &[Entry]) {
        let count = |change: &str, tokens: i64| {
            if let Ok(tokens @ 1..) = u64::try_from(tokens) {
                self.tokens.with_label_values(&[change]).inc_by(tokens);
            }
        };
        for entry in entries {
            match entry.kind {
                EntryKind::Reserve => count("reserved", entry.amount.saturating_neg()),
                EntryKind::Settle => count("settled", entry.amount),
                EntryKind::Refill => count("refilled", entry.amount),
                EntryKind::Usage | EntryKind::Grant | EntryKind::Adjust => {}
            }
            count("used", entry.used);
            count("uncovered", entry.uncovered);
        }
    }

    /// Counts reservations that were settled because their time was over.
    pub(crate) fn count_expired(&self, entries: &[Entry]) {
        let settled = entries.iter().filter(|entry| entry.kind == EntryKind::Settle).count();
        self.expired_reservations.inc_by(u64::try_from(settled).unwrap_or(0));
        self.count_entries(entries);
    }

    /// Counts a failure of the store.
    pub(crate) fn count_store_error(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Conflict(_) => "conflict",
            StoreError::NotFound => "not_found",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::TooNew { .. } => "too_new",
        };
        self.store_errors.with_label_values(&[kind]).inc();
    }
}
