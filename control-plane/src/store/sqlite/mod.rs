//! The store in one SQLite file: write-ahead log, every commit on disk before it is answered, one writer, a few
//! readers, each on a thread of its own. Another process may write the same file; its changes are noticed by SQLite's
//! `data_version`. Nothing here knows a rule about users or keys beyond what an index can hold.

mod audit;
mod feed;
mod import;
mod key_sets;
mod keys;
mod ledger;
mod policy;
mod revocations;
mod rows;
mod schema;
mod sessions;
mod users;
mod watched;
mod webhooks;
mod worker;

use std::{
    panic::Location,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::watch;

use self::worker::Workers;
use super::{Cause, Heard, StoreError, timing::timed};

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: usize = 3;
/// Most pages that a connection keeps, in KiB: with a million users the inner pages of all indexes have place in it, which
/// they have not in the 2 MB that SQLite takes by itself.
const CACHE_KIB: i64 = 32 * 1024;
/// How often another process's changes are looked for: one pragma that touches no page.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// The store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Workers,
    readers: Workers,
    epoch: String,
    news: Arc<watch::Sender<u64>>,
    heard: Heard,
    watcher: tokio::task::JoinHandle<()>,
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl SqliteStore {
    /// Opens the file, makes it (and its folder) if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] says why it cannot be used.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::connections(&path)).await;
        let (writer, readers, watching, epoch, seq) =
            opened.map_err(|error| StoreError::Unavailable(Box::new(error)))??;
        let news = Arc::new(watch::Sender::new(seq));
        let watcher = Workers::start("sqlite-watch", vec![watching])?;
        let heard = Heard::default();
        let watcher = tokio::spawn(watch(watcher, Arc::clone(&news), heard.clone()));
        let writer = Workers::start("sqlite-write", vec![writer])?;
        let readers = Workers::start("sqlite-read", readers)?;
        Ok(Self { writer, readers, epoch, news, heard, watcher })
    }

    fn connections(path: &Path) -> Result<(Connection, Vec<Connection>, Connection, String, u64), StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        }
        create_private(path)?;
        let mut writer = connect(path)?;
        let (epoch, seq) = schema::prepare(&mut writer)?;
        let readers = (0..READERS).map(|_| connect(path)).collect::<Result<Vec<_>, _>>()?;
        Ok((writer, readers, connect(path)?, epoch, seq))
    }

    /// Runs `work` on a reading connection.
    #[track_caller]
    fn read<T, W>(&self, work: W) -> impl Future<Output = Result<T, StoreError>>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        timed("sqlite", Location::caller(), self.readers.run(move |connection| work(connection)))
    }

    /// Runs `work` in one transaction; an error undoes all of it. Who waits for news is told after the commit.
    #[track_caller]
    fn write<T, W>(&self, work: W) -> impl Future<Output = Result<T, StoreError>>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let news = Arc::clone(&self.news);
        let written = self.writer.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
            let done = work(&transaction)?;
            let seq = feed::newest(&transaction)?;
            transaction.commit().map_err(fault)?;
            tell(&news, seq);
            Ok(done)
        });
        timed("sqlite", Location::caller(), written)
    }
}

/// Looks for what other processes wrote. `data_version` changes with every commit of another connection.
async fn watch(worker: Workers, news: Arc<watch::Sender<u64>>, heard: Heard) {
    let mut seen: Option<i64> = None;
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = worker
            .run(move |connection| {
                let version: i64 =
                    connection.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(fault)?;
                let seq = if seen == Some(version) { None } else { Some(feed::newest(connection)?) };
                Ok((version, seq))
            })
            .await;
        match looked {
            Ok((version, seq)) => {
                heard.mark();
                seen = Some(version);
                if let Some(seq) = seq {
                    tell(&news, seq);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for changes of other processes"),
        }
    }
}

fn tell(news: &watch::Sender<u64>, seq: u64) {
    news.send_if_modified(|known| {
        let newer = seq > *known;
        *known = seq.max(*known);
        newer
    });
}

/// The file holds secrets: only its owner may read it.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| StoreError::Unavailable(Box::new(error)))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    write_ahead(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(fault)?;
    // A negative number is one of kibibytes.
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Switches to the write-ahead log. Of several who open a new file at once one switches it; SQLite turns the others away
/// at once instead of letting them wait, so they ask again.
fn write_ahead(connection: &Connection) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && began.elapsed() < BUSY_TIMEOUT =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            switched => return switched.map_err(fault),
        }
    }
}

/// What an error of the driver means to a caller.
fn fault(error: rusqlite::Error) -> StoreError {
    match &error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(Cause::from(error)),
    }
}
