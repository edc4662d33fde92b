//! When users were last there, noted off the road of their requests: at most once a minute for each, in batches, and lost
//! with the process. It must not slow down or fail what it notes.

use std::{collections::HashMap, time::Duration};

use tokio::sync::mpsc;

use crate::{
    app::App,
    domain::{Timestamp, UserId},
};

/// Most users that wait to be noted; more are not noted.
const QUEUE: usize = 4096;
/// How often one user is noted, in seconds.
const EVERY_SECONDS: i64 = 60;
/// Most users whose last note is remembered.
const REMEMBERED: usize = 65_536;
/// How long notes are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);

/// Takes notes.
#[derive(Debug, Clone)]
pub struct Seen {
    notes: mpsc::Sender<(UserId, Timestamp)>,
}

impl Seen {
    /// A way to take notes, and the task that writes them.
    pub fn start(app: App) -> (Self, impl Future<Output = ()> + Send) {
        let (notes, queue) = mpsc::channel(QUEUE);
        (Self { notes }, write(app, queue))
    }

    /// Notes that a user was there.
    pub fn note(&self, user: UserId, at: Timestamp) {
        // Whole seconds are enough, and let a store write many users at once.
        let at = Timestamp::from_seconds(at.millis().div_euclid(1000));
        // A queue that is full, or closed at the end of the program, costs a note.
        let _ = self.notes.try_send((user, at));
    }
}

async fn write(app: App, mut queue: mpsc::Receiver<(UserId, Timestamp)>) {
    let mut noted: HashMap<UserId, Timestamp> = HashMap::new();
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, QUEUE).await > 0 {
        let mut due: HashMap<UserId, Timestamp> = HashMap::new();
        for (user, at) in batch.drain(..) {
            if noted.get(&user).is_none_or(|last| last.plus_seconds(EVERY_SECONDS) <= at) {
                due.insert(user, at);
            }
        }
        if due.is_empty() {
            continue;
        }
        if noted.len() >= REMEMBERED {
            // Then some are noted more often than needed.
            noted.clear();
        }
        let due: Vec<_> = due.into_iter().collect();
        match app.store.note_seen(&due).await {
            Ok(()) => noted.extend(due),
            Err(error) => tracing::debug!(%error, "when users were last there could not be noted"),
        }
        tokio::time::sleep(GATHER).await;
    }
}
