//! What is counted about the shared cache; it is there only where there is a cache.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use crate::metrics::Metrics;

/// Upper bounds of the histogram, in seconds: answers take fractions of a millisecond, and none takes long.
const BUCKETS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05];

/// Counters of the cache.
#[derive(Debug, Clone)]
pub(super) struct CacheMetrics {
    pub(super) up: IntGauge,
    calls: IntCounterVec,
    seconds: HistogramVec,
}

impl CacheMetrics {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: metrics.gauge("tollgate_redis_up", "1 while Redis answers.")?,
            calls: metrics.counters("tollgate_redis_calls_total", "Calls to Redis.", &["operation", "outcome"])?,
            seconds: metrics.histograms(
                "tollgate_redis_seconds",
                "Time of calls to Redis.",
                &["operation"],
                BUCKETS,
            )?,
        })
    }

    pub(super) fn count(&self, operation: &str, outcome: &str) {
        self.calls.with_label_values(&[operation, outcome]).inc();
    }

    pub(super) fn observe(&self, operation: &str, took: Duration) {
        self.seconds.with_label_values(&[operation]).observe(took.as_secs_f64());
    }
}
