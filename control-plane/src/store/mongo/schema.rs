//! Collections and indexes, and how they come to be: set-up may run at any time, on data of another program, in several
//! processes at once. It must not know what is in a document beyond the names of its members.

use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document, doc},
    error::{Error as DriverError, ErrorKind},
    options::{IndexOptions, ReturnDocument},
};

use super::{bounded, code, documents, fault, meta};
use crate::{random, store::StoreError};

/// Version of what is below. A store with a higher one was made by a newer program.
const VERSION: i64 = 1;

pub(super) const AUDIT: &str = "tollgate_audit";
pub(super) const CLERK_USERS: &str = "tollgate_clerk_users";
pub(super) const DELIVERIES: &str = "tollgate_deliveries";
pub(super) const KEY_SETS: &str = "tollgate_key_sets";
pub(super) const LEDGER: &str = "tollgate_ledger";
pub(super) const META: &str = "tollgate_meta";
pub(super) const POLICY: &str = "tollgate_policy";
pub(super) const RESERVATIONS: &str = "tollgate_reservations";
pub(super) const TURNS: &str = "tollgate_turns";
pub(super) const USAGE_BATCHES: &str = "tollgate_usage_batches";
pub(super) const USAGE_DAILY: &str = "tollgate_usage_daily";
pub(super) const REVOCATIONS: &str = "tollgate_revocations";
pub(super) const SECRETS: &str = "tollgate_secrets";
pub(super) const SESSIONS: &str = "tollgate_sessions";
pub(super) const WATCHED: &str = "tollgate_watched";
pub(super) const WATCHED_NODES: &str = "tollgate_watched_nodes";

/// A collection and its indexes.
struct Collection {
    name: &'static str,
    indexes: &'static [Index],
    /// Whether the change stream is given what a deleted document was.
    pre_images: bool,
}

/// An index.
struct Index {
    name: &'static str,
    members: &'static [(&'static str, i32)],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Unique,
    /// Unique among documents in which the first member is a text that is not empty.
    UniqueText,
}

