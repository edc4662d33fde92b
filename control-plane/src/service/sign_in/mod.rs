//! The older sign-in: e-mail address and password for a session, refresh tokens, and signing out. It must not know HTTP,
//! and nothing of it may tell whether an address has an account: answers and times are the same.

mod attempts;
mod passwords;
mod replicated;
mod signing;
mod tokens;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollgate_protocol::{Revocation, Revoked, issuer::Jwk};

pub use attempts::{Counters, InMemory};
pub use passwords::{PasswordFault, Passwords, Verdict, hash as hash_password, is_hash};
pub use replicated::Replicated;
pub use signing::{OwnKeys, rotate};

use self::tokens::{Claims, RefreshToken, TokenSigner};
use super::{InputFault, ServiceError};
use crate::{
    app::App,
    config::{AttemptLimit, LegacyConfig, PasswordCost, Secret, SignInConfig, Signing},
    domain::{Actor, Email, Presented, Session, SessionId, Timestamp, User, UserId},
    random::{self, NoRandomness},
    store::{Conflict, StoreError},
};

/// A login that fails is answered so long after it began, whatever it failed on: a hash of the older system takes
/// another time than one of ours, and would tell whose it is.
const FAILURE_TIME: Duration = Duration::from_millis(500);
/// So many times as often as it may fail, a login of one account may be good.
const GOOD_LOGINS_FACTOR: u32 = 10;
/// Most sessions of one user; a further one ends that which was not used for the longest time.
const MAX_SESSIONS: usize = 50;
/// Shortest password that is set, in bytes (NIST SP 800-63B section 5.1.1.2).
const MIN_PASSWORD: usize = 8;
/// Longest password that is set, in bytes.
const MAX_PASSWORD: usize = 1024;
/// How often a refresh that lost a race is tried again.
const TURNS: usize = 4;
/// How much longer than its tokens a revocation holds, in seconds: what edges forgive about clocks, and some.
const MARGIN_SECONDS: u64 = 60;

/// Where a request comes from, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The client's address, which attempts are counted by.
    pub address: Option<String>,
    /// The same, shortened, as sessions show it.
    pub shown_address: Option<String>,
    /// The client's program, shortened.
    pub user_agent: Option<String>,
}

