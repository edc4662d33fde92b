//! Paths that everyone reads in the same way. A path that a proxy and a backend could read differently is refused,
//! because a rule that holds for one reading would not hold for the other (CVE-2026-41248 and many before it).

/// A path that can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("path can be read in more than one way")]
pub struct AmbiguousPath;

/// The path without its query, if there is only one way to read it.
///
/// # Errors
/// [`AmbiguousPath`] for: no leading slash, `//`, `.` or `..` as a segment, `\`, `;`, `#`, bytes outside visible
/// ASCII, and percent-encodings of `.`, `/`, `\`, `%`, `;`, control bytes or anything that is no two hex digits.
pub fn unambiguous(path: &[u8]) -> Result<&[u8], AmbiguousPath> {
    let end = path.iter().position(|&b| b == b'?').unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    if path.first() != Some(&b'/') {
        return Err(AmbiguousPath);
    }
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let fine = match byte {
            b'/' => segment_is_plain(tail),
            b'%' => encoding_is_plain(tail),
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

/// Whether the two digits after a percent sign encode something that means nothing to a path.
fn encoding_is_plain(tail: &[u8]) -> bool {
    let Some([high, low]) = tail.first_chunk::<2>() else { return false };
    let digit = |b: u8| char::from(b).to_digit(16);
    let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
    let decoded = (high << 4) | low;
    !matches!(decoded, 0x00..=0x1f | 0x7f | 0x2e | 0x2f | 0x5c | 0x25 | 0x3b)
}
