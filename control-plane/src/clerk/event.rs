//! Reads the body of a webhook (OpenAPI of Clerk's webhooks): the events that mean something here. It must not know
//! whether the body is believed.

use serde_json::Value;
use tollgate_protocol::{Revocation, Revoked};

use super::user;
use crate::domain::{ClerkIdentity, Timestamp, clerk::ClerkNews};

/// How long a session that somebody has revoked is refused, in seconds: longer than any token that Clerk's Backend API
/// makes of a session.
const REVOKED_SECONDS: i64 = 24 * 3600;
/// How long a session that is over by itself is refused, in seconds. Clerk makes no more tokens of it, and the last one
/// lives for a minute. People sign out often, and what an Envoy can remember is bounded.
const ENDED_SECONDS: i64 = 15 * 60;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something that matters.
    News(Kind, ClerkNews),
    /// An event of another type: not for us.
    Other,
}

/// The types of events that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `user.created`
    UserCreated,
    /// `user.updated`
    UserUpdated,
    /// `user.deleted`
    UserDeleted,
    /// `session.ended`
    SessionEnded,
    /// `session.removed`
    SessionRemoved,
    /// `session.revoked`
    SessionRevoked,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserDeleted,
        Self::SessionEnded,
        Self::SessionRemoved,
        Self::SessionRevoked,
    ];

    /// The type, as Clerk writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDeleted => "user.deleted",
            Self::SessionEnded => "session.ended",
            Self::SessionRemoved => "session.removed",
            Self::SessionRevoked => "session.revoked",
        }
    }
}

/// A body that is no event, or lacks what its type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is no event of Clerk")]
pub struct NoEvent;

/// Reads a body.
///
/// # Errors
/// [`NoEvent`].
pub fn parse(issuer: &str, body: &[u8], now: Timestamp) -> Result<Event, NoEvent> {
    let event: Value = serde_json::from_slice(body).map_err(|_| NoEvent)?;
    let word = event.get("type").and_then(Value::as_str).ok_or(NoEvent)?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == word) else { return Ok(Event::Other) };
    let data = event.get("data").ok_or(NoEvent)?;
    let id = data.get("id").and_then(Value::as_str).filter(|id| user::is_id(id)).ok_or(NoEvent)?.to_owned();
    let news = match kind {
        Kind::UserCreated | Kind::UserUpdated => {
            ClerkNews::Profile(Box::new(user::parse(issuer, data).ok_or(NoEvent)?))
        }
        Kind::UserDeleted => ClerkNews::Deleted(ClerkIdentity { issuer: issuer.to_owned(), id }),
        Kind::SessionEnded | Kind::SessionRemoved => ended(issuer, id, now, ENDED_SECONDS),
        Kind::SessionRevoked => ended(issuer, id, now, REVOKED_SECONDS),
    };
    Ok(Event::News(kind, news))
}

fn ended(issuer: &str, id: String, now: Timestamp, seconds: i64) -> ClerkNews {
    let until = now.plus_seconds(seconds).unix_seconds();
    ClerkNews::Ended(Revocation { what: Revoked::Session, issuer: Some(issuer.to_owned()), id, until })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn read(event: &Value) -> Result<Event, NoEvent> {
        parse("https://clerk.test", event.to_string().as_bytes(), NOW)
    }

    #[test]
    fn every_type_that_matters() {
        for kind in Kind::ALL {
            let event =
                json!({"object": "event", "type": kind.as_str(), "data": {"id": "x_1"}, "instance_id": "ins_1"});
            let Ok(Event::News(read, news)) = read(&event) else { panic!("{}", kind.as_str()) };
            assert_eq!(read, kind);
            match (kind.as_str().split_once('.'), news) {
                (Some(("session", _)), ClerkNews::Ended(revocation)) => {
                    let seconds = if kind == Kind::SessionRevoked { 24 * 3600 } else { 900 };
                    assert_eq!((revocation.id.as_str(), revocation.until), ("x_1", 1_800_000_000 + seconds));
                    assert_eq!(revocation.issuer.as_deref(), Some("https://clerk.test"));
                }
                (Some(("user", "deleted")), ClerkNews::Deleted(identity)) => assert_eq!(identity.id, "x_1"),
                (Some(("user", _)), ClerkNews::Profile(profile)) => assert_eq!(profile.identity.id, "x_1"),
                (_, other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn other_types_are_none_of_our_business_and_other_bodies_are_no_events() {
        for word in ["session.created", "session.pending", "organization.created", "sms.created", "x", ""] {
            assert_eq!(read(&json!({"type": word, "data": {}})), Ok(Event::Other), "{word}");
        }
        for event in [
            json!(null),
            json!([]),
            json!({"data": {}}),
            json!({"type": 1, "data": {"id": "u"}}),
            json!({"type": "user.created"}),
            json!({"type": "user.created", "data": {}}),
            json!({"type": "user.deleted", "data": {"deleted": true}}),
            json!({"type": "session.ended", "data": {"id": "../x"}}),
        ] {
            assert_eq!(read(&event), Err(NoEvent), "{event}");
        }
        assert_eq!(parse("i", b"{", NOW), Err(NoEvent));
    }
}
