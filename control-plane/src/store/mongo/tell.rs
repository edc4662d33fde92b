//! What an event of the change stream means to edges. It must not know how events arrive.

use mongodb::{
    bson::{Bson, Document},
    change_stream::event::{ChangeStreamEvent, OperationType, UpdateDescription},
};
use tollgate_protocol::KeyHash;

use super::{
    documents,
    ledger::documents::{GIVEN_AT, RECALLED_AT},
    revocations, schema, values,
};
use crate::domain::{Happening, UserId};

/// What one event tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing that an edge must hear of.
    Nothing,
    /// This.
    One(Happening),
    /// A collection is gone or another one: anything may have changed.
    Anything,
}

/// Reads the events of one collection.
type Reader = fn(&ChangeStreamEvent<Document>) -> Told;

/// The collections that are watched, and who reads their events. Each change of ours writes an entry of the log of
/// changes: that it was read says that the change has passed, also where it was none that is told.
pub(super) const WATCHED: &[(&str, Reader)] = &[
    (documents::USERS, user),
    (documents::API_KEYS, key),
    (schema::REVOCATIONS, revoked),
    (schema::AUDIT, |_| Told::Nothing),
];

/// What an event tells.
pub(super) fn told(event: &ChangeStreamEvent<Document>) -> Told {
    let collection = event.ns.as_ref().and_then(|ns| ns.coll.as_deref()).unwrap_or_default();
    let renamed_to = event.to.as_ref().and_then(|to| to.coll.as_deref());
    match &event.operation_type {
        OperationType::Insert | OperationType::Update | OperationType::Replace | OperationType::Delete => {
            let reader = WATCHED.iter().find(|(name, _)| *name == collection).map(|(_, reader)| reader);
            reader.map_or(Told::Nothing, |reader| reader(event))
        }
        OperationType::Drop if watched(collection) => Told::Anything,
        OperationType::Rename if watched(collection) || renamed_to.is_some_and(watched) => Told::Anything,
        OperationType::DropDatabase | OperationType::Invalidate => Told::Anything,
        _ => Told::Nothing,
    }
}

fn watched(collection: &str) -> bool {
    WATCHED.iter().any(|(name, _)| *name == collection)
}

fn id(event: &ChangeStreamEvent<Document>) -> Option<String> {
    event.document_key.as_ref()?.get("_id").and_then(values::id_text)
}

fn user(event: &ChangeStreamEvent<Document>) -> Told {
    let update = event.update_description.as_ref();
    if update.is_some_and(|update| is_quiet(update, quiet_of_user)) {
        return Told::Nothing;
    }
    let is_recall = update.is_some_and(|update| is_quiet(update, |name| name == RECALLED_AT || quiet_of_user(name)));
    let happening = if is_recall { Happening::Recall } else { Happening::User };
    Told::One(id(event).map_or(Happening::Unknown, |id| happening(UserId::new(id))))
}

/// Counters and times that change with nearly every request: telling them would keep every edge asking. Tokens that are
/// given come seldom and are told.
fn quiet_of_user(member: &str) -> bool {
    (member.starts_with("tokens_") && member != GIVEN_AT && member != RECALLED_AT)
        || matches!(member, "last_login_at" | "updated_at")
}

fn key(event: &ChangeStreamEvent<Document>) -> Told {
    if event.update_description.as_ref().is_some_and(|update| is_quiet(update, quiet_of_key)) {
        return Told::Nothing;
    }
    let hash =
        |document: &Option<Document>| -> Option<KeyHash> { document.as_ref()?.get_str("hash").ok()?.parse().ok() };
    let revoked = |document: &Option<Document>| {
        let moment = document.as_ref().and_then(|document| document.get("revoked_at"));
        moment.is_some_and(|moment| !matches!(moment, Bson::Null | Bson::Undefined))
    };
    let happening = match (hash(&event.full_document), hash(&event.full_document_before_change)) {
        (Some(hash), _) if revoked(&event.full_document) => Happening::KeyRevoked(hash),
        (Some(hash), _) => Happening::Key(hash),
        // Deleted, or deleted since: the key that it was is refused.
        (None, Some(hash)) => Happening::KeyRevoked(hash),
        (None, None) => Happening::Unknown,
    };
    Told::One(happening)
}

fn revoked(event: &ChangeStreamEvent<Document>) -> Told {
    let id = event.document_key.as_ref().and_then(|key| key.get("_id"));
    let until = event.full_document.as_ref().and_then(|document| document.get("until"));
    match (&event.operation_type, revocations::read(id, until)) {
        // Forgotten, because its time was over.
        (OperationType::Delete, _) => Told::Nothing,
        (_, Some(revocation)) => Told::One(Happening::Revoked(revocation)),
        // Forgotten since it was written: then it is over.
        (_, None) if until.is_none() => Told::Nothing,
        (_, None) => Told::One(Happening::Unknown),
    }
}

fn quiet_of_key(member: &str) -> bool {
    matches!(member, "last_used_at" | "requests" | "updated_at")
}