const fn index(name: &'static str, members: &'static [(&'static str, i32)], kind: Kind) -> Index {
    Index { name, members, kind }
}

const COLLECTIONS: &[Collection] = &[
    Collection {
        name: documents::USERS,
        indexes: &[
            index("tollgate_email", &[("email", 1)], Kind::UniqueText),
            index("tollgate_clerk", &[("clerk_id", 1), ("clerk_issuer", 1)], Kind::UniqueText),
            index("tollgate_role", &[("role", 1)], Kind::Plain),
            index("tollgate_created", &[("created_at", 1), ("_id", 1)], Kind::Plain),
            index("tollgate_updated", &[("updated_at", 1)], Kind::Plain),
        ],
        pre_images: false,
    },
    Collection {
        name: documents::API_KEYS,
        indexes: &[
            index("tollgate_hash", &[("hash", 1)], Kind::Unique),
            index("tollgate_user", &[("user_id", 1), ("created_at", 1)], Kind::Plain),
            index("tollgate_created", &[("created_at", 1), ("_id", 1)], Kind::Plain),
            index("tollgate_updated", &[("updated_at", 1)], Kind::Plain),
        ],
        pre_images: true,
    },
    Collection {
        name: AUDIT,
        indexes: &[
            index("at", &[("at", -1), ("_id", -1)], Kind::Plain),
            index("subject", &[("subject", 1), ("at", -1), ("_id", -1)], Kind::Plain),
            index("actor", &[("actor", 1), ("at", -1), ("_id", -1)], Kind::Plain),
        ],
        pre_images: false,
    },
    Collection {
        name: SESSIONS,
        indexes: &[
            index("family", &[("family", 1)], Kind::Unique),
            index("user", &[("user_id", 1), ("refreshed_at", -1)], Kind::Plain),
            index("expires", &[("expires_at", 1)], Kind::Plain),
        ],
        pre_images: false,
    },
    Collection {
        name: REVOCATIONS,
        indexes: &[
            index("until", &[("until", 1)], Kind::Plain),
            index("tollgate_updated", &[("updated_at", 1)], Kind::Plain),
        ],
        pre_images: false,
    },
    Collection { name: CLERK_USERS, indexes: &[], pre_images: false },
    Collection { name: DELIVERIES, indexes: &[index("at", &[("at", 1)], Kind::Plain)], pre_images: false },
    Collection { name: KEY_SETS, indexes: &[], pre_images: false },
    Collection {
        name: LEDGER,
        indexes: &[index("user", &[("user_id", 1), ("seq", -1)], Kind::Unique)],
        pre_images: false,
    },
    Collection { name: POLICY, indexes: &[], pre_images: false },
    Collection {
        name: RESERVATIONS,
        indexes: &[
            index("expiring", &[("is_open", 1), ("expires_at", 1)], Kind::Plain),
            index("user", &[("user_id", 1), ("is_open", 1)], Kind::Plain),
        ],
        pre_images: false,
    },
    Collection { name: TURNS, indexes: &[], pre_images: false },
    Collection { name: USAGE_BATCHES, indexes: &[index("at", &[("at", 1)], Kind::Plain)], pre_images: false },
    Collection {
        name: USAGE_DAILY,
        indexes: &[index("user", &[("user_id", 1), ("day", 1)], Kind::Plain)],
        pre_images: false,
    },
    Collection { name: SECRETS, indexes: &[], pre_images: false },
    Collection {
        name: WATCHED,
        indexes: &[index("route", &[("route", 1), ("code", 1)], Kind::Plain)],
        pre_images: false,
    },
    Collection { name: WATCHED_NODES, indexes: &[index("at", &[("at", 1)], Kind::Plain)], pre_images: false },
];

/// Makes what is missing. Returns the store's epoch.
pub(super) async fn prepare(database: &Database, pre_images: bool) -> Result<String, StoreError> {
    let found = version(database).await?;
    if found > VERSION {
        return Err(StoreError::TooNew { found, known: VERSION });
    }
    for collection in COLLECTIONS {
        make(database, collection, pre_images).await?;
    }
    let version = doc! { "$max": { "version": VERSION } };
    match meta(database).update_one(doc! { "_id": "schema" }, version).upsert(true).await {
        Ok(_) => {}
        // Another process was quicker.
        Err(error) if code(&error) == Some(DUPLICATE_KEY) => {}
        Err(error) => return Err(fault(error)),
    }
    let fresh = random::id("").map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let epoch = value_or(database, META, "epoch", fresh.into()).await?;
    epoch.as_str().map(str::to_owned).ok_or_else(|| StoreError::Corrupt(format!("collection {META}: epoch is no text")))
}

async fn version(database: &Database) -> Result<i64, StoreError> {
    let found = bounded(meta(database).find_one(doc! { "_id": "schema" })).await?;
    let version = found.as_ref().and_then(|found| found.get("version"));
    Ok(match version {
        Some(Bson::Int32(version)) => i64::from(*version),
        Some(Bson::Int64(version)) => *version,
        _ => 0,
    })
}

const NAMESPACE_EXISTS: i32 = 48;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
pub(super) const DUPLICATE_KEY: i32 = 11000;

async fn make(database: &Database, collection: &Collection, pre_images: bool) -> Result<(), StoreError> {
    match database.create_collection(collection.name).await {
        Ok(()) => {}
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {}
        Err(error) => return Err(fault(error)),
    }
    for index in collection.indexes {
        match database.collection::<Document>(collection.name).create_index(index.model()).await {
            Ok(_) => {}
            // It is there, under another name or with another filter.
            Err(error) if matches!(code(&error), Some(INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT)) => {
                tracing::debug!(collection = collection.name, index = index.name, %error, "another index does for it");
            }
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => return Err(duplicates(collection, index, &error)),
            Err(error) => return Err(fault(error)),
        }
    }
    if collection.pre_images && pre_images {
        let asked = doc! { "collMod": collection.name, "changeStreamPreAndPostImages": { "enabled": true } };
        if let Err(error) = database.run_command(asked).await {
            tracing::warn!(
                collection = collection.name, %error,
                "pre-images cannot be had: a key that another program deletes makes edges ask for everything anew"
            );
        }
    }
    Ok(())
}

impl Index {
    fn model(&self) -> IndexModel {
        let keys: Document =
            self.members.iter().map(|(name, order)| ((*name).to_owned(), Bson::Int32(*order))).collect();
        let mut options = IndexOptions::default();
        options.name = Some(self.name.to_owned());
        options.unique = (self.kind != Kind::Plain).then_some(true);
        if let (Kind::UniqueText, Some((first, _))) = (self.kind, self.members.first()) {
            // Greater than the empty text are texts only; and a question for one text is seen to be within it, so that
            // the index is used.
            options.partial_filter_expression = Some(doc! { *first: { "$gt": "" } });
        }
        IndexModel::builder().keys(keys).options(options).build()
    }
}

/// What an operator has to mend. MongoDB's own message names one of the values.
fn duplicates(collection: &Collection, index: &Index, error: &DriverError) -> StoreError {
    let members: Vec<&str> = index.members.iter().map(|(name, _)| *name).collect();
    let told = match &*error.kind {
        ErrorKind::Command(command) => command.message.clone(),
        _ => error.to_string(),
    };
    StoreError::Corrupt(format!(
        "collection {}: several documents have the same {}; keep one of them, or take the member away from the others, \
         and start again ({told})",
        collection.name,
        members.join(" and "),
    ))
}

/// The value of a name in one of our own collections; where there is none, `fresh` becomes it. Of two processes that ask
/// at once both get the same one.
pub(super) async fn value_or(
    database: &Database,
    collection: &str,
    name: &str,
    fresh: Bson,
) -> Result<Bson, StoreError> {
    let collection = database.collection::<Document>(collection);
    let insert = || {
        collection
            .find_one_and_update(doc! { "_id": name }, doc! { "$setOnInsert": { "value": fresh.clone() } })
            .upsert(true)
            .return_document(ReturnDocument::After)
    };
    let mut found = insert().await;
    if found.as_ref().is_err_and(|error| code(error) == Some(DUPLICATE_KEY)) {
        found = insert().await;
    }
    let missing = || StoreError::Corrupt(format!("{name} has no value"));
    found.map_err(fault)?.and_then(|mut found| found.remove("value")).ok_or_else(missing)
}
