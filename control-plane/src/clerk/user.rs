//! Reads a user as Clerk's Backend API and its webhooks write one (OpenAPI of the Backend API, `User`). What is missing
//! or of another type counts as not there, but for the id. It must not know where the bytes came from.

use serde_json::Value;

use crate::domain::{ClerkIdentity, Email, Timestamp, clerk::ClerkProfile};

/// Longest id of a user or a session, in bytes.
const MAX_ID: usize = 128;
/// Longest name, in bytes.
const MAX_NAME: usize = 256;
/// Longest address of a picture, in bytes.
const MAX_URL: usize = 2_000;

/// An id as Clerk makes them: it may stand in a path.
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The user, or `None` where there is no id.
pub fn parse(issuer: &str, user: &Value) -> Option<ClerkProfile> {
    let id = user.get("id")?.as_str().filter(|id| is_id(id))?;
    let (email, email_verified) = primary_email(user).unzip();
    let (first_name, last_name) = (name(user, "first_name"), name(user, "last_name"));
    let both = [first_name.as_deref(), last_name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let is_true = |member: &str| user.get(member).and_then(Value::as_bool) == Some(true);
    Some(ClerkProfile {
        identity: ClerkIdentity { issuer: issuer.to_owned(), id: id.to_owned() },
        email,
        email_verified: email_verified.unwrap_or(false),
        name: Some(both).filter(|both| !both.is_empty() && both.len() <= MAX_NAME),
        first_name,
        last_name,
        // Without a picture of their own Clerk draws one.
        image: text(user, "image_url").filter(|_| is_true("has_image")).filter(|url| is_picture(url)),
        barred: is_true("banned") || is_true("deprovisioned"),
        updated_at: Timestamp::from_millis(user.get("updated_at").and_then(Value::as_i64).unwrap_or(0)),
    })
}

/// The primary address and whether it is verified. Never another one: whoever can add an address could choose it.
fn primary_email(user: &Value) -> Option<(Email, bool)> {
    let primary = user.get("primary_email_address_id")?.as_str()?;
    let addresses = user.get("email_addresses")?.as_array()?;
    let entry = addresses.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(primary))?;
    let email = Email::new(entry.get("email_address")?.as_str()?)?;
    let status = entry.get("verification").and_then(|verification| verification.get("status"));
    Some((email, status.and_then(Value::as_str) == Some("verified")))
}

fn text(user: &Value, member: &str) -> Option<String> {
    user.get(member)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn name(user: &Value, member: &str) -> Option<String> {
    text(user, member).filter(|name| name.len() <= MAX_NAME && !name.chars().any(char::is_control))
}

fn is_picture(url: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\');
    url.len() <= MAX_URL && url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty()) && !url.contains(odd)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(id: &str, address: &str, verification: &Value) -> Value {
        json!({ "id": id, "email_address": address, "verification": verification })
    }

    #[test]
    fn a_whole_user() {
        let verified = json!({ "status": "verified", "strategy": "email_code" });
        let user = json!({
            "id": "user_1", "object": "user", "primary_email_address_id": "idn_2",
            "email_addresses": [address("idn_1", "other@x.test", &verified), address("idn_2", "Ada@X.test", &verified)],
            "first_name": " Ada ", "last_name": "Ł", "image_url": "https://img.clerk.test/a", "has_image": true,
            "banned": false, "locked": true, "updated_at": 1_700_000_000_123_i64, "private_metadata": {"secret": 1},
        });
        let profile = parse("https://clerk.test", &user).unwrap();
        assert_eq!(profile.identity, ClerkIdentity { issuer: "https://clerk.test".into(), id: "user_1".into() });
        assert_eq!((profile.email, profile.email_verified), (Email::new("ada@x.test"), true));
        assert_eq!((profile.name.as_deref(), profile.first_name.as_deref()), (Some("Ada Ł"), Some("Ada")));
        assert_eq!((profile.image.as_deref(), profile.barred), (Some("https://img.clerk.test/a"), false));
        assert_eq!(profile.updated_at.millis(), 1_700_000_000_123);
    }

    #[test]
    fn only_the_primary_address_counts_and_only_when_verified() {
        let verified = json!({ "status": "verified" });
        let list = json!([address("idn_1", "a@x.test", &verified), address("idn_2", "b@x.test", &Value::Null)]);
        let of = |primary: Value, addresses: &Value| {
            let profile =
                parse("i", &json!({"id": "u", "primary_email_address_id": primary, "email_addresses": addresses}));
            profile.map(|profile| (profile.email.map(|email| email.as_str().to_owned()), profile.email_verified))
        };
        assert_eq!(of(json!("idn_1"), &list), Some((Some("a@x.test".into()), true)));
        assert_eq!(of(json!("idn_2"), &list), Some((Some("b@x.test".into()), false)));
        for (primary, addresses) in
            [(json!(null), &list), (json!("idn_3"), &list), (json!(1), &list), (json!("idn_1"), &json!([]))]
        {
            assert_eq!(of(primary, addresses), Some((None, false)));
        }
        for status in ["unverified", "failed", "expired", "transferable", "VERIFIED", ""] {
            let list = json!([address("idn_1", "a@x.test", &json!({ "status": status }))]);
            assert_eq!(of(json!("idn_1"), &list), Some((Some("a@x.test".into()), false)), "{status}");
        }
    }

    #[test]
    fn odd_members_count_as_missing_and_an_odd_id_as_no_user() {
        let odd = json!({
            "id": "user_1", "first_name": "a\u{7}", "last_name": 7, "image_url": "javascript:alert(1)", "has_image": true,
            "banned": "true", "updated_at": "yesterday", "email_addresses": {},
        });
        let profile = parse("i", &odd).unwrap();
        assert_eq!((profile.name, profile.image, profile.barred), (None, None, false));
        assert_eq!(profile.updated_at.millis(), 0);
        for (member, barred) in [("banned", true), ("deprovisioned", true), ("locked", false)] {
            assert_eq!(parse("i", &json!({"id": "u", member: true})).unwrap().barred, barred, "{member}");
        }
        let drawn = json!({"id": "u", "image_url": "https://x.test/a", "has_image": false});
        assert_eq!(parse("i", &drawn).unwrap().image, None);
        for id in [json!(null), json!(1), json!(""), json!("../x"), json!("a?b"), json!("x".repeat(MAX_ID + 1))] {
            assert!(parse("i", &json!({ "id": id })).is_none(), "{id}");
        }
    }
}
