//! One user as a line, and back. It must not know how a file is read.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use crate::{
    config::Secret,
    domain::{
        ClerkIdentity, Email, ImportedUser, Role, Subscription, Timestamp, User, UserId, UserPatch, ledger::MAX_BALANCE,
    },
    service::{profile, sign_in},
};

/// Members that belong to the ledger of the store they come from.
const OF_ANOTHER_LEDGER: [&str; 5] =
    ["tokens_reserved", "tokens_month_start", "tokens_month_used", "tokens_seq", "tokens_given_at"];

/// A user as a line has them. `clerk_issuer`: whose the Clerk ids are that name no issuer. `fresh`: the id of one who has
/// none.
///
/// # Errors
/// Everything that is wrong with the line.
pub(super) fn read(
    line: &str,
    clerk_issuer: Option<&str>,
    fresh: UserId,
    now: Timestamp,
) -> Result<ImportedUser, Vec<String>> {
    let mut from = Fields::read(line)?;
    let id = from.id("_id").or_else(|| from.id("id"));
    let has_id = id.is_some();
    let mut user = User::new(id.map_or(fresh, UserId::new), now);
    user.email = from.word("email", "is not an e-mail address", Email::new);
    user.password_hash = from.word("password_hash", "is no bcrypt or Argon2 hash that can be looked at", |text| {
        sign_in::is_hash(text).then(|| Secret::new(text))
    });
    user.name = from.text("name");
    user.role = from.word("role", "must be user, developer or admin", Role::from_word).unwrap_or(user.role);
    user.is_active = from.truth("is_active").unwrap_or(user.is_active);
    user.clerk = clerk(&mut from, clerk_issuer);
    user.first_name = from.text("first_name");
    user.last_name = from.text("last_name");
    user.email_verified = from.truth("email_verified").unwrap_or(false) && user.email.is_some();
    user.tokens_remaining = from.number("tokens_remaining", MAX_BALANCE).unwrap_or(user.tokens_remaining);
    user.tokens_used = from.number("tokens_used", MAX_BALANCE).unwrap_or(user.tokens_used);
    user.monthly_limit = from.number("monthly_limit", MAX_BALANCE);
    let subscription = from.word("subscription", "must be free, pro or enterprise", Subscription::from_word);
    user.subscription = subscription.unwrap_or(user.subscription);
    user.stripe_customer_id = from.text("stripe_customer_id");
    user.created_at = from.moment("created_at").unwrap_or(now);
    user.updated_at = from.moment("updated_at").unwrap_or(user.created_at);
    user.last_login_at = from.moment("last_login_at");
    user.last_logout_at = from.moment("last_logout_at");
    user.bio = from.text("bio");
    user.website = from.text("website");
    user.profile_image = from.text("profile_image");
    user.social_links = from.object("social_links").unwrap_or_default();
    for name in OF_ANOTHER_LEDGER {
        from.take(name);
    }
    user.extra = from.rest();
    check(&user, &mut from);
    if !has_id && user.email.is_none() && user.clerk.is_none() && from.faults.is_empty() {
        from.faults.push("names nobody: it needs _id, email or clerk_id".to_owned());
    }
    if from.faults.is_empty() { Ok(ImportedUser { user, has_id, given: from.given }) } else { Err(from.faults) }
}

fn clerk(from: &mut Fields, default: Option<&str>) -> Option<ClerkIdentity> {
    let (id, issuer) = (from.text("clerk_id"), from.text("clerk_issuer"));
    let id = id?;
    match issuer.or_else(|| default.map(str::to_owned)) {
        Some(issuer) => Some(ClerkIdentity { issuer, id }),
        None => {
            from.fault("clerk_issuer", "is missing beside clerk_id: name the issuer with --clerk-issuer");
            None
        }
    }
}

/// What a profile may hold is the same as through the API.
fn check(user: &User, from: &mut Fields) {
    let links = (!user.social_links.is_empty()).then(|| user.social_links.clone());
    let profile = UserPatch {
        name: user.name.clone().map(Some),
        bio: user.bio.clone().map(Some),
        website: user.website.clone().map(Some),
        profile_image: user.profile_image.clone().map(Some),
        social_links: links,
        ..UserPatch::default()
    };
    from.faults.extend(profile::faults(&profile).iter().map(ToString::to_string));
}

/// A user as a line, without what is not there. `with_secrets`: with the hash of the password.
pub fn to_json(user: &User, with_secrets: bool) -> Value {
    let mut line: Map<String, Value> = user.extra.clone();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            line.insert(name.to_owned(), value);
        }
    };
    let moment = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::String(at.to_text()));
    put("_id", json!(user.id.as_str()));
    put("email", json!(user.email.as_ref().map(Email::as_str)));
    if with_secrets {
        put("password_hash", json!(user.password_hash.as_ref().map(Secret::expose)));
    }
    put("name", json!(user.name));
    put("role", json!(user.role.as_str()));
    put("is_active", json!(user.is_active));
    put("clerk_id", json!(user.clerk.as_ref().map(|clerk| &clerk.id)));
    put("clerk_issuer", json!(user.clerk.as_ref().map(|clerk| &clerk.issuer).filter(|issuer| !issuer.is_empty())));
    put("first_name", json!(user.first_name));
    put("last_name", json!(user.last_name));
    put("email_verified", json!(user.email_verified));
    put("tokens_remaining", json!(user.tokens_remaining));
    put("tokens_used", json!(user.tokens_used));
    put("monthly_limit", json!(user.monthly_limit));
    put("subscription", json!(user.subscription.as_str()));
    put("stripe_customer_id", json!(user.stripe_customer_id));
    put("created_at", moment(Some(user.created_at)));
    put("updated_at", moment(Some(user.updated_at)));
    put("last_login_at", moment(user.last_login_at));
    put("last_logout_at", moment(user.last_logout_at));
    put("bio", json!(user.bio));
    put("website", json!(user.website));
    put("profile_image", json!(user.profile_image));
    if !user.social_links.is_empty() {
        put("social_links", Value::Object(user.social_links.clone()));
    }
    Value::Object(line)
}
