//! `Authorization: Bearer <token>` (RFC 6750 section 2.1). It must not look into the token.

use super::ExtractFault;

const SCHEME: &[u8] = b"bearer";

/// The token of a bearer credential. The scheme is read in any case (RFC 9110 section 11.1).
pub(super) fn token(value: &[u8]) -> Result<&[u8], ExtractFault> {
    let plain = value.split_at_checked(SCHEME.len()).and_then(|(scheme, rest)| {
        let token = rest.strip_prefix(b" ")?;
        (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty() && !may_end(token)).then_some(token)
    });
    plain.map_or_else(|| exactly(value), Ok)
}

/// The same for what is not simply a scheme, a space and a token.
#[cold]
fn exactly(value: &[u8]) -> Result<&[u8], ExtractFault> {
    // Envoy joins two Authorization headers with a comma, which no bearer token holds (RFC 6750: b64token).
    if value.contains(&b',') {
        return Err(ExtractFault::Doubled);
    }
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(ExtractFault::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first() != Some(&b' ') {
        return Err(ExtractFault::NotBearer);
    }
    let token = rest.trim_ascii();
    if token.is_empty() || token.iter().any(u8::is_ascii_whitespace) {
        return Err(ExtractFault::NotBearer);
    }
    Ok(token)
}

/// Whether a space, a control character or a comma may be in it. Eight bytes at a time, for the whole of a token is looked
/// at with each request: a byte is below another one, or is none, when subtracting borrows from its highest bit.
fn may_end(bytes: &[u8]) -> bool {
    const EACH: u64 = u64::MAX / 0xFF;
    const HIGHEST: u64 = EACH << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    let found = words.iter().map(|word| u64::from_le_bytes(*word)).fold(0, |found, word| {
        let low = word.wrapping_sub(EACH.wrapping_mul(0x21)) & !word;
        let comma = word ^ EACH.wrapping_mul(0x2C);
        found | low | (comma.wrapping_sub(EACH) & !comma)
    });
    found & HIGHEST != 0 || rest.iter().any(|byte| *byte <= b' ' || *byte == b',')
}