/// Whether an update touches only members that nobody needs to hear of. One that changes nothing is quiet, too.
fn is_quiet(update: &UpdateDescription, quiet: fn(&str) -> bool) -> bool {
    // "a.b" is a part of the member "a".
    let member = |path: &str| quiet(path.split('.').next().unwrap_or(path));
    let truncated = update.truncated_arrays.iter().flatten().map(|array| array.field.as_str());
    let removed = update.removed_fields.iter().map(String::as_str);
    update.updated_fields.keys().map(String::as_str).chain(removed).chain(truncated).all(member)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{deserialize_from_document, doc, oid::ObjectId};
    use tollgate_protocol::{Revocation, Revoked};

    use super::*;

    fn event(mut document: Document) -> ChangeStreamEvent<Document> {
        document.insert("_id", doc! {"_data": "82"});
        deserialize_from_document(document).unwrap()
    }

    fn of(collection: &str, operation: &str, rest: Document) -> Told {
        let mut document = doc! {"operationType": operation, "ns": {"db": "d", "coll": collection}};
        document.extend(rest);
        told(&event(document))
    }

    fn update(collection: &str, id: impl Into<Bson>, updated: Document, removed: &[&str], now: Document) -> Told {
        let description = doc! {"updatedFields": updated, "removedFields": removed};
        let rest = doc! {"documentKey": {"_id": id}, "updateDescription": description, "fullDocument": now};
        of(collection, "update", rest)
    }

    fn person(id: &str) -> Told {
        Told::One(Happening::User(UserId::new(id)))
    }

    #[test]
    fn users() {
        let id = ObjectId::new();
        assert_eq!(of("users", "insert", doc! {"documentKey": {"_id": "u"}}), person("u"));
        assert_eq!(of("users", "delete", doc! {"documentKey": {"_id": id}}), person(&id.to_hex()));
        assert_eq!(of("users", "delete", doc! {"documentKey": {"_id": {"odd": 1}}}), Told::One(Happening::Unknown));
        let quiet = doc! {"tokens_remaining": 1, "tokens_used": 2, "tokens_by_model.x": 3, "last_login_at": 4};
        assert_eq!(update("users", "u", quiet.clone(), &["tokens_old"], doc! {}), Told::Nothing);
        for loud in ["role", "is_active", "last_logout_at", "tokens_given_at", "anything"] {
            let mut updated = quiet.clone();
            updated.insert(loud, 1);
            assert_eq!(update("users", "u", updated, &[], doc! {}), person("u"), "{loud}");
            assert_eq!(update("users", "u", quiet.clone(), &[loud], doc! {}), person("u"), "{loud}");
        }
    }

    #[test]
    fn a_recall_of_tokens_is_told_as_one_and_a_change_beside_it_as_a_change() {
        let recall = doc! {"tokens_recalled_at": 1, "tokens_reserved": 2};
        let told = Told::One(Happening::Recall(UserId::new("u")));
        assert_eq!(update("users", "u", recall.clone(), &[], doc! {}), told);
        for loud in ["role", "tokens_given_at"] {
            let mut updated = recall.clone();
            updated.insert(loud, 1);
            assert_eq!(update("users", "u", updated, &[], doc! {}), person("u"), "{loud}");
        }
    }

    #[test]
    fn keys() {
        let hash = KeyHash([7; 32]);
        let good = doc! {"hash": hash.to_string()};
        let revoked = doc! {"hash": hash.to_string(), "revoked_at": 1};
        assert_eq!(of("api_keys", "insert", doc! {"fullDocument": good.clone()}), Told::One(Happening::Key(hash)));
        for (now, happening) in [
            (good.clone(), Happening::Key(hash)),
            (revoked, Happening::KeyRevoked(hash)),
            (doc! {}, Happening::Unknown),
        ] {
            assert_eq!(update("api_keys", "k", doc! {"revoked_at": 1}, &[], now), Told::One(happening));
        }
        assert_eq!(update("api_keys", "k", doc! {"last_used_at": 1, "requests": 2}, &[], good.clone()), Told::Nothing);
        let before = doc! {"fullDocumentBeforeChange": good};
        assert_eq!(of("api_keys", "delete", before), Told::One(Happening::KeyRevoked(hash)));
        assert_eq!(of("api_keys", "delete", doc! {}), Told::One(Happening::Unknown));
    }

    #[test]
    fn revocations() {
        let id = doc! {"what": "session", "issuer": "", "id": "s1"};
        let now = doc! {"until": 1_800_000_000_i64};
        let rest = doc! {"documentKey": {"_id": id.clone()}, "fullDocument": now.clone()};
        let revocation = Revocation { what: Revoked::Session, issuer: None, id: "s1".into(), until: 1_800_000_000 };
        let told = || Told::One(Happening::Revoked(revocation.clone()));
        assert_eq!(of(schema::REVOCATIONS, "insert", rest.clone()), told());
        assert_eq!(update(schema::REVOCATIONS, id.clone(), doc! {"until": 1}, &[], now), told());
        assert_eq!(of(schema::REVOCATIONS, "delete", rest), Told::Nothing);
        assert_eq!(update(schema::REVOCATIONS, id, doc! {"until": 1}, &[], doc! {}), Told::Nothing);
        let odd = doc! {"documentKey": {"_id": 7}, "fullDocument": {"until": 1_i64}};
        assert_eq!(of(schema::REVOCATIONS, "insert", odd), Told::One(Happening::Unknown));
    }

    #[test]
    fn what_happens_to_collections() {
        assert_eq!(of("users", "drop", doc! {}), Told::Anything);
        assert_eq!(of("other", "drop", doc! {}), Told::Nothing);
        assert_eq!(of("other", "insert", doc! {"documentKey": {"_id": 1}}), Told::Nothing);
        assert_eq!(of("other", "rename", doc! {"to": {"db": "d", "coll": "users"}}), Told::Anything);
        assert_eq!(of("", "invalidate", doc! {}), Told::Anything);
    }
}
