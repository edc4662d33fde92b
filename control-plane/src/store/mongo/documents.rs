//! Between documents and records: the only place that knows the names of members.

use mongodb::bson::{Bson, Document, doc};
use tollgate_protocol::KeyHash;

use super::ledger;
use super::values::{Members, bson_object, date};
use crate::{
    config::Secret,
    domain::{
        ApiKey, ClerkIdentity, Email, FIRST_TOKENS, KeyId, Role, Scope, Subscription, Timestamp, User, UserId,
        UserPatch,
    },
    store::StoreError,
};

/// The collection of users.
pub(super) const USERS: &str = "users";
/// The collection of API keys.
pub(super) const API_KEYS: &str = "api_keys";

/// A new user's document. What is not there has no member.
pub(super) fn from_user(user: &User) -> Document {
    let mut document = bson_object(&user.extra);
    document.extend(doc! {
        "_id": user.id.as_str(),
        "role": user.role.as_str(),
        "is_active": user.is_active,
        "email_verified": user.email_verified,
        "tokens_remaining": user.tokens_remaining,
        "tokens_used": user.tokens_used,
        "subscription": user.subscription.as_str(),
        "created_at": date(user.created_at),
        "updated_at": date(user.updated_at),
        "social_links": bson_object(&user.social_links),
    });
    let texts = [
        ("email", user.email.as_ref().map(Email::as_str)),
        ("password_hash", user.password_hash.as_ref().map(Secret::expose)),
        ("name", user.name.as_deref()),
        ("clerk_issuer", user.clerk.as_ref().map(|clerk| clerk.issuer.as_str())),
        ("clerk_id", user.clerk.as_ref().map(|clerk| clerk.id.as_str())),
        ("first_name", user.first_name.as_deref()),
        ("last_name", user.last_name.as_deref()),
        ("stripe_customer_id", user.stripe_customer_id.as_deref()),
        ("bio", user.bio.as_deref()),
        ("website", user.website.as_deref()),
        ("profile_image", user.profile_image.as_deref()),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name, text.map(|text| Bson::String(text.to_owned()))));
    let others = [
        ("monthly_limit", user.monthly_limit.map(Bson::Int64)),
        ("last_login_at", user.last_login_at.map(date)),
        ("last_logout_at", user.last_logout_at.map(date)),
    ];
    document.extend(present(texts.chain(others)));
    document
}

/// The update that a patch asks for: what is taken away has no member afterwards.
pub(super) fn from_patch(patch: &UserPatch, at: Timestamp) -> Document {
    let (mut set, mut unset) = (doc! { "updated_at": date(at) }, Document::new());
    let clearable = [
        ("name", patch.name.clone().map(|text| text.map(Bson::String))),
        ("bio", patch.bio.clone().map(|text| text.map(Bson::String))),
        ("website", patch.website.clone().map(|text| text.map(Bson::String))),
        ("profile_image", patch.profile_image.clone().map(|text| text.map(Bson::String))),
        ("monthly_limit", patch.monthly_limit.map(|limit| limit.map(Bson::Int64))),
    ];
    for (name, value) in clearable {
        match value {
            None => {}
            Some(None) => drop(unset.insert(name, "")),
            Some(Some(value)) => drop(set.insert(name, value)),
        }
    }
    let others = [
        ("role", patch.role.map(|role| Bson::from(role.as_str()))),
        ("is_active", patch.is_active.map(Bson::Boolean)),
        ("subscription", patch.subscription.map(|subscription| Bson::from(subscription.as_str()))),
        ("social_links", patch.social_links.as_ref().map(|links| Bson::Document(bson_object(links)))),
    ];
    set.extend(present(others.into_iter()));
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    update
}

/// The update that brings a user from one state to another, as far as an event of Clerk may change one.
pub(super) fn from_clerk(before: &User, after: &User, at: Timestamp) -> Document {
    let (mut set, mut unset) = (doc! { "updated_at": date(at) }, Document::new());
    let text = |text: &Option<String>| text.clone().map(Bson::String);
    let members = |user: &User| {
        let clerk = user.clerk.as_ref();
        [
            ("email", user.email.as_ref().map(|email| Bson::from(email.as_str()))),
            ("email_verified", Some(Bson::Boolean(user.email_verified))),
            ("name", text(&user.name)),
            ("first_name", text(&user.first_name)),
            ("last_name", text(&user.last_name)),
            ("profile_image", text(&user.profile_image)),
            ("is_active", Some(Bson::Boolean(user.is_active))),
            ("clerk_issuer", clerk.map(|clerk| Bson::from(clerk.issuer.as_str()))),
            ("clerk_id", clerk.map(|clerk| Bson::from(clerk.id.as_str()))),
        ]
    };
    for ((name, was), (_, is)) in members(before).into_iter().zip(members(after)) {
        match is {
            is if is == was => {}
            None => drop(unset.insert(name, "")),
            Some(is) => drop(set.insert(name, is)),
        }
    }
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    update
}