/// Tokens for a client: the only moment at which they are there.
#[derive(Debug)]
pub struct IssuedTokens {
    /// The session.
    pub session: SessionId,
    /// The access token.
    pub access: Secret,
    /// Its lifetime in seconds.
    pub access_seconds: u64,
    /// The refresh token.
    pub refresh: Secret,
    /// Its lifetime in seconds.
    pub refresh_seconds: u64,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInFault {
    /// Wrong address or password, or an account that may not be used; or a refresh token that is not good.
    #[error("refused")]
    Refused,
    /// Too many attempts.
    #[error("too many attempts, {retry_after} s to wait")]
    TooMany {
        /// Seconds.
        retry_after: u32,
    },
    /// No key signs now.
    #[error("no signing key")]
    NoKey,
    /// The password was not looked at.
    #[error(transparent)]
    Password(#[from] PasswordFault),
    /// The store or something else failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for SignInFault {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl From<NoRandomness> for SignInFault {
    fn from(error: NoRandomness) -> Self {
        Self::Service(error.into())
    }
}

/// Signs users in.
#[derive(Debug, Clone)]
pub struct SignIn {
    config: SignInConfig,
    issuer: Option<String>,
    audience: Vec<String>,
    signer: TokenSigner,
    passwords: Passwords,
    counters: Arc<dyn Counters>,
}

impl SignIn {
    /// The sign-in of these settings, if they have one. `counters` count the attempts that fail.
    ///
    /// # Errors
    /// [`SignInFault`] says what cannot be used.
    pub async fn load(
        app: &App,
        legacy: Option<&LegacyConfig>,
        counters: Arc<dyn Counters>,
    ) -> Result<Option<Self>, SignInFault> {
        let Some((legacy, config)) = legacy.and_then(|legacy| Some((legacy, legacy.sign_in.as_ref()?))) else {
            return Ok(None);
        };
        let signer = match &config.signing {
            Signing::Secret(algorithm, secret) => TokenSigner::Secret(*algorithm, secret.clone()),
            Signing::OwnKey => TokenSigner::OwnKeys(OwnKeys::load(app, config.access).await?),
        };
        Ok(Some(Self {
            config: config.clone(),
            issuer: legacy.issuer.clone(),
            audience: legacy.audience.clone(),
            signer,
            passwords: Passwords::new(config.cost, config.password_slots)?,
            counters,
        }))
    }

    /// Keys of our own that sign, if any.
    pub fn own_keys(&self) -> Option<&OwnKeys> {
        match &self.signer {
            TokenSigner::OwnKeys(keys) => Some(keys),
            TokenSigner::Secret(..) => None,
        }
    }

    /// Public keys of our own.
    pub fn public_keys(&self, now: Timestamp) -> Vec<Jwk> {
        self.own_keys().map(|keys| keys.public(now)).unwrap_or_default()
    }

    /// How many proxies of ours append to `x-forwarded-for`.
    pub fn trusted_hops(&self) -> usize {
        self.config.trusted_hops
    }

    /// Signs somebody in.
    ///
    /// # Errors
    /// [`SignInFault`].
    pub async fn login(
        &self,
        app: &App,
        email: &Email,
        password: &Secret,
        origin: &Origin,
    ) -> Result<IssuedTokens, SignInFault> {
        let began = Instant::now();
        let (account, address) = (format!("account {email}"), address_name(origin));
        let now = app.clock.now();
        // Counted before the password is looked at: attempts at one moment count, too.
        self.count(&address, self.config.per_address, now).await?;
        self.count(&account, self.config.per_account, now).await?;
        let user = app.store.user_by_email(email).await?;
        let kept = user.as_ref().and_then(|user| user.password_hash.as_ref());
        let verdict = self.passwords.check(kept, password).await;
        let (user, better) = match (verdict, user) {
            (Ok(Verdict::Right { better }), Some(user)) if user.is_active => (user, better),
            (Ok(_), _) => {
                tokio::time::sleep_until(began + FAILURE_TIME).await;
                return Err(SignInFault::Refused);
            }
            (Err(fault), _) => return Err(fault.into()),
        };
        for name in [&account, &address] {
            self.counters.give_back(name).await;
        }
        // Sessions that come and go leave revocations, of which edges hold so many.
        let AttemptLimit { most, seconds } = self.config.per_account;
        let most = most.saturating_mul(GOOD_LOGINS_FACTOR);
        self.count(&format!("logins {email}"), AttemptLimit { most, seconds }, now).await?;
        let app = app.acting(Actor::User(user.id.clone()), app.request_id());
        if let (Some(better), Some(seen)) = (better, &user.password_hash) {
            // Somebody who changes the password at this moment wins.
            app.store.upgrade_password(&user.id, seen, &better, &app.stamp()).await?;
        }
        self.begin(&app, &user, origin).await
    }

    async fn count(&self, name: &str, limit: AttemptLimit, now: Timestamp) -> Result<(), SignInFault> {
        let taken = self.counters.take(name, limit, now).await;
        taken.map_err(|retry_after| SignInFault::TooMany { retry_after })
    }

    /// Begins a session.
    async fn begin(&self, app: &App, user: &User, origin: &Origin) -> Result<IssuedTokens, SignInFault> {
        let now = app.clock.now();
        let held = app.store.sessions_of(&user.id, now).await?;
        for old in held.iter().skip(MAX_SESSIONS.saturating_sub(1)) {
            self.end(app, old).await?;
        }
        let token = RefreshToken::first()?;
        let mut session = Session {
            id: SessionId::new(random::id("ses_")?),
            user_id: user.id.clone(),
            created_at: now,
            refreshed_at: now,
            expires_at: self.refresh_until(now),
            access_until: 0,
            family: token.family(),
            current: token.hash(),
            previous: None,
            address: origin.shown_address.clone(),
            user_agent: origin.user_agent.clone(),
        };
        let access = self.access(user, &mut session, now)?;
        app.store.begin_session(&session).await?;
        Ok(self.issued(session.id, access, token))
    }

    /// An access token of a session.
    fn access(&self, user: &User, session: &mut Session, now: Timestamp) -> Result<Secret, SignInFault> {
        // Whoever signs in again within the second of a sign-out gets a token that is good.
        let issued_at = now.unix_seconds().max(user.tokens_not_before().unwrap_or_default());
        let expires_at = issued_at.saturating_add(self.config.access.as_secs());
        session.access_until = session.access_until.max(expires_at);
        let claims = Claims {
            issuer: self.issuer.as_deref(),
            audience: &self.audience,
            user: &user.id,
            session: &session.id,
            issued_at,
            expires_at,
        };
        self.signer.sign(&claims, now)
    }

    fn refresh_until(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(i64::try_from(self.config.refresh.as_secs()).unwrap_or(i64::MAX))
    }

    fn issued(&self, session: SessionId, access: Secret, refresh: RefreshToken) -> IssuedTokens {
        IssuedTokens {
            session,
            access,
            access_seconds: self.config.access.as_secs(),
            refresh: refresh.into_secret(),
            refresh_seconds: self.config.refresh.as_secs(),
        }
    }

    /// Gives new tokens for a refresh token, which is used up by it. One that was used up before ends the session: two
    /// parties have its tokens, and it cannot be told which one is the user (RFC 9700 section 4.14.2).
    ///
    /// # Errors
    /// [`SignInFault`].
    pub async fn refresh(&self, app: &App, shown: &Secret, origin: &Origin) -> Result<IssuedTokens, SignInFault> {
        let address = address_name(origin);
        self.count(&address, self.config.per_address, app.clock.now()).await?;
        let refreshed = self.refreshed(app, shown).await;
        if !matches!(refreshed, Err(SignInFault::Refused)) {
            self.counters.give_back(&address).await;
        }
        refreshed
    }

    async fn refreshed(&self, app: &App, shown: &Secret) -> Result<IssuedTokens, SignInFault> {
        let shown = RefreshToken::read(shown).ok_or(SignInFault::Refused)?;
        let token = shown.next()?;
        for _ in 0..TURNS {
            let session = app.store.session_by_family(&shown.family()).await?.ok_or(SignInFault::Refused)?;
            let now = app.clock.now();
            match session.judge(&shown.hash(), now) {
                Presented::Current | Presented::Retry => {}
                Presented::Over => return Err(SignInFault::Refused),
                Presented::Reused => {
                    tracing::warn!(
                        session = session.id.as_str(),
                        "a refresh token was used twice; the session is ended"
                    );
                    let acting = app.acting(Actor::System, app.request_id());
                    self.end(&acting, &session).await?;
                    return Err(SignInFault::Refused);
                }
            }
            let user = app.store.user(&session.user_id).await?.filter(|user| user.is_active);
            let user = user.ok_or(SignInFault::Refused)?;
            let mut next = session.rotated(shown.hash(), token.hash(), now, self.refresh_until(now));
            let access = self.access(&user, &mut next, now)?;
            match app.store.refresh_session(&next, &session.current).await {
                Ok(()) => return Ok(self.issued(next.id, access, token)),
                // Another request with the same token was quicker: the next turn judges this one as a retry.
                Err(StoreError::Conflict(Conflict::Revision)) => {}
                Err(StoreError::NotFound) => return Err(SignInFault::Refused),
                Err(error) => return Err(error.into()),
            }
        }
        Err(SignInFault::Service(ServiceError::Conflict("others kept refreshing this session")))
    }

    async fn end(&self, app: &App, session: &Session) -> Result<(), SignInFault> {
        match end(app, session).await {
            // Ended already.
            Ok(()) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Ends a session and revokes its access tokens for as long as one of them may be good.
pub(super) async fn end(app: &App, session: &Session) -> Result<(), StoreError> {
    let revocation = Revocation {
        what: Revoked::Session,
        issuer: None,
        id: session.id.as_str().to_owned(),
        until: session.access_until.saturating_add(MARGIN_SECONDS),
    };
    app.store.end_session(&session.user_id, &session.id, &revocation, &app.stamp()).await
}

/// Signs a user out everywhere: every session is ended, and every token issued before is refused at every edge.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn sign_out(app: &App, user: &UserId) -> Result<(), ServiceError> {
    match app.store.sign_out(user, &app.stamp()).await {
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        other => Ok(other?),
    }
}

/// Gives a user another password, and signs them out everywhere: whoever knew the former one is out, too.
///
/// # Errors
/// [`ServiceError::Invalid`], [`ServiceError::NotFound`], or the store fails.
pub async fn set_password(app: &App, user: &UserId, cost: PasswordCost, password: &Secret) -> Result<(), SignInFault> {
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.expose().len()) {
        let problem = "must have 8 to 1024 bytes";
        return Err(ServiceError::Invalid(vec![InputFault { field: "password", problem }]).into());
    }
    let plain = password.clone();
    let hashing = tokio::task::spawn_blocking(move || hash_password(cost, plain.expose().as_bytes()));
    let hash = Secret::new(hashing.await.map_err(|error| PasswordFault::Hash(error.to_string()))??);
    match app.store.set_password(user, &hash, &app.stamp()).await {
        Err(StoreError::NotFound) => return Err(ServiceError::NotFound.into()),
        other => other?,
    }
    Ok(sign_out(app, user).await?)
}

/// Those whose address is not known count together.
fn address_name(origin: &Origin) -> String {
    format!("address {}", origin.address.as_deref().unwrap_or("unknown"))
}
