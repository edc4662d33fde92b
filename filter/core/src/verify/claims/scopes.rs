//! Scopes: Clerk's organisation permissions in both formats (Clerk facts 1.3), and those of legacy tokens.
//!
//! Fails closed: what is malformed grants nothing. Must not know what a scope allows.

use tollgate_json::{Object, Value};

/// Most scopes of one token; the rest is not granted.
const MAX_SCOPES: usize = 512;
/// Longest scope in bytes; a longer one is not granted.
const MAX_SCOPE: usize = 256;
/// Most permission names of a v2 token; a token with more grants none.
const MAX_PERMISSIONS: usize = 512;
/// Most digits of a mask: enough for [`MAX_PERMISSIONS`] bits. A longer one counts as empty.
const MAX_DIGITS: usize = 155;

type Scopes = Box<[Box<str>]>;

/// Permissions `org:<feature>:<permission>` of the active organisation. `v` absent: `org_permissions` as it is. `v`
/// 2: `fea`, `o.per` and `o.fpm`; every `org_*` claim is ignored. Any other `v`: none.
pub(super) fn clerk(claims: &Object<'_>) -> Scopes {
    match claims.get("v") {
        None => strings(claims.get("org_permissions")),
        Some(version) if version.as_u64() == Some(2) => version_two(claims),
        Some(_) => Scopes::default(),
    }
}

/// `scope` split at white space (RFC 8693 section 4.2), else the array `scopes`.
pub(super) fn legacy(claims: &Object<'_>) -> Scopes {
    match claims.get("scope") {
        Some(Value::Text(scope)) => collect(scope.split_ascii_whitespace()),
        _ => strings(claims.get("scopes")),
    }
}

fn strings(value: Option<&Value<'_>>) -> Scopes {
    let items = value.and_then(Value::as_array).unwrap_or_default();
    collect(items.iter().filter_map(Value::as_str))
}

fn collect<'a>(scopes: impl Iterator<Item = &'a str>) -> Scopes {
    scopes.filter(|scope| is_scope(scope)).take(MAX_SCOPES).map(Box::from).collect()
}

/// Scopes are forwarded in one header, separated by spaces: printable ASCII without quotes and backslashes, as RFC 6749
/// section 3.3 has it.
fn is_scope(scope: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !scope.is_empty() && scope.len() <= MAX_SCOPE && scope.bytes().all(fits)
}

fn version_two(claims: &Object<'_>) -> Scopes {
    granted(claims).unwrap_or_default()
}

fn granted(claims: &Object<'_>) -> Option<Scopes> {
    let organisation = claims.get("o")?.as_object()?;
    let features = organisation_features(claims.get("fea")?.as_str()?)?;
    let permissions: Vec<&str> = organisation.get("per")?.as_str()?.split(',').map(str::trim).collect();
    if permissions.len() > MAX_PERMISSIONS {
        return None;
    }
    let masks = organisation.get("fpm")?.as_str()?.split(',').map(str::trim);
    let mut out: Vec<Box<str>> = Vec::new();
    for (feature, mask) in features.iter().zip(masks) {
        for (permission, granted) in permissions.iter().zip(bits(mask, permissions.len())) {
            let scope = format!("org:{feature}:{permission}");
            if granted && !permission.is_empty() && is_scope(&scope) && out.len() < MAX_SCOPES {
                out.push(scope.into());
            }
        }
    }
    Some(out.into())
}

/// The features of the organisation, in order: masks are counted by them alone, as Clerk's own SDK does. An entry
/// that is not `<o|u|ou|uo>:<feature>` makes the order doubtful, so then there are none.
fn organisation_features(list: &str) -> Option<Vec<&str>> {
    let mut features = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once(':')? {
            (_, "") => return None,
            ("o" | "ou" | "uo", feature) => features.push(feature),
            ("u", _) => {}
            _ => return None,
        }
    }
    Some(features)
}

/// The lowest `count` bits of a decimal number, lowest first. Numbers may be longer than any machine word.
fn bits(decimal: &str, count: usize) -> Vec<bool> {
    if decimal.is_empty() || decimal.len() > MAX_DIGITS || !decimal.bytes().all(|digit| digit.is_ascii_digit()) {
        return Vec::new();
    }
    let mut digits: Vec<u8> = decimal.bytes().map(|digit| digit & 0x0f).collect();
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        // One long division by two: what is left at the end is the next bit.
        let mut odd = false;
        for digit in &mut digits {
            let carried = if odd { 10_u8 } else { 0 }.saturating_add(*digit);
            odd = carried & 1 == 1;
            *digit = carried >> 1;
        }
        out.push(odd);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claims: &str, expect: &[&str]) {
        let claims = Object::read(claims.as_bytes(), 8).unwrap();
        let got = clerk(&claims);
        assert_eq!(got.iter().map(|scope| &**scope).collect::<Vec<_>>(), expect, "{claims:?}");
    }

    #[test]
    fn the_worked_example_and_its_neighbours() {
        let o = |fea: &str, per: &str, fpm: &str| {
            format!(r#"{{"v":2,"fea":"{fea}","o":{{"id":"org_1","rol":"admin","per":"{per}","fpm":"{fpm}"}}}}"#)
        };
        let all = ["org:dashboard:manage", "org:dashboard:read", "org:teams:read"];
        check(&o("o:dashboard,o:teams", "manage,read", "3,2"), &all);
        check(&o(" o:dashboard , ou:teams", " manage , read", " 3 , 2 "), &all);
        check(&o("u:billing,o:dashboard,o:teams", "manage,read", "3,2"), &all);
        check(&o("o:dashboard,o:teams,o:more", "manage,read", "3,2"), &all);
        check(&o("o:dashboard,o:teams", "manage,read", "3,2,3"), &all);
        check(&o("o:dashboard,o:teams", "manage,read", "255,2"), &all);
        check(&o("o:dashboard,o:teams", "manage,read", "0,2"), &["org:teams:read"]);
        check(&o("o:dashboard,o:teams", "manage,read", "x,2"), &["org:teams:read"]);
        check(&o("o:dashboard,o:teams", "manage,read", "-3,2"), &["org:teams:read"]);
        check(&o("o:a:b", "read", "1"), &["org:a:b:read"]);
        for broken in [o("dashboard", "read", "1"), o("x:dashboard", "read", "1"), o("o:", "read", "1"), o("", "", "")]
        {
            check(&broken, &[]);
        }
        check(r#"{"v":2,"org_permissions":["org:a:b"]}"#, &[]);
        check(r#"{"v":3,"org_permissions":["org:a:b"]}"#, &[]);
        check(r#"{"v":"2","org_permissions":["org:a:b"]}"#, &[]);
        check(r#"{"org_permissions":["org:a:b","",7,"x y"],"fea":"o:a"}"#, &["org:a:b"]);
    }

    #[test]
    fn masks_may_be_longer_than_a_word() {
        let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        // 2^99 + 1
        let claims = format!(
            r#"{{"v":2,"fea":"o:f","o":{{"per":"{}","fpm":"633825300114114700748351602689"}}}}"#,
            names.join(",")
        );
        check(&claims, &["org:f:p0", "org:f:p99"]);
    }

    #[test]
    fn every_bit_of_small_masks() {
        for mask in 0..1024_u32 {
            let expect: Vec<bool> = (0..10).map(|bit| mask >> bit & 1 == 1).collect();
            assert_eq!(bits(&mask.to_string(), 10), expect);
        }
        assert_eq!(bits(&"9".repeat(MAX_DIGITS + 1), 4), Vec::<bool>::new());
    }
}
