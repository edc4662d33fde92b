//! Waiting for conditions, with a deadline, never for a time. It must not know what is waited for.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that is not about time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer; returns it and how long it took.
///
/// # Panics
/// With `what`, if there is no answer in time.
pub async fn until<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> (T, Duration)
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    match timeout(within, asking).await {
        Ok(answer) => (answer, start.elapsed()),
        Err(_) => panic!("not within {within:?}: {what}"),
    }
}
