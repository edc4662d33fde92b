//! Changes to several documents at once, tried again where MongoDB says that this helps: when others change the same, or
//! the primary steps down. It must not know what is changed.

use std::time::Duration;

use mongodb::{ClientSession, bson, error::ErrorKind};
use tokio::time::Instant;

use super::{MongoStore, bounded, driver, fault};
use crate::{random, store::StoreError};

/// How long a change is tried: long enough for the election after a step-down.
const PATIENCE: Duration = Duration::from_secs(10);
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

const TRANSIENT: &str = "TransientTransactionError";
const UNKNOWN: &str = "UnknownTransactionCommitResult";

/// The tries of one change.
pub(super) struct Attempts {
    session: ClientSession,
    /// Without a replica set there are no transactions: what is written is written, in order.
    transactional: bool,
    until: Instant,
    pause: Duration,
}

/// Runs `$work`, which has a session as `$session`, until it is committed or cannot be: `Ok` with what it gave and the
/// time at which it was committed, where MongoDB says one.
macro_rules! transaction {
    ($store:expr, |$session:ident| $work:expr) => {
        async {
            let mut attempts = $crate::store::mongo::transaction::Attempts::new($store).await?;
            loop {
                let $session = attempts.begin().await?;
                let outcome = $work.await;
                if let Some(done) = attempts.end(outcome).await? {
                    break Ok::<_, $crate::store::StoreError>(done);
                }
            }
        }
        .await
    };
}
pub(super) use transaction;

impl Attempts {
    pub(super) async fn new(store: &MongoStore) -> Result<Self, StoreError> {
        let session = bounded(store.client.start_session()).await?;
        let until = Instant::now().checked_add(PATIENCE).unwrap_or_else(Instant::now);
        Ok(Self { session, transactional: store.is_replicated(), until, pause: FIRST_PAUSE })
    }

    /// Begins a try.
    pub(super) async fn begin(&mut self) -> Result<&mut ClientSession, StoreError> {
        if self.transactional {
            // Concerns are the client's: read what is committed, commit to a majority.
            self.session.start_transaction().await.map_err(fault)?;
        }
        Ok(&mut self.session)
    }

    /// Ends a try: `None` says that it is to be tried again.
    pub(super) async fn end<T>(
        &mut self,
        outcome: Result<T, StoreError>,
    ) -> Result<Option<(T, Option<bson::Timestamp>)>, StoreError> {
        if !self.transactional {
            return outcome.map(|done| Some((done, None)));
        }
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                let again = driver(&error).is_some_and(|error| {
                    // Where there has been no primary for seconds, waiting on would only pile requests up.
                    error.contains_label(TRANSIENT) && !matches!(&*error.kind, ErrorKind::ServerSelection { .. })
                });
                // What cannot be aborted is aborted by the server.
                let _ = tokio::time::timeout(ABORT_TIMEOUT, self.session.abort_transaction()).await;
                return if again && self.pause().await { Ok(None) } else { Err(error) };
            }
        };
        loop {
            // The loop is not left while it is unknown whether the commit came through, except at the very end.
            let Err(error) = bounded(self.session.commit_transaction()).await else {
                return Ok(Some((done, self.session.operation_time())));
            };
            let label = |label| driver(&error).is_some_and(|error| error.contains_label(label));
            match (label(UNKNOWN), label(TRANSIENT)) {
                (true, _) if self.pause().await => {}
                (false, true) if self.pause().await => return Ok(None),
                _ => return Err(error),
            }
        }
    }

    /// Waits a little, longer each time; false where the time is over.
    async fn pause(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause.mul_f64(random::jitter())).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        true
    }
}
