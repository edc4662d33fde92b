//! `Authorization: Bearer <token>` (RFC 6750 section 2.1). It must not look into the token.

use super::ExtractFault;

const SCHEME: &[u8] = b"bearer";

/// The token of a bearer credential. The scheme is read in any case (RFC 9110 section 11.1).
pub(super) fn token(value: &[u8]) -> Result<&[u8], ExtractFault> {
    // Envoy joins two Authorization headers with a comma, which no bearer token holds (RFC 6750: b64token). Counted, and
    // not searched for: without a way out in the middle, sixteen bytes are looked at in one step.
    if value.iter().fold(false, |found, byte| found | (*byte == b',')) {
        return Err(ExtractFault::Doubled);
    }
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(ExtractFault::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first() != Some(&b' ') {
        return Err(ExtractFault::NotBearer);
    }
    let token = rest.trim_ascii();
    if token.is_empty() || token.iter().fold(false, |found, byte| found | byte.is_ascii_whitespace()) {
        return Err(ExtractFault::NotBearer);
    }
    Ok(token)
}
