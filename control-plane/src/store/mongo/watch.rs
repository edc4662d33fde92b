//! Reads the change stream of the database, for as long as the store is open, and hands what it tells to the feed. It
//! must not know what an event means.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::poll;
use mongodb::{
    Database,
    bson::{self, Bson, Document, RawDocumentBuf, doc},
    change_stream::{
        ChangeStream,
        event::{ChangeStreamEvent, ResumeToken},
    },
    error::{Error as DriverError, ErrorKind},
    options::{FullDocumentBeforeChangeType, FullDocumentType},
};

use super::{
    bounded, driver, fault,
    feed::{Feed, place_of, time_of},
    read_time,
    tell::{self, Told},
    untimed,
};
use crate::{
    domain::{Happening, Timestamp},
    store::StoreError,
};

/// How long the server holds an empty answer back.
const HOLD: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A batch of the server ends at 16 MB. One that is smaller by more than any event of ours has ended because nothing
/// more had happened.
const FULL_BATCH: usize = 8 << 20;
/// Documents of the answer that opens a stream (also when the driver resumes one by itself), where there are more.
const FIRST_BATCH: usize = 101;
/// So often in a row MongoDB may refuse to resume, for whatever reason, before the stream is begun anew.
const MOST_REFUSALS: u32 = 20;

/// One reading of the stream, from where the last one ended.
pub(super) struct Watcher {
    database: Database,
    feed: Arc<Feed>,
    pre_images: bool,
    from: From,
    /// What happened at one time, as far as it was read.
    group: Option<Group>,
    batch_bytes: usize,
    batch_events: usize,
}

/// What happened at one time: its place in the feed, the time of day where MongoDB says it (since 6.0), and what it was.
struct Group {
    seq: u64,
    at: Option<Timestamp>,
    happened: Vec<Happening>,
}

/// Where a stream begins.
#[derive(Debug, Clone)]
enum From {
    Place(u64),
    Token(ResumeToken),
}

impl Watcher {
    /// Reads from `place` on.
    pub(super) fn new(database: Database, feed: Arc<Feed>, pre_images: bool, place: u64) -> Self {
        let from = From::Place(place);
        Self { database, feed, pre_images, from, group: None, batch_bytes: 0, batch_events: 0 }
    }

