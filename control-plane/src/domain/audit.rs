//! Who changed what, as it is kept for ever: the stamp that every change carries, and the entry it leaves. It must not
//! hold a secret: what is shown of a record is chosen here, member by member.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_protocol::{Revocation, Revoked};

use super::{ApiKey, Scope, Timestamp, User, UserId, ledger::Entry};

/// Who makes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user, by the API.
    User(UserId),
    /// Somebody at the command line of this machine.
    Command,
    /// A first sign-in that an edge has verified.
    Edge,
    /// Clerk, by a webhook.
    Clerk,
    /// The control plane itself, when a time has come.
    System,
}

impl Actor {
    /// The kind and, for users, the id, as they are kept: `user:usr_…`, `command`, `edge`, `clerk`, `system`.
    pub fn to_text(&self) -> String {
        match self {
            Self::User(id) => format!("user:{id}"),
            Self::Command => "command".to_owned(),
            Self::Edge => "edge".to_owned(),
            Self::Clerk => "clerk".to_owned(),
            Self::System => "system".to_owned(),
        }
    }
}

/// When, by whom and in which request a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// In which request, where there is one.
    pub request_id: Option<String>,
}

impl Stamp {
    /// A change that the control plane makes by itself.
    pub const fn system(at: Timestamp) -> Self {
        Self { at, actor: Actor::System, request_id: None }
    }

    /// The entry that a change leaves. `before` and `after` come from the functions of this module.
    pub fn entry(&self, action: &str, subject: &str, before: Option<Value>, after: Option<Value>) -> AuditEntry {
        AuditEntry {
            at: self.at,
            actor: self.actor.to_text(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            before,
            after,
            request_id: self.request_id.clone(),
        }
    }
}

/// One change, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// By whom: see [`Actor::to_text`].
    pub actor: String,
    /// What was done: `user.created`, `key.revoked`, …
    pub action: String,
    /// To what: the id of a user, a key, a session.
    pub subject: String,
    /// What it was, as far as it is shown; absent where there was nothing.
    pub before: Option<Value>,
    /// What it became.
    pub after: Option<Value>,
    /// In which request.
    pub request_id: Option<String>,
}

/// What the log of changes shows of a user.
pub fn user(user: &User) -> Value {
    json!({
        "email": user.email.as_ref().map(super::Email::as_str),
        "email_verified": user.email_verified,
        "name": user.name,
        "role": user.role.as_str(),
        "is_active": user.is_active,
        "clerk_id": user.clerk.as_ref().map(|clerk| &clerk.id),
        "subscription": user.subscription.as_str(),
        "monthly_limit": user.monthly_limit,
        "has_password": user.password_hash.is_some(),
        "bio": user.bio,
        "website": user.website,
        "profile_image": user.profile_image,
        "social_links": user.social_links,
    })
}

/// What the log of changes shows of a user who was taken over from a file: also the balance with which the ledger begins.
pub fn imported_user(imported: &User) -> Value {
    let mut shown = user(imported);
    if let Value::Object(shown) = &mut shown {
        shown.insert("tokens_remaining".to_owned(), imported.tokens_remaining.into());
        shown.insert("tokens_used".to_owned(), imported.tokens_used.into());
    }
    shown
}

/// What the log of changes shows of a key.
pub fn key(key: &ApiKey) -> Value {
    json!({
        "id": key.id.as_str(),
        "user_id": key.user_id.as_str(),
        "name": key.name,
        "prefix": key.prefix,
        "last_four": key.last_four,
        "rate": key.rate.map(|rate| rate.to_string()),
        "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "expires_at": key.expires_at.map(Timestamp::millis),
        "revoked_at": key.revoked_at.map(Timestamp::millis),
    })
}

/// What the log of changes shows of a grant or an adjustment: the balance before it and after it.
pub fn posting(entry: &Entry) -> (Value, Value) {
    let before = entry.balance.saturating_sub(entry.amount);
    let after =
        json!({ "tokens_remaining": entry.balance, "amount": entry.amount, "key": entry.key, "note": entry.note });
    (json!({ "tokens_remaining": before }), after)
}

/// What the log of changes shows of a revocation.
pub fn revocation(revocation: &Revocation) -> Value {
    json!({ "issuer": revocation.issuer, "until": revocation.until })
}

/// The action of revoking something of this kind.
pub const fn revoked(what: Revoked) -> &'static str {
    match what {
        Revoked::Session => "session.revoked",
        Revoked::Token => "token.revoked",
        Revoked::Key => "signing_key.revoked",
        Revoked::Unknown => "revoked",
    }
}

/// Longest text of a policy that the log of changes shows, in bytes.
const MAX_POLICY: usize = 16 * 1024;

/// What the log of changes shows of a policy: its version, what its text is known by, and the text, where it is short.
pub fn policy(version: u64, text: &str) -> Value {
    let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut shown = json!({ "version": version, "sha256": hash });
    if let Value::Object(shown) = &mut shown
        && text.len() <= MAX_POLICY
    {
        shown.insert("text".to_owned(), text.into());
    }
    shown
}

/// What the log of changes shows of a sign-out.
pub fn sign_out(at: Option<Timestamp>) -> Value {
    json!({ "last_logout_at": at.map(Timestamp::millis) })
}
