//! What a profile may hold: lengths, addresses, no control characters. It must not know whose profile it is.

use serde_json::{Map, Value};

use super::InputFault;
use crate::domain::UserPatch;

/// Longest display name, in characters.
pub const MAX_NAME: usize = 200;
/// Longest text about oneself, in characters.
pub const MAX_BIO: usize = 2_000;
/// Longest address, in bytes.
pub const MAX_URL: usize = 2_000;
/// Most networks of one profile.
const MAX_LINKS: usize = 20;
/// Longest name of a network, in bytes.
const MAX_NETWORK: usize = 32;

/// Everything that is wrong with a change.
pub(super) fn faults(patch: &UserPatch) -> Vec<InputFault> {
    let mut faults = Vec::new();
    let mut check = |field, holds: bool, problem| {
        if !holds {
            faults.push(InputFault { field, problem });
        }
    };
    if let Some(Some(name)) = &patch.name {
        let fine = text(name, MAX_NAME, false) && !name.trim().is_empty();
        check("name", fine, "must have 1 to 200 characters, no control characters");
    }
    if let Some(Some(bio)) = &patch.bio {
        check("bio", text(bio, MAX_BIO, true), "may have 2000 characters, no control characters but line breaks");
    }
    if let Some(Some(website)) = &patch.website {
        check("website", is_web_address(website), WEB_ADDRESS);
    }
    if let Some(Some(image)) = &patch.profile_image {
        check("profile_image", is_web_address(image), WEB_ADDRESS);
    }
    if let Some(links) = &patch.social_links {
        check(
            "social_links",
            are_links(links),
            "may have 20 names of up to 32 characters a-z, 0-9, _ and -, each with a web address",
        );
    }
    if let Some(Some(limit)) = patch.monthly_limit {
        check("monthly_limit", limit >= 0, "must not be negative");
    }
    faults
}

const WEB_ADDRESS: &str =
    "must be an address that begins with https:// or http://, of at most 2000 bytes, without spaces";

fn text(text: &str, most: usize, lines: bool) -> bool {
    text.chars().count() <= most && !text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t')))
}

/// Other schemes (`javascript:`) would run in the browser of whoever follows the link.
fn is_web_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\');
    text.len() <= MAX_URL
        && host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && !text.chars().any(odd)
}

fn are_links(links: &Map<String, Value>) -> bool {
    let name = |name: &str| {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        (1..=MAX_NETWORK).contains(&name.len()) && name.bytes().all(fine)
    };
    links.len() <= MAX_LINKS
        && links.iter().all(|(network, link)| name(network) && link.as_str().is_some_and(is_web_address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://a.example", "http://localhost:3000/x?y#z", "https://\u{FC}.example"] {
            assert!(is_web_address(good), "{good}");
        }
        let long = format!("https://{}", "a".repeat(MAX_URL));
        for bad in
            ["", "https://", "https:///x", "javascript:alert(1)", "ftp://x", "https://a b", "https://a\n", "//x", &long]
        {
            assert!(!is_web_address(bad), "{bad}");
        }
    }

    #[test]
    fn every_fault_is_listed() {
        let patch = UserPatch {
            name: Some(Some(" ".into())),
            bio: Some(Some("x".repeat(MAX_BIO + 1))),
            website: Some(Some("x".into())),
            profile_image: Some(Some("data:image/png;base64,x".into())),
            social_links: json!({"Git Hub": "https://x"}).as_object().cloned(),
            monthly_limit: Some(Some(-1)),
            ..UserPatch::default()
        };
        let fields: Vec<&str> = faults(&patch).iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["name", "bio", "website", "profile_image", "social_links", "monthly_limit"]);
        let good = UserPatch {
            name: Some(Some("Ada".into())),
            bio: Some(Some("one\ntwo".into())),
            website: Some(None),
            social_links: json!({"github": "https://github.example/ada"}).as_object().cloned(),
            ..UserPatch::default()
        };
        assert_eq!(faults(&good), []);
    }
}
