//! One reading for all who have come before it began: nobody is given one that is older than their question, and thousands
//! who ask at once make two. It must not know what is read.

use std::{sync::Arc, time::Instant};

use tokio::sync::Mutex;

use crate::store::StoreError;

type Read<V> = Result<V, Arc<StoreError>>;

/// What was read last, and when that reading began.
#[derive(Debug)]
pub(super) struct Fresh<V>(Mutex<Option<(Instant, Read<V>)>>);

impl<V> Default for Fresh<V> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<V: Clone> Fresh<V> {
    /// A reading that begins now or later. Who waits while another reads shares the next one, also where it fails.
    pub(super) async fn get<F>(&self, read: impl FnOnce() -> F) -> Result<V, StoreError>
    where
        F: Future<Output = Result<V, StoreError>>,
    {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        let shared = last.as_ref().filter(|(began, _)| *began > came).map(|(_, read)| read.clone());
        let read = match shared {
            Some(read) => read,
            None => {
                let began = Instant::now();
                let read = read().await.map_err(Arc::new);
                *last = Some((began, read.clone()));
                read
            }
        };
        read.map_err(|error| StoreError::Unavailable(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_share_a_reading_and_who_comes_later_has_a_new_one() {
        let (fresh, readings) = (Fresh::default(), AtomicU32::new(0));
        let ask = || {
            fresh.get(|| async {
                tokio::task::yield_now().await;
                Ok(readings.fetch_add(1, Ordering::Relaxed))
            })
        };
        let got: Vec<u32> = join_all((0..100).map(|_| ask())).await.into_iter().map(|one| one.expect("read")).collect();
        assert!(got[0] == 0 && got[1..].iter().all(|one| *one == 1), "{got:?}");
        assert!(matches!(ask().await, Ok(2)));
    }

    #[tokio::test]
    async fn a_failure_is_that_of_those_who_wait_for_it() {
        let (fresh, readings) = (Fresh::default(), AtomicU32::new(0));
        let ask = || {
            fresh.get(|| async {
                tokio::task::yield_now().await;
                readings.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(StoreError::Corrupt("broken".into()))
            })
        };
        for one in join_all((0..100).map(|_| ask())).await {
            assert!(one.expect_err("all fail").to_string().contains("broken"));
        }
        assert_eq!(readings.load(Ordering::Relaxed), 2);
        assert!(matches!(fresh.get(|| async { Ok(()) }).await, Ok(())));
    }
}
