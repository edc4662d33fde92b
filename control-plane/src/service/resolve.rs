//! Who a verified credential belongs to. Clerk users are found, linked or made here; API keys and legacy tokens only
//! ever find. Nothing here verifies a token: the edge has done that.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};
use tollgate_protocol::{
    Code, Cursor, Identity, KeyFacts,
    edge::{Outcome, ResolveAnswer, ResolveRequest},
};

use super::ServiceError;
use crate::{
    app::App,
    domain::{ApiKey, ClerkIdentity, Email, KeyStanding, User, UserId, clerk::ClerkProfile},
    random,
    store::{Conflict, StoreError},
};

/// How often a race with another first request is run again. Each turn sees what the winner wrote.
const TURNS: usize = 4;
/// Longest display name that is taken from a token.
const MAX_NAME_BYTES: usize = 256;

/// Places at which first requests wait for each other.
const PLACES: usize = 64;
/// How long one waits at its place, twice at most: who takes longer is stuck at the store, and nobody shall be stuck behind
/// them. An edge gives the whole request two seconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// First requests of one person that come at once would all try to make them, and transactions that meet are tried again
/// and again. So within one process they wait for the first of them; between processes the store decides, as it does here.
#[derive(Debug)]
pub(crate) struct Firsts([Mutex<()>; PLACES]);

impl Default for Firsts {
    fn default() -> Self {
        Self([const { Mutex::const_new(()) }; PLACES])
    }
}

impl Firsts {
    fn place(&self, identity: &ClerkIdentity) -> &Mutex<()> {
        let mut hash = DefaultHasher::new();
        identity.hash(&mut hash);
        let [place, ..] = hash.finish().to_le_bytes();
        &self.0[usize::from(place) % PLACES]
    }
}

/// What a Clerk token said.
struct ClerkClaims {
    identity: ClerkIdentity,
    email: Option<Email>,
    email_verified: bool,
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    image: Option<String>,
    impersonated: bool,
}

/// Finds out who it is. The feed's place is read before the store, so that a change in between makes the answer stale,
/// not wrong; who is made or linked here is known as of that very change, so that it does not outdate its own answer.
///
/// # Errors
/// The store fails.
pub async fn resolve(app: &App, request: &ResolveRequest) -> Result<ResolveAnswer, ServiceError> {
    let as_of = app.store.head().await?;
    let outcome = match request {
        ResolveRequest::ApiKey { hash } => api_key(app, hash).await?,
        ResolveRequest::Clerk { issuer, subject, email, email_verified, name, impersonated } => {
            let claims = ClerkClaims {
                identity: ClerkIdentity { issuer: issuer.clone(), id: subject.clone() },
                email: email.as_deref().and_then(Email::new),
                email_verified: *email_verified,
                name: name.clone(),
                first_name: None,
                last_name: None,
                image: None,
                impersonated: *impersonated,
            };
            return clerk(app, claims, as_of).await;
        }
        ResolveRequest::Legacy { issuer: _, subject } => legacy(app, subject).await?,
    };
    Ok(ResolveAnswer { as_of, outcome })
}

async fn api_key(app: &App, hash: &tollgate_protocol::KeyHash) -> Result<Outcome, ServiceError> {
    let Some((key, user)) = app.store.key_by_hash(hash).await? else {
        return Ok(Outcome::Refused(Code::ApiKeyUnknown));
    };
    Ok(match (key.standing(app.clock.now()), user) {
        (KeyStanding::Revoked, _) => Outcome::Refused(Code::ApiKeyRevoked),
        (KeyStanding::Expired, _) => Outcome::Refused(Code::ApiKeyExpired),
        (KeyStanding::Good, None) => Outcome::Refused(Code::UserUnknown),
        (KeyStanding::Good, Some(user)) => Outcome::Identity(identity(user, Some(key))),
    })
}

async fn legacy(app: &App, subject: &str) -> Result<Outcome, ServiceError> {
    if subject.len() > UserId::MAX_LENGTH.max(254) {
        return Ok(Outcome::Refused(Code::UserUnknown));
    }
    let mut user = app.store.user(&UserId::new(subject)).await?;
    if let (None, Some(email)) = (&user, Email::new(subject)) {
        user = app.store.user_by_email(&email).await?;
    }
    Ok(user.map_or(Outcome::Refused(Code::UserUnknown), |user| Outcome::Identity(identity(user, None))))
}

