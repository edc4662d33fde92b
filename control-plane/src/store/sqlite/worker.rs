//! Threads that own a connection each and run what they are sent. They must not know what that is.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Most jobs that wait; more are turned away at once instead of piling up.
const QUEUE: usize = 4096;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Threads with one queue. They end when the handle is dropped and the queue is empty.
#[derive(Debug)]
pub(super) struct Workers {
    queue: mpsc::Sender<Job>,
}

/// The queue is full.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Busy(&'static str);

impl Workers {
    /// Starts one thread for each connection.
    pub(super) fn start(name: &str, connections: Vec<Connection>) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for mut connection in connections {
            let jobs = Arc::clone(&jobs);
            let work = move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    match job {
                        Some(job) => job(&mut connection),
                        None => break,
                    }
                }
            };
            let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            spawned.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        }
        Ok(Self { queue })
    }

    /// Runs `work` on one of the connections. It is finished even if nobody waits for it any more.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody may wait any more: the client has gone.
            let _ = answer.send(work(connection));
        });
        let refused = |problem| StoreError::Unavailable(Box::new(Busy(problem)));
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => refused("too many requests wait for it"),
            mpsc::error::TrySendError::Closed(_) => refused("it has been closed"),
        })?;
        answered.await.map_err(|_| refused("its thread has ended"))?
    }
}
