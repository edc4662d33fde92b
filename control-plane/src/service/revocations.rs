//! What an administrator revokes by name: a token, a session, a signing key. It must not know how edges hear of it.

use tollgate_protocol::{Revocation, Revoked};

use super::{InputFault, ServiceError};
use crate::{app::App, domain::Timestamp};

/// Longest name, in bytes: a claim that is longer is in no token that an edge takes.
pub const MAX_ID: usize = 255;
/// How long a revocation holds at most, and where nobody says: edges have so many places for them, and a place is taken
/// until then. How long tokens live their issuers say, not we; to forget one too early would let a token in again.
pub const MAX_SECONDS: i64 = 366 * 24 * 3600;

/// Something to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its kind.
    pub what: Revoked,
    /// Its name: claim `jti` of a token, `sid` of a session, `kid` of a signing key.
    pub id: String,
    /// Exact claim `iss` of the tokens; absent: whoever has issued them.
    pub issuer: Option<String>,
    /// Until when it holds: no token that it concerns may be good after that. Absent: 366 days, which is the longest.
    pub until: Option<Timestamp>,
}

/// The kinds that may be ordered.
pub const KINDS: &[Revoked] = &[Revoked::Token, Revoked::Session, Revoked::Key];

/// Revokes something: every edge refuses it within a moment. Of two orders about one thing the longer one holds.
///
/// # Errors
/// [`ServiceError::Invalid`], or the store fails.
pub async fn revoke(app: &App, order: Order) -> Result<Revocation, ServiceError> {
    let now = app.clock.now();
    let until = order.until.unwrap_or_else(|| now.plus_seconds(MAX_SECONDS));
    let is_name = |text: &str| (1..=MAX_ID).contains(&text.len()) && !text.chars().any(char::is_control);
    let mut faults = Vec::new();
    if !KINDS.contains(&order.what) {
        faults.push(InputFault { field: "what", problem: "must be token, session or key" });
    }
    if !is_name(&order.id) {
        faults.push(InputFault { field: "id", problem: "must have 1 to 255 bytes and no control characters" });
    }
    if order.issuer.as_deref().is_some_and(|issuer| !is_name(issuer)) {
        faults.push(InputFault { field: "issuer", problem: "must have 1 to 255 bytes and no control characters" });
    }
    if until <= now || until > now.plus_seconds(MAX_SECONDS) {
        faults.push(InputFault { field: "until", problem: "must be in the future, within 366 days" });
    }
    if !faults.is_empty() {
        return Err(ServiceError::Invalid(faults));
    }
    let Order { what, id, issuer, .. } = order;
    let revocation = Revocation { what, issuer, id, until: until.unix_seconds() };
    app.store.revoke(&revocation, &app.stamp()).await?;
    Ok(revocation)
}