async fn clerk(app: &App, mut claims: ClerkClaims, mut as_of: Cursor) -> Result<ResolveAnswer, ServiceError> {
    let refused = |as_of, code| Ok(ResolveAnswer { as_of, outcome: Outcome::Refused(code) });
    let found = |as_of, user| Ok(ResolveAnswer { as_of, outcome: Outcome::Identity(identity(user, None)) });
    let (mut asked, mut waited) = (false, false);
    for turn in 0..=TURNS {
        if turn > 0 {
            as_of = app.store.head().await?;
        }
        if let Some(user) = app.store.user_by_clerk(&claims.identity).await? {
            // Perhaps made between the two readings, by another first request: then the place read first would
            // outdate this answer at once, and the edge would ask again.
            if turn == 0 && app.store.head().await? != as_of {
                continue;
            }
            return found(as_of, user);
        }
        if claims.impersonated {
            return refused(as_of, Code::UserUnknown);
        }
        if claims.email.is_none() && !asked {
            asked = true;
            if let Some(profile) = app.directory.profile(&claims.identity).await {
                if profile.barred {
                    return refused(as_of, Code::UserInactive);
                }
                claims.learn(profile);
                // That took a while, and the webhook of this very user may have been quicker.
                continue;
            }
        }
        let place = app.firsts.place(&claims.identity);
        let _turn = match place.try_lock() {
            Ok(turn) => Some(turn),
            Err(_) => {
                let turn = timeout(PATIENCE, place.lock()).await.ok();
                // Whoever was there may have made this very user.
                if !std::mem::replace(&mut waited, true) {
                    continue;
                }
                turn
            }
        };
        if let Some(email) = &claims.email
            && let Some(account) = app.store.user_by_email(email).await?
        {
            // Another first request of the same person was quicker, between the two look-ups: the next turn finds them.
            if account.clerk.as_ref() == Some(&claims.identity) {
                continue;
            }
            if !claims.email_verified {
                return refused(as_of, Code::EmailUnverified);
            }
            if !account.may_be_linked() {
                return refused(as_of, Code::EmailConflict);
            }
            match app.store.link_clerk(email, &claims.identity, &app.stamp()).await {
                Ok((user, linked)) => {
                    tracing::info!(user = %user.id, "account linked to its Clerk user");
                    return found(linked, user);
                }
                Err(StoreError::Conflict(Conflict::ClerkDeleted)) => return refused(as_of, Code::UserUnknown),
                Err(StoreError::Conflict(_) | StoreError::NotFound) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let user = new_user(app, &claims)?;
        match app.store.insert_user(&user, &app.stamp()).await {
            Ok(made) => {
                tracing::info!(user = %user.id, "user made at first sign-in");
                return found(made, user);
            }
            Err(StoreError::Conflict(Conflict::ClerkDeleted)) => return refused(as_of, Code::UserUnknown),
            Err(StoreError::Conflict(
                Conflict::ClerkIdentity | Conflict::Email | Conflict::Id | Conflict::KeyHash | Conflict::NotLinkable,
            )) => continue,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ServiceError::Conflict("others kept changing this account"))
}

impl ClerkClaims {
    /// Takes over what Clerk says and the token did not.
    fn learn(&mut self, profile: ClerkProfile) {
        self.email = profile.email;
        self.email_verified = profile.email_verified;
        self.name = self.name.take().or(profile.name);
        self.first_name = profile.first_name;
        self.last_name = profile.last_name;
        self.image = profile.image;
    }
}

/// An address that is not verified is not kept: it would keep its real owner out.
fn new_user(app: &App, claims: &ClerkClaims) -> Result<User, ServiceError> {
    let mut user = User::new(UserId::new(random::id("usr_")?), app.clock.now());
    user.clerk = Some(claims.identity.clone());
    user.email = claims.email.clone().filter(|_| claims.email_verified);
    user.email_verified = user.email.is_some();
    user.first_name.clone_from(&claims.first_name);
    user.last_name.clone_from(&claims.last_name);
    user.profile_image.clone_from(&claims.image);
    let name = claims.name.as_deref().map(str::trim).filter(|name| !name.is_empty() && name.len() <= MAX_NAME_BYTES);
    user.name = name.filter(|name| !name.chars().any(char::is_control)).map(str::to_owned);
    Ok(user)
}

pub(crate) fn identity(user: User, key: Option<ApiKey>) -> Identity {
    let tokens_not_before = user.tokens_not_before();
    Identity {
        tokens_not_before,
        user_id: user.id.as_str().to_owned(),
        role: user.role.as_str().to_owned(),
        is_active: user.is_active,
        email: user.email.map(|email| email.as_str().to_owned()),
        name: user.name,
        clerk_id: user.clerk.map(|clerk| clerk.id),
        subscription: Some(user.subscription.as_str().to_owned()),
        tokens_remaining: Some(user.tokens_remaining),
        key: key.map(|key| KeyFacts {
            id: key.id.as_str().to_owned(),
            hash: key.hash,
            scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            expires_at: key.expires_at.map(crate::domain::Timestamp::unix_seconds),
            rate: key.rate.map(crate::domain::Rate::wire),
        }),
    }
}
