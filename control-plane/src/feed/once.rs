//! What many ask for at the same moment is made once, and all of them get it. It must not know what is made.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::store::StoreError;

/// How much of what was made last is remembered. Almost all Envoys stand at one place, and some are a step behind.
const KEPT: usize = 4;

type Cell<V> = Arc<OnceCell<Result<V, Arc<StoreError>>>>;

/// What was made last, by what it was made for.
#[derive(Debug)]
pub(super) struct Once<K, V>(Mutex<VecDeque<(K, Cell<V>)>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V: Clone> Once<K, V> {
    /// What there is for a key. Whoever comes first makes it; who comes meanwhile waits for that, also where it fails, for
    /// thousands who try one after the other would be of no help to a store that is away. Who comes after a failure tries
    /// anew, and so does the next one where the first has hung up.
    pub(super) async fn get<F>(&self, key: K, make: impl FnOnce() -> F) -> Result<V, StoreError>
    where
        F: Future<Output = Result<V, StoreError>>,
    {
        let cell = self.cell(key);
        let made = cell.get_or_init(|| async {
            let made = make().await.map_err(Arc::new);
            if made.is_err() {
                self.entries().retain(|(_, other)| !Arc::ptr_eq(other, &cell));
            }
            made
        });
        made.await.clone().map_err(|error| StoreError::Unavailable(Box::new(error)))
    }

    fn cell(&self, key: K) -> Cell<V> {
        let mut entries = self.entries();
        if let Some((_, cell)) = entries.iter().find(|(known, _)| *known == key) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        entries.push_front((key, Arc::clone(&cell)));
        entries.truncate(KEPT);
        cell
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, VecDeque<(K, Cell<V>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_by_one_making() {
        let (once, makings) = (Once::default(), AtomicU32::new(0));
        let ask = |key: u32| {
            once.get(key, || async {
                tokio::task::yield_now().await;
                Ok(makings.fetch_add(1, Ordering::Relaxed))
            })
        };
        let got = join_all((0..100).map(|_| ask(1))).await;
        assert!(got.iter().all(|one| matches!(one, Ok(0))), "{got:?}");
        assert!(matches!(ask(2).await, Ok(1)), "another key is another thing");
        assert!(matches!(ask(1).await, Ok(0)), "it is kept");
        for key in 3..3 + KEPT as u32 {
            let _ = ask(key).await;
        }
        let before = makings.load(Ordering::Relaxed);
        assert!(matches!(ask(1).await, Ok(new) if new == before), "not for ever");
    }

    #[tokio::test]
    async fn a_failure_is_that_of_all_who_wait_and_of_nobody_after_them() {
        let (once, makings) = (Once::default(), AtomicU32::new(0));
        let ask = || {
            once.get((), || async {
                tokio::task::yield_now().await;
                match makings.fetch_add(1, Ordering::Relaxed) {
                    0 => Err(StoreError::Corrupt("broken".into())),
                    number => Ok(number),
                }
            })
        };
        for one in join_all((0..100).map(|_| ask())).await {
            assert!(one.expect_err("all fail").to_string().contains("broken"));
        }
        assert!(matches!(ask().await, Ok(1)));
    }

    #[tokio::test]
    async fn who_hangs_up_leaves_it_to_the_next_one() {
        let once = Once::default();
        let first = once.get((), std::future::pending::<Result<u32, StoreError>>);
        let gone = tokio::time::timeout(std::time::Duration::from_millis(1), first).await;
        assert!(gone.is_err());
        assert!(matches!(once.get((), || async { Ok(7) }).await, Ok(7)));
    }
}