    /// Opens the stream.
    pub(super) async fn open(&mut self) -> Result<ChangeStream<RawDocumentBuf>, StoreError> {
        let collections: Vec<&str> = tell::WATCHED.iter().map(|(name, _)| *name).collect();
        let pipeline = [
            doc! { "$match": { "$or": [
                { "ns.coll": { "$in": &collections } },
                { "to.coll": { "$in": collections } },
                { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
            ] } },
            // Only what is read: documents hold what this has no use for, password hashes among it.
            doc! { "$project": {
                "operationType": 1, "ns": 1, "to": 1, "documentKey": 1, "clusterTime": 1, "wallTime": 1,
                "updateDescription": 1,
                "fullDocument.hash": 1, "fullDocument.revoked_at": 1, "fullDocument.until": 1, "fullDocumentBeforeChange.hash": 1,
            } },
        ];
        let mut watch =
            self.database.watch().pipeline(pipeline).full_document(FullDocumentType::UpdateLookup).max_await_time(HOLD);
        if self.pre_images {
            watch = watch.full_document_before_change(FullDocumentBeforeChangeType::WhenAvailable);
        }
        watch = match &self.from {
            From::Place(place) => watch.start_at_operation_time(time_of(*place)),
            From::Token(token) => watch.resume_after(token.clone()),
        };
        (self.batch_bytes, self.batch_events) = (0, 0);
        Ok(bounded(watch).await?.with_type())
    }

    /// Reads until the stream ends or breaks. `caught_up` is called whenever there is nothing more for now.
    pub(super) async fn read(
        &mut self,
        stream: &mut ChangeStream<RawDocumentBuf>,
        mut caught_up: impl FnMut(),
    ) -> Result<(), StoreError> {
        while stream.is_alive() {
            let next = {
                let mut next = pin!(stream.next_if_any());
                // What is here already is here at once; what is not has to be fetched, so a batch has ended.
                match poll!(next.as_mut()) {
                    Poll::Ready(next) => next.map_err(fault)?,
                    Poll::Pending => {
                        let may_go_on = self.batch_bytes >= FULL_BATCH || self.batch_events == FIRST_BATCH;
                        if !may_go_on {
                            self.publish();
                        }
                        // The server answers after `HOLD`. One that does not is gone without a word.
                        let next = untimed(next).await?;
                        (self.batch_bytes, self.batch_events) = (0, 0);
                        next
                    }
                }
            };
            match &next {
                Some(event) => self.take(event),
                None => self.publish(),
            }
            if let Some(token) = stream.resume_token() {
                self.pass(&token);
                self.from = From::Token(token);
            }
            if next.is_none() {
                caught_up();
            }
        }
        Ok(())
    }

    fn take(&mut self, raw: &RawDocumentBuf) {
        self.batch_bytes = self.batch_bytes.saturating_add(raw.as_bytes().len());
        self.batch_events = self.batch_events.saturating_add(1);
        let event = bson::deserialize_from_slice::<ChangeStreamEvent<Document>>(raw.as_bytes()).ok();
        let Some((event, time)) = event.and_then(|event| event.cluster_time.map(|time| (event, place_of(time)))) else {
            tracing::warn!("an event of the change stream cannot be read: edges are told to forget everything");
            self.group = None;
            self.feed.lose(self.feed.position());
            return;
        };
        if self.group.as_ref().is_some_and(|group| group.seq != time) {
            self.publish();
        }
        let at = event.wall_time.map(|at| Timestamp::from_millis(at.timestamp_millis()));
        let fresh = || Group { seq: time, at, happened: Vec::new() };
        match tell::told(&event) {
            // The time was reached all the same.
            Told::Nothing => {
                self.group.get_or_insert_with(fresh);
            }
            Told::One(happening) => {
                self.group.get_or_insert_with(fresh).happened.push(happening);
            }
            Told::Anything => {
                self.group = None;
                self.feed.lose(time);
            }
        }
    }

    /// Hands over what happened at one time: it is complete.
    fn publish(&mut self) {
        if let Some(Group { seq, at, happened }) = self.group.take() {
            self.feed.push(seq, at, happened);
        }
    }

    /// A token stands before everything of its time, so all from before that time was read.
    fn pass(&mut self, token: &ResumeToken) {
        let Some(passed) = time_of_token(token).and_then(|time| time.checked_sub(1)) else { return };
        match &self.group {
            Some(group) if group.seq > passed => {}
            _ => {
                self.publish();
                self.feed.advance(passed);
            }
        }
    }

    /// Reads for ever; a stream that breaks is resumed, and where that cannot be, everybody is told to forget.
    pub(super) async fn run(
        mut self,
        first: ChangeStream<RawDocumentBuf>,
        caught_up: tokio::sync::watch::Sender<bool>,
    ) {
        let mut stream = Some(first);
        let mut pause = FIRST_PAUSE;
        let (mut lost, mut refusals) = (false, 0_u32);
        loop {
            let opened = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.open().await,
            };
            let ended = match opened {
                Ok(mut stream) => {
                    let feed = Arc::clone(&self.feed);
                    self.read(&mut stream, || {
                        caught_up.send_replace(true);
                        feed.heard().mark();
                        (pause, refusals) = (FIRST_PAUSE, 0);
                        if std::mem::take(&mut lost) {
                            tracing::info!(place = feed.position(), "the change stream of MongoDB is back");
                        }
                    })
                    .await
                }
                Err(error) => Err(error),
            };
            if !std::mem::replace(&mut lost, true) {
                match &ended {
                    Ok(()) => tracing::warn!("the change stream of MongoDB has ended; opening it again"),
                    Err(error) => tracing::warn!(%error, "the change stream of MongoDB is lost; trying to resume it"),
                }
            }
            let refused = ended.as_ref().err().and_then(driver).is_some_and(is_refusal);
            refusals = if refused { refusals.saturating_add(1) } else { 0 };
            let beyond = ended.as_ref().map_or_else(|error| driver(error).is_some_and(is_beyond_resuming), |()| true);
            if (beyond || refusals >= MOST_REFUSALS)
                && let Err(error) = self.begin_anew().await
            {
                tracing::debug!(%error, "no new change stream yet");
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Starts from now: whatever happened in between is unknown, so every older place is lost.
    async fn begin_anew(&mut self) -> Result<(), StoreError> {
        let now = read_time(&self.database).await?;
        self.group = None;
        self.from = From::Place(now.saturating_add(1));
        self.feed.lose(now);
        tracing::warn!(place = now, "the change stream could not be resumed: edges are told to forget everything");
        Ok(())
    }
}

fn is_refusal(error: &DriverError) -> bool {
    matches!(&*error.kind, ErrorKind::Command(_))
}

/// Whether MongoDB says that the place is gone from its log, or that this stream can never go on. A reader whose position
/// was lost because its server has rolled back its log (code 136) is not among them: the token is good at another one.
fn is_beyond_resuming(error: &DriverError) -> bool {
    const CHANGE_STREAM_FATAL: i32 = 280;
    const CHANGE_STREAM_HISTORY_LOST: i32 = 286;
    const EVENT_TOO_LARGE: i32 = 10334;
    const INVALID_RESUME_TOKEN: i32 = 260;
    match &*error.kind {
        ErrorKind::Command(command) => matches!(
            command.code,
            CHANGE_STREAM_FATAL | CHANGE_STREAM_HISTORY_LOST | EVENT_TOO_LARGE | INVALID_RESUME_TOKEN
        ),
        ErrorKind::MissingResumeToken => true,
        _ => false,
    }
}

/// The cluster time in a resume token. Tokens are opaque by contract, but all since MongoDB 4.0.7 begin with the time:
/// the byte 0x82 and eight bytes of it, in hexadecimal. Without it the feed only moves on with events, which is right
/// but later.
fn time_of_token(token: &ResumeToken) -> Option<u64> {
    let Ok(Bson::Document(token)) = bson::serialize_to_bson(token) else { return None };
    let data = token.get_str("_data").ok()?;
    let time = data.strip_prefix("82")?.get(..16)?;
    u64::from_str_radix(time, 16).ok()
}
