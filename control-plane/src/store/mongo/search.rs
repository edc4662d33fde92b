//! Searching users and keys in pages. It must not change anything.

use futures_util::TryStreamExt as _;
use mongodb::{
    Collection,
    bson::{Bson, Document, doc},
};

use super::{
    MongoStore, bounded, documents, id_of,
    values::{any_id, date, id_forms},
};
use crate::{
    domain::{ApiKey, KeyFilter, PageKey, Subscription, User, UserFilter, UserId},
    store::StoreError,
};

/// Texts that begin with `text`: a range, so that an index helps and no letter has a meaning of its own. No text that is
/// looked for holds the last character of Unicode.
fn beginning(text: &str) -> Document {
    doc! { "$gte": text, "$lt": format!("{text}\u{10FFFF}") }
}

/// What comes after a place, newest first. Ids and times of other programs may be of any kind, and one kind goes before
/// another, whatever it says: so the document at that place says what it has.
async fn older_than(collection: &Collection<Document>, after: &PageKey) -> Result<Document, StoreError> {
    let place = collection.find_one(doc! { "_id": any_id(&after.id) });
    let place = bounded(place.projection(doc! { "_id": 1, "created_at": 1 })).await?;
    let (at, id) = match place {
        Some(place) => (place.get("created_at").cloned().unwrap_or(Bson::Null), id_of(&place)),
        // Deleted since: the list goes on at the likeliest place.
        None => (date(after.at), id_forms(&after.id).pop().unwrap_or(Bson::Null)),
    };
    let same_moment = lower("_id", &id).into_iter().map(|lower| doc! { "$and": [{ "created_at": &at }, lower] });
    let all: Vec<Document> = lower("created_at", &at).into_iter().chain(same_moment).collect();
    Ok(doc! { "$or": all })
}

/// Conditions, of which one holds for everything that MongoDB sorts below a value. Each is one piece of an index.
fn lower(member: &str, than: &Bson) -> Vec<Document> {
    // Kinds in MongoDB's order of them. What is not there is sorted as null.
    let kinds = ["null", "number", "string", "objectId", "date"];
    let kind = match than {
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => "number",
        Bson::String(_) => "string",
        Bson::ObjectId(_) => "objectId",
        Bson::DateTime(_) => "date",
        _ => "null",
    };
    let below = kinds.into_iter().take_while(|one| *one != kind).map(|one| match one {
        "null" => doc! { member: Bson::Null },
        other => doc! { member: { "$type": other } },
    });
    let same = (kind != "null").then(|| doc! { member: { "$lt": than } });
    below.chain(same).collect()
}

async fn page(
    collection: Collection<Document>,
    mut conditions: Vec<Document>,
    after: Option<&PageKey>,
    limit: usize,
) -> Result<Vec<Document>, StoreError> {
    if let Some(after) = after {
        conditions.push(older_than(&collection, after).await?);
    }
    let wanted = if conditions.is_empty() {
        Document::new()
    } else {
        doc! { "$and": conditions }
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = collection.find(wanted).sort(doc! { "created_at": -1, "_id": -1 }).limit(limit);
    bounded(async { found.await?.try_collect().await }).await
}

impl MongoStore {
    pub(super) async fn search_users(
        &self,
        filter: &UserFilter,
        after: Option<&PageKey>,
        limit: usize,
    ) -> Result<Vec<User>, StoreError> {
        let mut conditions = Vec::new();
        if let Some(text) = &filter.text {
            conditions.push(doc! { "$or": [
                { "_id": any_id(text) }, { "clerk_id": text }, { "email": beginning(text) },
            ] });
        }
        conditions.extend(filter.role.map(|role| or_default("role", role.as_str(), role.as_str() == "user")));
        // What is not there counts as true.
        conditions.extend(filter.is_active.map(|active| match active {
            true => doc! { "is_active": { "$ne": false } },
            false => doc! { "is_active": false },
        }));
        conditions.extend(
            filter.subscription.map(|subscription| {
                or_default("subscription", subscription.as_str(), subscription == Subscription::Free)
            }),
        );
        let found = page(self.users(), conditions, after, limit).await?;
        found.into_iter().map(documents::user).collect()
    }

    pub(super) async fn search_keys(
        &self,
        filter: &KeyFilter,
        after: Option<&PageKey>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let mut conditions = Vec::new();
        conditions.extend(filter.user_id.as_ref().map(UserId::as_str).map(|id| doc! { "user_id": any_id(id) }));
        if let Some(text) = filter.text.as_ref() {
            conditions.push(doc! { "$or": [{ "_id": any_id(text) }, { "prefix": beginning(text) }] });
        }
        let found = page(self.api_keys(), conditions, after, limit).await?;
        found.into_iter().map(documents::key).collect()
    }
}

/// A member that has this word, or is not there where the word is what its absence means.
fn or_default(member: &str, word: &str, is_default: bool) -> Document {
    if is_default {
        doc! { member: { "$in": [word, Bson::Null] } }
    } else {
        doc! { member: word }
    }
}
