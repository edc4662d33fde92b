//! Taking turns between processes. Transactions that meet at the same document fail and are tried again, and where many
//! meet, some would never come through; so operations of the ledger on the same users wait for each other first. This
//! is for speed and fairness alone: what holds is held by the transaction. It must not know what is done in a turn.

use std::time::Duration;

use mongodb::{
    Collection, Database,
    bson::{DateTime, Document, doc},
    options::{Acknowledgment, WriteConcern},
};
use tokio::time::Instant;

use super::super::{bounded, code, fault, schema};
use crate::{random, store::StoreError};

/// How long a turn lasts at most, in milliseconds: that long a process that was killed in one is waited for.
const TURN_MILLIS: i64 = 2_000;
/// How long somebody waits for a turn before it goes on without: others are stuck, and the transaction decides.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(3);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Collection<Document>,
    place: i32,
    owner: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (turns, place, owner) = (self.turns.clone(), self.place, std::mem::take(&mut self.owner));
        tokio::spawn(async move {
            let over = doc! { "$set": { "until": DateTime::from_millis(0) } };
            // If this fails, the turn ends by itself.
            let _ = bounded(turns.update_one(doc! { "_id": place, "owner": owner }, over).write_concern(quick())).await;
        });
    }
}

/// Nothing is lost with a turn.
fn quick() -> WriteConcern {
    let mut concern = WriteConcern::default();
    concern.w = Some(Acknowledgment::Nodes(1));
    concern
}

/// Waits for a turn at a place, by the server's clock. `None` where it was waited for too long.
pub(super) async fn wait(database: &Database, place: i32) -> Result<Option<Turn>, StoreError> {
    let turns = database.collection::<Document>(schema::TURNS);
    let owner = random::id("").map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let free = doc! { "_id": place, "$expr": { "$lt": ["$until", "$$NOW"] } };
    let take = vec![doc! { "$set": { "until": { "$add": ["$$NOW", TURN_MILLIS] }, "owner": &owner } }];
    let began = Instant::now();
    let mut is_new = true;
    while began.elapsed() < PATIENCE {
        let taken = bounded(turns.update_one(free.clone(), take.clone()).write_concern(quick())).await?;
        if taken.matched_count == 1 {
            return Ok(Some(Turn { turns, place, owner }));
        }
        if is_new {
            is_new = false;
            let first = doc! { "_id": place, "until": DateTime::from_millis(0) };
            match turns.insert_one(first).write_concern(quick()).await {
                Ok(_) => continue,
                Err(error) if code(&error) == Some(schema::DUPLICATE_KEY) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        tokio::time::sleep(PAUSE.mul_f64(random::jitter())).await;
    }
    Ok(None)
}
