//! Searching users and keys in pages. It must not change anything.

use futures_util::TryStreamExt as _;
use mongodb::{
    Collection,
    bson::{Bson, Document, doc, oid::ObjectId},
};

use super::{
    MongoStore, bounded, documents,
    values::{any_id, date},
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

/// What comes after a place, newest first, in MongoDB's order of all kinds of ids: another program's may be ObjectIds.
fn older_than(after: &PageKey) -> Document {
    let at = date(after.at);
    let id = ObjectId::parse_str(&after.id).map_or_else(|_| Bson::from(&after.id), Bson::ObjectId);
    // A text of ours that looks like an ObjectId would otherwise come before its own place.
    let same_moment = doc! {
        "created_at": at.clone(), "_id": { "$ne": &after.id }, "$expr": { "$lt": ["$_id", { "$literal": id }] },
    };
    doc! { "$or": [{ "created_at": { "$lt": at } }, same_moment] }
}

async fn page(
    collection: Collection<Document>,
    mut conditions: Vec<Document>,
    after: Option<&PageKey>,
    limit: usize,
) -> Result<Vec<Document>, StoreError> {
    conditions.extend(after.map(older_than));
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
