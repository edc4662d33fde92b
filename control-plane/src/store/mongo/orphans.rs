//! Transactions of processes that are gone: MongoDB keeps them, and what they have touched, for a minute
//! (`transactionLifetimeLimitSeconds`), and everybody who wants to change the same waits as long. Whoever is left ends
//! them. It must not know what they changed.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::{
    Client,
    bson::{Bson, Document, doc},
    options::ReadConcern,
};
use tokio::time::{MissedTickBehavior, interval};

use super::bounded;
use crate::store::StoreError;

/// How often they are looked for.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a transaction does nothing before it counts as left alone. A process that lives goes on after
/// milliseconds; should one be slower, it is told so and begins its transaction anew.
const IDLE_MICROS: i64 = 1_000_000;

/// Ends what was left alone, for as long as it is not stopped.
pub(super) async fn run(client: Client, app_name: String) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_able = true;
    loop {
        ticks.tick().await;
        match end(&client, &app_name).await {
            Ok(0) => is_able = true,
            Ok(ended) => {
                is_able = true;
                tracing::warn!(ended, "ended transactions that a process had left alone");
            }
            // Said once: it may be away for long, or not allow this.
            Err(error) if is_able => {
                is_able = false;
                tracing::warn!(%error, "cannot look for transactions that were left alone");
            }
            Err(_) => {}
        }
    }
}

async fn end(client: &Client, app_name: &str) -> Result<usize, StoreError> {
    let admin = client.database("admin");
    let left_alone = doc! {
        "type": "idleSession",
        "appName": app_name,
        "transaction.timeInactiveMicros": { "$gte": IDLE_MICROS },
    };
    let asked = vec![doc! { "$currentOp": { "idleSessions": true } }, doc! { "$match": left_alone }];
    let found: Vec<Document> =
        bounded(async { admin.aggregate(asked).read_concern(ReadConcern::local()).await?.try_collect().await }).await?;
    let sessions: Vec<Bson> = found
        .iter()
        .filter_map(|session| session.get_document("lsid").ok()?.get("id").cloned())
        .map(|id| Bson::Document(doc! { "id": id }))
        .collect();
    if sessions.is_empty() {
        return Ok(0);
    }
    let count = sessions.len();
    bounded(admin.run_command(doc! { "killSessions": sessions })).await?;
    Ok(count)
}
