//! The store in a MongoDB that other programs may use as well: documents are found as anybody wrote them and changed
//! member by member, never replaced. On a replica set changes are transactions and the feed is the database's change
//! stream, so what any process or program changes is heard by all; a single server without one has neither, and is
//! polled. Nothing here knows a rule about users or keys beyond what an index or a transaction can hold.

mod audit;
mod documents;
mod feed;
mod import;
mod key_sets;
mod keys;
mod ledger;
mod orphans;
mod policy;
mod poll;
mod revocations;
mod ring;
mod schema;
mod search;
mod sessions;
mod tell;
mod transaction;
mod users;
mod values;
mod watch;
mod watched;
mod webhooks;

use std::{future::IntoFuture, panic::Location, sync::Arc, time::Duration};

use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{self, Bson, Document, doc},
    error::{Error as DriverError, ErrorKind, WriteFailure},
    options::{Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};
use tokio::{sync::watch as channel, task::JoinHandle};
use tollgate_protocol::Cursor;

use self::{
    feed::{Feed, place_of, time_of},
    watch::Watcher,
};
use super::{Conflict, StoreError, timing::timed};
use crate::{config::MongoUrl, domain::Happening, random};

/// How long a server that can take the request is looked for.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often servers are asked how they are: a primary that is gone without a word is missed after this and
/// [`CONNECT_TIMEOUT`].
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long one request to MongoDB may take, in any case.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections, where the address does not say.
const POOL_SIZE: u32 = 64;
/// How far back the feed is read when the store is opened: an Envoy that comes over from another process, or back to
/// this one after a restart, goes on where it was.
const LOOK_BACK_SECONDS: u64 = 300;
/// How long opening waits until the feed has been read up to now.
const CATCH_UP: Duration = Duration::from_secs(5);
/// The first wire version (MongoDB 6.0) that keeps what a deleted document was.
const PRE_IMAGES_SINCE: i32 = 17;

/// The store in a MongoDB.
#[derive(Debug)]
pub struct MongoStore {
    client: Client,
    database: Database,
    feed: Arc<Feed>,
    replicated: bool,
    stripes: ledger::Stripes,
    reader: JoinHandle<()>,
    orphans: Option<JoinHandle<()>>,
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(orphans) = &self.orphans {
            orphans.abort();
        }
    }
}

/// An address that the driver does not understand. What it says about it is left out: it may quote a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "the driver cannot read its address: check its options, and that special characters in user and password are written as %XX"
)]
struct UnreadableAddress;

/// A request that was not answered in time.
#[derive(Debug, thiserror::Error)]
#[error("MongoDB did not answer within {REQUEST_TIMEOUT:?}")]
struct TooSlow;

impl MongoStore {
    /// Connects, makes what is missing in the database, and begins to read its changes.
    ///
    /// # Errors
    /// [`StoreError`] says why it cannot be used.
    pub async fn open(url: &MongoUrl) -> Result<Self, StoreError> {
        let options = options(url).await?;
        let app_name = options.app_name.clone().unwrap_or_default();
        let client = Client::with_options(options).map_err(fault)?;
        let database = client.database(url.database());
        let hello = bounded(database.run_command(doc! { "hello": 1 })).await?;
        let replicated = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        let wire = hello.get_i32("maxWireVersion").unwrap_or_default();
        let pre_images = replicated && wire >= PRE_IMAGES_SINCE;
        let epoch = schema::prepare(&database, pre_images).await?;
        let (feed, reader) = if replicated {
            Self::watch(&database, epoch, pre_images).await?
        } else {
            tracing::warn!(
                store = %url,
                "this MongoDB is no replica set: changes of other programs are only seen where they set updated_at, \
                 deletions are not, and several control planes do not hear of each other at once. Start mongod with \
                 --replSet and initiate a set of one node"
            );
            let epoch = random::id("").map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            let feed = Feed::beginning_at(epoch, 0);
            let reader = tokio::spawn(poll::run(database.clone(), Arc::clone(&feed)));
            (feed, reader)
        };
        tracing::debug!(store = %url, replicated, "MongoDB is open");
        let orphans = replicated.then(|| tokio::spawn(orphans::run(client.clone(), app_name)));
        Ok(Self { client, database, feed, replicated, stripes: ledger::Stripes::new(), reader, orphans })
    }

    async fn watch(
        database: &Database,
        epoch: String,
        pre_images: bool,
    ) -> Result<(Arc<Feed>, JoinHandle<()>), StoreError> {
        let now = read_time(database).await?;
        let mut opened = None;
        for place in [now.saturating_sub(LOOK_BACK_SECONDS << 32), now] {
            let feed = Feed::beginning_at(epoch.clone(), place.saturating_sub(1));
            let mut watcher = Watcher::new(database.clone(), Arc::clone(&feed), pre_images, place);
            match watcher.open().await {
                Ok(stream) => {
                    opened = Some((feed, watcher, stream));
                    break;
                }
                // The log does not reach back so far.
                Err(error) if place != now => tracing::debug!(%error, "the change stream begins now"),
                Err(error) => return Err(error),
            }
        }
        let Some((feed, watcher, stream)) = opened else { return Err(StoreError::Unavailable(Box::new(TooSlow))) };
        let (caught_up, mut reached) = channel::channel(false);
        let reader = tokio::spawn(watcher.run(stream, caught_up));
        if tokio::time::timeout(CATCH_UP, reached.wait_for(|caught_up| *caught_up)).await.is_err() {
            tracing::warn!("much has happened of late: the feed is still being read");
        }
        Ok((feed, reader))
    }

