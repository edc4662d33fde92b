//! The routes of administrators: users, keys, the log of changes. Whether somebody is one is looked up at each request;
//! the proxy's word is not enough. It must not hold a rule about users and keys.

use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_protocol::Method;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{Fine, Made, Nothing, Tagged},
    api::active,
    dto::{AdminPatch, IssuedBody, KeyBody, rfc3339},
    error::{ApiCode, Refusal},
    extract::Body,
    params::{FromQuery, Id, IfMatch, Parameters, Query, etag},
};
use crate::{
    app::App,
    assertion::Caller,
    domain::{ApiKey, AuditEntry, KeyFilter, KeyId, PageKey, Role, Subscription, User, UserFilter, UserId},
    service::{
        keys::{self, NewKey},
        users,
    },
    store::AuditFilter,
};

/// The scope without which an administrator's API key is nobody's here.
const SCOPE: &str = "tollgate:admin";

/// What an administrator does is done in their name. Nobody who acts as one by impersonation is one.
pub(super) async fn admin(shared: &Shared, caller: &Caller) -> Result<App, Refusal> {
    if caller.is_impersonated() {
        return Err(Refusal::new(ApiCode::ImpersonatedSession));
    }
    if active(shared, caller).await?.role != Role::Admin {
        return Err(Refusal::new(ApiCode::AdminRequired));
    }
    if caller.method() == Method::ApiKey && !caller.scopes().iter().any(|scope| scope.as_str() == SCOPE) {
        return Err(Refusal::new(ApiCode::ScopeRequired));
    }
    Ok(shared.acting(caller))
}

macro_rules! pages {
    ($($page:ident of $item:ident;)+) => {$(
        /// One page of a list.
        #[derive(Debug, Serialize, ToSchema)]
        pub(super) struct $page {
            items: Vec<$item>,
            /// What to hand back as `cursor` for the next page; absent on the last one.
            #[serde(skip_serializing_if = "Option::is_none")]
            next: Option<String>,
        }

        impl $page {
            fn of<R: Into<$item>>((found, next): (Vec<R>, Option<PageKey>)) -> Fine<Self> {
                let next = next.map(|next| next.to_text());
                Fine(Self { items: found.into_iter().map(Into::into).collect(), next })
            }
        }
    )+};
}

pages! {
    UserPage of AdminUser;
    KeyPage of AdminKey;
}

/// One page of the log of changes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    items: Vec<AuditBody>,
    /// What to hand back as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A user, as an administrator sees them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdminUser {
    id: String,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    role: &'static str,
    is_active: bool,
    clerk_id: Option<String>,
    clerk_issuer: Option<String>,
    has_password: bool,
    subscription: &'static str,
    stripe_customer_id: Option<String>,
    tokens_remaining: i64,
    tokens_used: i64,
    monthly_limit: Option<i64>,
    bio: Option<String>,
    website: Option<String>,
    profile_image: Option<String>,
    #[schema(value_type = Object)]
    social_links: Map<String, Value>,
    created_at: Option<String>,
    updated_at: Option<String>,
    last_login_at: Option<String>,
    last_logout_at: Option<String>,
    /// What to send as `If-Match`.
    revision: String,
}

impl From<User> for AdminUser {
    fn from(user: User) -> Self {
        let revision = user.revision().as_str().to_owned();
        let (clerk_issuer, clerk_id) = user.clerk.map(|clerk| (clerk.issuer, clerk.id)).unzip();
        Self {
            id: user.id.as_str().to_owned(),
            email: user.email.map(|email| email.as_str().to_owned()),
            email_verified: user.email_verified,
            name: user.name,
            role: user.role.as_str(),
            is_active: user.is_active,
            clerk_id,
            clerk_issuer,
            has_password: user.password_hash.is_some(),
            subscription: user.subscription.as_str(),
            stripe_customer_id: user.stripe_customer_id,
            tokens_remaining: user.tokens_remaining,
            tokens_used: user.tokens_used,
            monthly_limit: user.monthly_limit,
            bio: user.bio,
            website: user.website,
            profile_image: user.profile_image,
            social_links: user.social_links,
            created_at: rfc3339(user.created_at),
            updated_at: rfc3339(user.updated_at),
            last_login_at: user.last_login_at.and_then(rfc3339),
            last_logout_at: user.last_logout_at.and_then(rfc3339),
            revision,
        }
    }
}

/// A key, as an administrator sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdminKey {
    user_id: String,
    revoked_at: Option<String>,
    #[serde(flatten)]
    key: KeyBody,
}

impl From<ApiKey> for AdminKey {
    fn from(key: ApiKey) -> Self {
        let (user_id, revoked_at) = (key.user_id.as_str().to_owned(), key.revoked_at.and_then(rfc3339));
        Self { user_id, revoked_at, key: key.into() }
    }
}

/// A change, as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditBody {
    id: String,
    at: Option<String>,
    actor: String,
    action: String,
    subject: String,
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    request_id: Option<String>,
}

impl From<(String, AuditEntry)> for AuditBody {
    fn from((id, entry): (String, AuditEntry)) -> Self {
        let AuditEntry { at, actor, action, subject, before, after, request_id } = entry;
        Self { id, at: rfc3339(at), actor, action, subject, before, after, request_id }
    }
}

