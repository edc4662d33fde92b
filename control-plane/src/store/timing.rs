//! How long stores take, by the part of a store that asked, and a span for each asking where somebody traces. It must not
//! know what is asked for.

use std::{
    panic::Location,
    sync::LazyLock,
    time::{Duration, Instant},
};

use prometheus::{HistogramOpts, HistogramVec};
use tracing::Instrument as _;

use super::StoreError;

/// Upper bounds in seconds.
const BUCKETS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Of this process, whichever stores it has open.
static SECONDS: LazyLock<Option<HistogramVec>> = LazyLock::new(|| {
    let opts = HistogramOpts::new("tollgate_store_seconds", "Time of calls to the store.").buckets(BUCKETS.to_vec());
    HistogramVec::new(opts, &["store", "part", "outcome"]).ok()
});

/// The times, for whoever shows them.
pub(crate) fn seconds() -> Option<HistogramVec> {
    SECONDS.clone()
}

/// Runs one call to the store that is made in this place of the sources.
pub(super) fn timed<T, F>(
    store: &'static str,
    place: &'static Location<'static>,
    call: F,
) -> impl Future<Output = Result<T, StoreError>>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let part = part(place.file());
    let span = tracing::debug_span!(
        "store",
        otel.name = part,
        otel.kind = "client",
        db.system.name = store,
        otel.status_code = tracing::field::Empty
    );
    let inner = span.clone();
    async move {
        let began = Instant::now();
        let answer = call.await;
        let failed = answer.as_ref().is_err_and(|error| {
            matches!(error, StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::TooNew { .. })
        });
        if failed {
            inner.record("otel.status_code", "ERROR");
        }
        observe(store, part, failed, began.elapsed());
        answer
    }
    .instrument(span)
}

fn observe(store: &str, part: &str, failed: bool, took: Duration) {
    let outcome = if failed { "failed" } else { "answered" };
    if let Some(seconds) = &*SECONDS {
        seconds.with_label_values(&[store, part, outcome]).observe(took.as_secs_f64());
    }
}

/// `…/store/mongo/users.rs` and `…/store/sqlite/users.rs` are both `users`, `…/store/mongo/ledger/work.rs` is `ledger`.
fn part(file: &'static str) -> &'static str {
    let inside = ["store/mongo/", "store/sqlite/"].iter().find_map(|folder| Some(file.split_once(folder)?.1));
    inside.and_then(|inside| inside.split(['/', '.']).next()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_modules() {
        for (file, expected) in [
            ("control-plane/src/store/mongo/users.rs", "users"),
            ("/abs/control-plane/src/store/sqlite/users.rs", "users"),
            ("control-plane/src/store/mongo/ledger/work.rs", "ledger"),
            ("control-plane/src/app.rs", "other"),
        ] {
            assert_eq!(part(file), expected);
        }
        assert!(seconds().is_some());
    }
}
