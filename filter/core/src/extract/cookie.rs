//! Clerk's `__session` cookie (RFC 6265 section 4.2). All `cookie` headers of a request are read, because HTTP/1
//! leaves several apart and the backend may take another one than we do. It must not verify anything.

use tollgate_protocol::headers::SESSION_COOKIE;

use super::ExtractFault;

/// The session token of the cookies; `Ok(None)` when there is no session cookie or it is empty (signed out).
pub(super) fn session<'a>(cookies: &[&'a [u8]]) -> Result<Option<&'a [u8]>, ExtractFault> {
    let mut found = None;
    for (name, value) in cookies.iter().flat_map(|header| crumbs(header)) {
        if name == SESSION_COOKIE.as_bytes() && !value.is_empty() && found.replace(value).is_some() {
            return Err(ExtractFault::Doubled);
        }
    }
    Ok(found)
}

/// All cookies but the session ones (`__session`, `__session_<suffix>`), as one `cookie` header; `None` when none is left.
pub fn without_session(cookies: &[&[u8]]) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    for (name, value) in cookies.iter().flat_map(|header| crumbs(header)) {
        let suffix = name.strip_prefix(SESSION_COOKIE.as_bytes());
        if suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with(b"_")) {
            continue;
        }
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(name);
        rest.push(b'=');
        rest.extend_from_slice(value);
    }
    (!rest.is_empty()).then_some(rest)
}

fn crumbs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|&b| b == b';').map(<[u8]>::trim_ascii).filter_map(|crumb| {
        let at = crumb.iter().position(|&b| b == b'=')?;
        let (name, value) = crumb.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}