/// Which users are asked for.
#[derive(Debug)]
pub(super) struct UserSearch {
    filter: UserFilter,
    page: (usize, Option<PageKey>),
}

impl FromQuery for UserSearch {
    fn read(query: &mut Parameters) -> Self {
        let filter = UserFilter {
            text: query.text("q").map(|text| lower_email(&text)),
            role: query.word("role", Role::ALL, Role::as_str),
            is_active: query.truth("active"),
            subscription: query.word("subscription", Subscription::ALL, Subscription::as_str),
        };
        Self { filter, page: query.page() }
    }
}

/// Addresses are kept in lower case; ids are not touched.
fn lower_email(text: &str) -> String {
    if text.contains('@') { text.to_ascii_lowercase() } else { text.to_owned() }
}

/// Which keys are asked for.
#[derive(Debug)]
pub(super) struct KeySearch {
    filter: KeyFilter,
    page: (usize, Option<PageKey>),
}

impl FromQuery for KeySearch {
    fn read(query: &mut Parameters) -> Self {
        let filter = KeyFilter { user_id: query.text("user_id").map(UserId::new), text: query.text("q") };
        Self { filter, page: query.page() }
    }
}

/// Which changes are asked for.
#[derive(Debug)]
pub(super) struct AuditSearch {
    filter: AuditFilter,
    after: Option<String>,
    limit: usize,
}

impl FromQuery for AuditSearch {
    fn read(query: &mut Parameters) -> Self {
        let filter = AuditFilter { subject: query.text("subject"), actor: query.text("actor") };
        Self { filter, after: query.text("cursor"), limit: query.limit() }
    }
}

/// `GET /api/admin/users`
pub(super) async fn users(
    shared: Shared,
    caller: Caller,
    Query(search): Query<UserSearch>,
) -> Result<Fine<UserPage>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let (limit, after) = search.page;
    Ok(UserPage::of(users::search(&app, &search.filter, after.as_ref(), limit).await?))
}

/// `GET /api/admin/users/{id}`
pub(super) async fn user(shared: Shared, caller: Caller, Id(id): Id) -> Result<Tagged<AdminUser>, Refusal> {
    let app = admin(&shared, &caller).await?;
    Ok(shown(users::get(&app, &UserId::new(id)).await?))
}

fn shown(user: User) -> Tagged<AdminUser> {
    Tagged(etag(&user.revision()), user.into())
}

/// `PATCH /api/admin/users/{id}`
pub(super) async fn change_user(
    shared: Shared,
    caller: Caller,
    (Id(id), IfMatch(expected), Body(AdminPatch(patch))): (Id, IfMatch, Body<AdminPatch>),
) -> Result<Tagged<AdminUser>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let user = users::update(&app, &UserId::new(id), &patch, expected.as_ref()).await?;
    tracing::info!(user = %user.id, by = %caller.user_id(), "user changed by an administrator");
    Ok(shown(user))
}

/// `POST /api/admin/users/{id}/keys`
pub(super) async fn issue_key(
    shared: Shared,
    caller: Caller,
    (Id(id), Body(new)): (Id, Body<NewKey>),
) -> Result<Made<IssuedBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let issued = keys::issue(&app, &UserId::new(id), &new).await?;
    tracing::info!(user = %issued.key.user_id, key = issued.key.id.as_str(), "API key issued by an administrator");
    Ok(Made(issued.into()))
}

/// `GET /api/admin/keys`
pub(super) async fn keys(
    shared: Shared,
    caller: Caller,
    Query(search): Query<KeySearch>,
) -> Result<Fine<KeyPage>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let (limit, after) = search.page;
    Ok(KeyPage::of(keys::search(&app, &search.filter, after.as_ref(), limit).await?))
}

/// `GET /api/admin/keys/{id}`
pub(super) async fn key(shared: Shared, caller: Caller, Id(id): Id) -> Result<Fine<AdminKey>, Refusal> {
    let app = admin(&shared, &caller).await?;
    Ok(Fine(keys::get(&app, &KeyId::new(id)).await?.into()))
}

/// `DELETE /api/admin/keys/{id}`
pub(super) async fn revoke_key(shared: Shared, caller: Caller, Id(id): Id) -> Result<Nothing, Refusal> {
    let app = admin(&shared, &caller).await?;
    let key = keys::get(&app, &KeyId::new(id)).await?;
    keys::revoke(&app, &key.user_id, &key.id).await?;
    tracing::info!(user = %key.user_id, key = key.id.as_str(), "API key revoked by an administrator");
    Ok(Nothing)
}

/// `GET /api/admin/audit`
pub(super) async fn audit(
    shared: Shared,
    caller: Caller,
    Query(AuditSearch { filter, after, limit }): Query<AuditSearch>,
) -> Result<Fine<AuditPage>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let mut found = app.store.audit(&filter, after.as_deref(), limit.saturating_add(1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(id, _)| id.clone());
    Ok(Fine(AuditPage { items: found.into_iter().map(AuditBody::from).collect(), next }))
}
