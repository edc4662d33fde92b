//! Copies in a MongoDB, in large batches. It knows no member but those in which people differ.

use std::ops::Range;

use futures_util::TryStreamExt as _;
use mongodb::{
    Collection, Database, IndexModel,
    bson::{DateTime, Document, doc},
    error::Result,
};

use super::First;
use crate::people;

/// Documents of one batch.
const BATCH: u64 = 10_000;

/// Adds the people of these numbers. Nobody else may use the database meanwhile.
pub(crate) async fn fill(database: &Database, first: &First, numbers: Range<u64>) -> Result<()> {
    let (users, keys) = (database.collection("users"), database.collection("api_keys"));
    let (user, key) = (one(&users, &first.user).await?, one(&keys, &first.key).await?);
    let user_of = |number| {
        let mut user = user.clone();
        user.extend(doc! {
            "_id": people::user_id(number), "email": people::email(number), "clerk_id": people::subject(number),
            "created_at": later(&user, number), "updated_at": later(&user, number),
        });
        user
    };
    let key_of = |number| {
        let mut key = key.clone();
        key.extend(doc! {
            "_id": people::key_id(number), "user_id": people::user_id(number),
            "hash": people::key_hash(number).to_string(),
            "created_at": later(&key, number), "updated_at": later(&key, number),
        });
        key
    };
    // Both at once: a server works on one batch with one core.
    tokio::try_join!(copy(&users, &numbers, user_of), copy(&keys, &numbers, key_of))?;
    // What is still on its way to the disk would be measured later.
    database.client().database("admin").run_command(doc! { "fsync": 1 }).await.map(drop)
}

async fn one(collection: &Collection<Document>, id: &str) -> Result<Document> {
    Ok(collection.find_one(doc! { "_id": id }).await?.expect("the first one is there"))
}

/// Copies were made one after the other, as the indexes by time would have seen it.
fn later(first: &Document, number: u64) -> DateTime {
    let made = first.get_datetime("created_at").expect("a time");
    DateTime::from_millis(made.timestamp_millis() + number as i64)
}

/// Without indexes and then again with those that were there: to sort all at once is quicker than to put in each one.
async fn copy(
    collection: &Collection<Document>,
    numbers: &Range<u64>,
    copy_of: impl Fn(u64) -> Document,
) -> Result<()> {
    let indexes: Vec<IndexModel> = collection.list_indexes().await?.try_collect().await?;
    collection.drop_indexes().await?;
    for start in numbers.clone().step_by(BATCH as usize) {
        let batch = start..numbers.end.min(start + BATCH);
        collection.insert_many(batch.map(&copy_of)).ordered(false).await?;
    }
    collection.create_indexes(indexes).await.map(drop)
}
