//! `tollgate dev credentials`: one person's three credentials, good or with faults on purpose. It works beside a
//! running `tollgate dev`, through the store and the keys in the data directory. It must not be part of a server.

use serde::Serialize;

use super::{
    args::{CredentialsArgs, Faults},
    data::{Data, Facts},
    fault::DevFault,
    issuer,
    mint::{ClerkToken, IssuerKey, LegacyToken, clerk_subject, tamper},
};
use crate::{
    app::App,
    domain::{ClerkIdentity, Role, User, UserPatch},
    service::{
        ServiceError,
        keys::{self, NewKey},
        users,
    },
    store::StoreError,
};

/// File of the shared secret of the older sign-in.
pub const LEGACY_SECRET_FILE: &str = "legacy.secret";
/// File of a key that nobody publishes.
const OTHER_KEY_FILE: &str = "not-the-issuer.pem";
/// Name of the API keys that are issued here.
const KEY_NAME: &str = "tollgate dev credentials";
/// How many of them stay; older ones are revoked, because a user may not have any number of keys.
const KEYS_KEPT: usize = 20;
/// An hour, by which faulty times are off.
const HOUR: i64 = 3600;

/// One person's credentials.
#[derive(Debug, Clone, Serialize)]
pub struct Credentials {
    /// The API key.
    pub api_key: String,
    /// The Clerk session token, good for a minute.
    pub clerk_jwt: String,
    /// The token of the older sign-in, good for an hour.
    pub legacy_jwt: String,
    /// The person's id in the store.
    pub user_id: String,
}

fn failed(what: &'static str) -> impl FnOnce(ServiceError) -> DevFault {
    move |fault| DevFault::Other(format!("{what}: {fault}"))
}

/// Makes fresh credentials.
///
/// # Errors
/// [`DevFault`] says what failed.
pub async fn make(app: &App, data: &Data, facts: &Facts, args: &CredentialsArgs) -> Result<Credentials, DevFault> {
    let user = person(app, facts, args).await?;
    let api_key = api_key(app, &user, args).await?;
    let now = app.clock.now().unix_seconds();
    let key = data.issuer_key_or_new(issuer::KEY_FILE)?;
    let other = data.issuer_key_or_new(OTHER_KEY_FILE)?;
    let secret = data.secret(LEGACY_SECRET_FILE)?;
    Ok(Credentials {
        api_key,
        clerk_jwt: clerk_jwt(facts, args, now, &key, &other)?,
        legacy_jwt: legacy_jwt(&user, &args.faults, now, &secret),
        user_id: user.id.to_string(),
    })
}

/// The person as the store shall have it: there, with a verified address, linked to its Clerk user, with the role and
/// the standing that were asked for.
async fn person(app: &App, facts: &Facts, args: &CredentialsArgs) -> Result<User, DevFault> {
    let role = match args.role.as_deref().map(|word| Role::from_word(word).ok_or(word)) {
        Some(Err(word)) => return Err(DevFault::Other(format!("there is no role '{word}': user, developer, admin"))),
        Some(Ok(role)) => Some(role),
        None => None,
    };
    let ensured = users::ensure(app, &args.email, true, Some(&args.name)).await;
    let mut user = ensured.map_err(failed("cannot add the user"))?;
    if let (None, Some(email)) = (&user.clerk, &user.email) {
        // Linked here and not at the first request, because an account that is an admin is never linked by its address.
        let identity = ClerkIdentity { issuer: facts.issuer.clone(), id: clerk_subject(&args.email) };
        user = match app.store.link_clerk(email, &identity, &app.stamp()).await {
            Ok((user, _)) => user,
            Err(StoreError::Conflict(_)) => user,
            Err(fault) => return Err(DevFault::Other(format!("cannot link the user: {fault}"))),
        };
    }
    let is_active = !args.faults.inactive;
    let role = role.filter(|role| *role != user.role);
    if role.is_some() || user.is_active != is_active {
        let patch = UserPatch { role, is_active: Some(is_active), ..UserPatch::default() };
        user = users::update(app, &user.id, &patch, None).await.map_err(failed("cannot change the user"))?;
    }
    Ok(user)
}