    const fn is_replicated(&self) -> bool {
        self.replicated
    }

    fn users(&self) -> Collection<Document> {
        self.database.collection(documents::USERS)
    }

    fn api_keys(&self) -> Collection<Document> {
        self.database.collection(documents::API_KEYS)
    }

    /// A session whose readings include everything up to the feed's position: one that was elected a moment ago may not
    /// know yet what the stream, on the server that was the primary before, has told already.
    async fn session(&self) -> Result<ClientSession, StoreError> {
        let mut session = bounded(self.client.start_session()).await?;
        if self.replicated {
            session.advance_operation_time(time_of(self.feed.position()));
        }
        Ok(session)
    }

    /// Makes sure that a change that was just committed is in this process's feed, and says where.
    async fn told(&self, committed: Option<bson::Timestamp>, happening: Happening) -> Cursor {
        match committed.map(place_of) {
            Some(place) => {
                self.feed.reached(place).await;
                self.feed.cursor(place)
            }
            None if self.replicated => self.feed.cursor(self.feed.position()),
            None => self.feed.cursor(self.feed.push_next(vec![happening])),
        }
    }
}

async fn options(url: &MongoUrl) -> Result<ClientOptions, StoreError> {
    let mut options = match ClientOptions::parse(url.expose()).await {
        Ok(options) => options,
        Err(error) if matches!(*error.kind, ErrorKind::InvalidArgument { .. }) => {
            return Err(StoreError::Unavailable(Box::new(UnreadableAddress)));
        }
        Err(error) => return Err(fault(error)),
    };
    options.app_name.get_or_insert_with(|| "tollgate".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.max_pool_size.get_or_insert(POOL_SIZE);
    // What was acknowledged survives any election, and what was read was never taken back.
    let mut write = WriteConcern::majority();
    write.journal = Some(true);
    debug_assert_eq!(write.w, Some(Acknowledgment::Majority));
    options.write_concern = Some(write);
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}

/// Up to which place everything is committed by a majority.
async fn read_time(database: &Database) -> Result<u64, StoreError> {
    let mut session = bounded(database.client().start_session()).await?;
    bounded(meta(database).find_one(doc! { "_id": "epoch" }).session(&mut session)).await?;
    Ok(session.operation_time().map(place_of).unwrap_or_default())
}

fn meta(database: &Database) -> Collection<Document> {
    database.collection(schema::META)
}

/// Runs one request, a bounded time.
#[track_caller]
fn bounded<T, F>(request: F) -> impl Future<Output = Result<T, StoreError>>
where
    F: IntoFuture<Output = Result<T, DriverError>>,
{
    timed("mongodb", Location::caller(), untimed(request))
}

/// The same for one that waits until something happens.
async fn untimed<T, F>(request: F) -> Result<T, StoreError>
where
    F: IntoFuture<Output = Result<T, DriverError>>,
{
    match tokio::time::timeout(REQUEST_TIMEOUT, request.into_future()).await {
        Ok(answer) => answer.map_err(fault),
        Err(_) => Err(StoreError::Unavailable(Box::new(TooSlow))),
    }
}

/// What an error of the driver means to a caller.
fn fault(error: DriverError) -> StoreError {
    match duplicate(&error) {
        Some(conflict) => StoreError::Conflict(conflict),
        None => StoreError::Unavailable(Box::new(error)),
    }
}

/// The driver's error behind one of ours, where there is one.
fn driver(error: &StoreError) -> Option<&DriverError> {
    match error {
        StoreError::Unavailable(cause) => cause.downcast_ref(),
        _ => None,
    }
}

/// The code with which the server refused.
fn code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        _ => None,
    }
}

/// What a duplicate is a duplicate of: the first member of the index, which the server's message names.
fn duplicate(error: &DriverError) -> Option<Conflict> {
    let message = match &*error.kind {
        ErrorKind::Command(command) if command.code == schema::DUPLICATE_KEY => &command.message,
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == schema::DUPLICATE_KEY => &write.message,
        ErrorKind::InsertMany(many) => {
            let mut writes = many.write_errors.iter().flatten();
            &writes.find(|write| write.code == schema::DUPLICATE_KEY)?.message
        }
        _ => return None,
    };
    let (_, key) = message.split_once("dup key: {")?;
    match key.trim_start().split(':').next()? {
        "_id" => Some(Conflict::Id),
        "email" => Some(Conflict::Email),
        "clerk_id" => Some(Conflict::ClerkIdentity),
        "hash" => Some(Conflict::KeyHash),
        _ => None,
    }
}

/// The `_id` of a document, as it was found.
fn id_of(document: &Document) -> Bson {
    document.get("_id").cloned().unwrap_or(Bson::Null)
}