fn present<'n>(members: impl Iterator<Item = (&'n str, Option<Bson>)>) -> impl Iterator<Item = (String, Bson)> {
    members.filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

/// A user as anybody may have written them.
pub(super) fn user(document: Document) -> Result<User, StoreError> {
    // An ObjectId holds the time at which it was made.
    let made = document.get_object_id("_id").map(|id| id.timestamp().timestamp_millis()).unwrap_or_default();
    let mut from = Members::new(USERS, document);
    let email = from.some_text("email")?;
    let email = email.map(|text| Email::new(&text).ok_or_else(|| from.corrupt("email"))).transpose()?;
    let role = from.some_text("role")?.map_or(Some(Role::User), |word| Role::from_word(&word));
    let role = role.ok_or_else(|| from.corrupt("role"))?;
    let subscription = from.some_text("subscription")?;
    let subscription = subscription.map_or(Some(Subscription::Free), |word| Subscription::from_word(&word));
    let subscription = subscription.ok_or_else(|| from.corrupt("subscription"))?;
    let (clerk_id, clerk_issuer) = (from.some_text("clerk_id")?, from.some_text("clerk_issuer")?);
    // The ledger reads and writes these.
    for member in ledger::documents::MEMBERS {
        from.take(member);
    }
    let created_at = from.moment("created_at")?.unwrap_or(Timestamp::from_millis(made));
    Ok(User {
        id: UserId::new(from.id("_id")?),
        email,
        password_hash: from.some_text("password_hash")?.map(Secret::new),
        name: from.text("name")?,
        role,
        is_active: from.truth("is_active")?.unwrap_or(true),
        // Without an issuer, written by another program, the id counts for whichever issuer asks.
        clerk: clerk_id.map(|id| ClerkIdentity { issuer: clerk_issuer.unwrap_or_default(), id }),
        first_name: from.text("first_name")?,
        last_name: from.text("last_name")?,
        email_verified: from.truth("email_verified")?.unwrap_or(false),
        tokens_remaining: from.number("tokens_remaining")?.unwrap_or(FIRST_TOKENS),
        tokens_used: from.number("tokens_used")?.unwrap_or(0),
        monthly_limit: from.number("monthly_limit")?,
        subscription,
        stripe_customer_id: from.text("stripe_customer_id")?,
        created_at,
        updated_at: from.moment("updated_at")?.unwrap_or(created_at),
        last_login_at: from.moment("last_login_at")?,
        last_logout_at: from.moment("last_logout_at")?,
        bio: from.text("bio")?,
        website: from.text("website")?,
        profile_image: from.text("profile_image")?,
        social_links: from.object("social_links"),
        extra: from.rest(),
    })
}

/// A new key's document. `user` is the id as the user's own document has it.
pub(super) fn from_key(key: &ApiKey, user: Bson) -> Document {
    let mut document = doc! {
        "_id": key.id.as_str(),
        "user_id": user,
        "name": &key.name,
        "hash": key.hash.to_string(),
        "prefix": &key.prefix,
        "last_four": &key.last_four,
        "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "created_at": date(key.created_at),
        "updated_at": date(key.created_at),
    };
    let moments = [("expires_at", key.expires_at), ("revoked_at", key.revoked_at), ("last_used_at", key.last_used_at)];
    document.extend(present(moments.into_iter().map(|(name, moment)| (name, moment.map(date)))));
    if let Some(rate) = key.rate {
        document.insert("rate", rate.to_string());
    }
    document
}

/// A key.
pub(super) fn key(document: Document) -> Result<ApiKey, StoreError> {
    let mut from = Members::new(API_KEYS, document);
    let hash: Option<KeyHash> = from.text("hash")?.and_then(|text| text.parse().ok());
    let scopes: Option<Vec<Scope>> = match from.take("scopes") {
        None => Some(Vec::new()),
        Some(Bson::Array(scopes)) => scopes.iter().map(|scope| scope.as_str().and_then(Scope::new)).collect(),
        Some(_) => None,
    };
    let rate = from.some_text("rate")?.map_or(Some(None), |text| text.parse().ok().map(Some));
    Ok(ApiKey {
        id: KeyId::new(from.id("_id")?),
        user_id: UserId::new(from.id("user_id")?),
        name: from.text("name")?.unwrap_or_default(),
        hash: hash.ok_or_else(|| from.corrupt("hash"))?,
        prefix: from.text("prefix")?.unwrap_or_default(),
        last_four: from.text("last_four")?.unwrap_or_default(),
        rate: rate.ok_or_else(|| from.corrupt("rate"))?,
        scopes: scopes.ok_or_else(|| from.corrupt("scopes"))?,
        created_at: from.moment("created_at")?.unwrap_or(Timestamp::from_millis(0)),
        expires_at: from.moment("expires_at")?,
        revoked_at: from.moment("revoked_at")?,
        last_used_at: from.moment("last_used_at")?,
    })
}