async fn api_key(app: &App, user: &User, args: &CredentialsArgs) -> Result<String, DevFault> {
    forget_old_keys(app, user).await.map_err(failed("cannot revoke old API keys"))?;
    let new = NewKey { name: KEY_NAME.to_owned(), scopes: args.scopes.clone(), ..NewKey::default() };
    let issued = match args.faults.expired {
        true => keys::issue_expired(app, &user.id, KEY_NAME).await,
        false => keys::issue(app, &user.id, &new).await,
    };
    let issued = issued.map_err(failed("cannot issue an API key"))?;
    if args.faults.revoked {
        keys::revoke(app, &user.id, &issued.key.id).await.map_err(failed("cannot revoke the API key"))?;
    }
    let mut plain = issued.plain.expose().to_owned();
    if args.faults.tampered {
        let last = plain.pop();
        plain.push(if last == Some('x') { 'y' } else { 'x' });
    }
    Ok(plain)
}

async fn forget_old_keys(app: &App, user: &User) -> Result<(), ServiceError> {
    let all = keys::list(app, &user.id).await?;
    let ours: Vec<_> = all.iter().filter(|key| key.name == KEY_NAME).collect();
    for key in ours.iter().take((ours.len() + 1).saturating_sub(KEYS_KEPT)) {
        keys::revoke(app, &user.id, &key.id).await?;
    }
    Ok(())
}

fn clerk_jwt(
    facts: &Facts,
    args: &CredentialsArgs,
    now: u64,
    key: &IssuerKey,
    other: &IssuerKey,
) -> Result<String, DevFault> {
    let Faults { expired, not_yet_valid, wrong_party, wrong_issuer, wrong_class, pending, .. } = args.faults;
    let mut token = ClerkToken::for_person(&facts.issuer, &args.email, now).name(&args.name).party(&facts.party);
    if args.faults.unverified_email {
        // Another person at Clerk, who says that the address is theirs and has not proved it.
        token = token.claim("sub", clerk_subject(&format!("not {}", args.email))).email(&args.email, false);
    }
    type Change = fn(ClerkToken) -> ClerkToken;
    let changes: [(bool, Change); 6] = [
        (expired, |token| token.shifted(-HOUR)),
        (not_yet_valid, |token| token.shifted(HOUR)),
        (wrong_party, |token| token.party("https://elsewhere.example")),
        (wrong_issuer, |token| token.claim("iss", "https://issuer.elsewhere.example")),
        (wrong_class, ClerkToken::template_class),
        (pending, ClerkToken::pending),
    ];
    for (_, change) in changes.into_iter().filter(|(wanted, _)| *wanted) {
        token = change(token);
    }
    let signed = match (args.faults.unknown_key, args.faults.wrong_key) {
        (true, _) => token.sign(other)?,
        (false, true) => token.sign(&other.clone().named(key.kid()))?,
        (false, false) => token.sign(key)?,
    };
    Ok(if args.faults.tampered { tamper(&signed) } else { signed })
}

fn legacy_jwt(user: &User, faults: &Faults, now: u64, secret: &str) -> String {
    let mut token = LegacyToken::for_user(user.id.as_str(), now);
    if faults.expired {
        token = token.shifted(-2 * HOUR);
    }
    if faults.not_yet_valid {
        token = token.claim("nbf", now.saturating_add_signed(HOUR));
    }
    if faults.wrong_issuer {
        token = token.claim("iss", "https://issuer.elsewhere.example");
    }
    let signed =
        token.sign(if faults.wrong_key { b"another shared secret, which nobody knows" } else { secret.as_bytes() });
    if faults.tampered { tamper(&signed) } else { signed }
}

/// What is printed. Nothing in a credential needs quoting in a shell, and is quoted all the same.
pub fn print(credentials: &Credentials, json: bool) -> String {
    if json {
        return format!("{:#}\n", serde_json::json!(credentials));
    }
    let Credentials { api_key, clerk_jwt, legacy_jwt, user_id: _ } = credentials;
    format!("API_KEY='{api_key}'\nCLERK_JWT='{clerk_jwt}'\nLEGACY_JWT='{legacy_jwt}'\n")
}
