//! Paths that everyone reads in the same way. A path that a proxy and a backend could read differently is refused,
//! because a rule that holds for one reading would not hold for the other (CVE-2026-41248 and many before it).

/// A path that can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("path can be read in more than one way")]
pub struct AmbiguousPath;

/// Longest path without its query, in bytes: servers cut or refuse longer ones, each at a length of its own.
const MAX_BYTES: usize = 8 * 1024;

/// The path without its query, if there is only one way to read it.
///
/// # Errors
/// [`AmbiguousPath`] for: no leading slash, `//`, `.` or `..` as a segment, `\`, `;`, `#`, bytes outside visible
/// ASCII, more than 8 KiB, and percent-encodings of what needs none (letters, digits, `-`, `.`, `_`, `~`), of `/`, `\`,
/// `%`, `;` and control bytes, of what is no UTF-8 (overlong forms above all) or of anything that is no two hex digits.
pub fn unambiguous(path: &[u8]) -> Result<&[u8], AmbiguousPath> {
    let end = path.iter().position(|&b| b == b'?').unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    if path.first() != Some(&b'/') || path.len() > MAX_BYTES {
        return Err(AmbiguousPath);
    }
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let fine = match byte {
            b'/' => segment_is_plain(tail),
            b'%' => {
                rest = after_encoded(tail).ok_or(AmbiguousPath)?;
                true
            }
            b'\\' | b';' | b'#' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !fine {
            return Err(AmbiguousPath);
        }
    }
    Ok(path)
}

/// Whether what follows a slash is neither another slash nor a dot segment.
fn segment_is_plain(tail: &[u8]) -> bool {
    let end = tail.iter().position(|&b| b == b'/').unwrap_or(tail.len());
    match tail.get(..end) {
        Some([]) => tail.is_empty(),
        Some(b"." | b"..") => false,
        _ => true,
    }
}

/// What follows the character whose encoding begins before `tail`, with the percent sign already taken. `None`: it means
/// something to a path, or is read in more than one way.
fn after_encoded(tail: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = encoded_byte(tail)?;
    let length = match first {
        0x00..=0x7f => return encoding_is_plain(first).then_some(rest),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let mut character = [first; 4];
    let character = character.get_mut(..length)?;
    for byte in character.iter_mut().skip(1) {
        // Everything outside ASCII is encoded, so the whole character is.
        (*byte, rest) = encoded_byte(rest.strip_prefix(b"%")?)?;
    }
    core::str::from_utf8(character).is_ok().then_some(rest)
}

/// The byte that two hex digits say, and what follows them.
fn encoded_byte(tail: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = tail.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    Some(((high? << 4) | low?, rest))
}

/// Whether an encoded byte of ASCII means nothing to a path, and is one that somebody has a reason to encode: some decode
/// the others before they look, some do not (RFC 3986 section 2.3 calls both forms the same).
fn encoding_is_plain(byte: u8) -> bool {
    let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !is_unreserved && !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b'%' | b';')
}
