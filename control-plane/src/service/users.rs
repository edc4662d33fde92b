//! Users, as commands and the API use them. It must not know how a credential was checked.

use super::{InputFault, ServiceError, page, profile};
use crate::{
    app::App,
    domain::{Email, PageKey, Revision, User, UserFilter, UserId, UserPatch},
    random,
    store::{Conflict, StoreError},
};

/// Someone to be there.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// E-mail address.
    pub email: Option<String>,
    /// Whether we know that the address is theirs.
    pub email_verified: bool,
    /// Display name.
    pub name: Option<String>,
}

/// The user of an id.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn get(app: &App, id: &UserId) -> Result<User, ServiceError> {
    app.store.user(id).await?.ok_or(ServiceError::NotFound)
}

/// The user of an e-mail address.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn get_by_email(app: &App, email: &str) -> Result<User, ServiceError> {
    let email = parse_email(email)?;
    app.store.user_by_email(&email).await?.ok_or(ServiceError::NotFound)
}

/// Adds a user.
///
/// # Errors
/// [`ServiceError::Conflict`] where the address is taken, [`ServiceError::Invalid`] where it is none.
pub async fn create(app: &App, new: &NewUser) -> Result<User, ServiceError> {
    let email = new.email.as_deref().map(parse_email).transpose()?;
    let mut user = User::new(UserId::new(random::id("usr_")?), app.clock.now());
    user.email_verified = email.is_some() && new.email_verified;
    user.email = email;
    user.name = new.name.clone();
    match app.store.insert_user(&user, &app.stamp()).await {
        Ok(_) => Ok(user),
        Err(StoreError::Conflict(Conflict::Email)) => Err(ServiceError::Conflict("the e-mail address is taken")),
        Err(error) => Err(error.into()),
    }
}

/// The user of an e-mail address, added where there is none.
///
/// # Errors
/// [`ServiceError::Invalid`] where the address is none, or the store fails.
pub async fn ensure(app: &App, email: &str, email_verified: bool, name: Option<&str>) -> Result<User, ServiceError> {
    match get_by_email(app, email).await {
        Err(ServiceError::NotFound) => {}
        found_or_failed => return found_or_failed,
    }
    let new = NewUser { email: Some(email.to_owned()), email_verified, name: name.map(str::to_owned) };
    match create(app, &new).await {
        Err(ServiceError::Conflict(_)) => get_by_email(app, email).await,
        created_or_failed => created_or_failed,
    }
}

/// Changes a user; every Envoy hears of it. `expected` names the state that the change was made for.
///
/// # Errors
/// [`ServiceError::Invalid`] with every fault, [`ServiceError::NotFound`], [`ServiceError::Changed`] where the user has
/// changed since, [`ServiceError::LastAdmin`], or the store fails.
pub async fn update(
    app: &App,
    id: &UserId,
    patch: &UserPatch,
    expected: Option<&Revision>,
) -> Result<User, ServiceError> {
    let faults = profile::faults(patch);
    if !faults.is_empty() {
        return Err(ServiceError::Invalid(faults));
    }
    match app.store.update_user(id, patch, expected, &app.stamp()).await {
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        Err(StoreError::Conflict(Conflict::Revision)) => Err(ServiceError::Changed),
        Err(StoreError::Conflict(Conflict::LastAdmin)) => Err(ServiceError::LastAdmin),
        other => Ok(other?),
    }
}

/// One page of users, newest first, and where the next one begins.
///
/// # Errors
/// The store fails.
pub async fn search(
    app: &App,
    filter: &UserFilter,
    after: Option<&PageKey>,
    limit: usize,
) -> Result<(Vec<User>, Option<PageKey>), ServiceError> {
    let found = app.store.users(filter, after, limit.saturating_add(1)).await?;
    Ok(page(found, limit, |user| PageKey { at: user.created_at, id: user.id.as_str().to_owned() }))
}

fn parse_email(text: &str) -> Result<Email, ServiceError> {
    Email::new(text)
        .ok_or_else(|| ServiceError::Invalid(vec![InputFault { field: "email", problem: "is not an e-mail address" }]))
}
