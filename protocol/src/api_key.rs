//! The format of an API key and the name it is known by, its hash.
//!
//! `sk_` + 40 base62 characters of randomness (238 bits) + 6 base62 characters of checksum (CRC-32 of all before
//! it). The checksum is no secret: it lets the edge refuse junk without a look-up. This module must not make
//! randomness or keep a key.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What every API key begins with.
pub const PREFIX: &str = "sk_";
/// Random characters.
pub const RANDOM_CHARS: usize = 40;
/// Checksum characters.
pub const CHECKSUM_CHARS: usize = 6;
/// Length of a whole key in bytes.
pub const LENGTH: usize = PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS;
/// Longest imported key (one without our checksum) that is looked at.
pub const MAX_IMPORTED_LENGTH: usize = 256;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What the form of a key says before any look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prefix, length, alphabet and checksum are right.
    Checked,
    /// Printable and not too long, but without a right checksum: perhaps a key issued before Tollgate.
    Unchecked,
    /// Cannot be a key at all.
    Junk,
}

/// Judges the form of a key. Costs one pass over at most [`MAX_IMPORTED_LENGTH`] bytes.
pub fn form(key: &[u8]) -> Form {
    let Some(body) = key.strip_prefix(PREFIX.as_bytes()) else { return Form::Junk };
    let printable = body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if body.is_empty() || key.len() > MAX_IMPORTED_LENGTH || !printable {
        return Form::Junk;
    }
    let split = PREFIX.len().saturating_add(RANDOM_CHARS);
    match (key.get(..split), key.get(split..)) {
        (Some(head), Some(tail)) if key.len() == LENGTH && tail == checksum(head) => Form::Checked,
        _ => Form::Unchecked,
    }
}

/// Makes a key of random characters. `random` are numbers that were drawn evenly from 0..62.
/// Returns `None` if there are not [`RANDOM_CHARS`] of them or one is out of range.
pub fn assemble(random: &[u8]) -> Option<String> {
    if random.len() != RANDOM_CHARS {
        return None;
    }
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    for &number in random {
        key.push(char::from(*BASE62.get(usize::from(number))?));
    }
    let checksum = checksum(key.as_bytes());
    key.extend(checksum.iter().copied().map(char::from));
    Some(key)
}

fn checksum(head: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32(head);
    let mut out = [b'0'; CHECKSUM_CHARS];
    for place in out.iter_mut().rev() {
        *place = BASE62.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    out
}

/// CRC-32 as in ISO 3309 (the one of zip and Ethernet), a byte at a time: every request with a key comes through here.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        let [low, ..] = crc.to_le_bytes();
        let step = CRC32.get(usize::from(low ^ byte)).copied().unwrap_or(0);
        crc = (crc >> 8) ^ step;
    }
    !crc
}

/// What each byte does to the rest of a division by the polynomial.
static CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// SHA-256 of a whole API key: the only form in which a key is stored, sent or looked up. Written base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// A text that is not a key hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a base64url SHA-256 hash")]
pub struct KeyHashFault;

impl core::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl core::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl core::str::FromStr for KeyHash {
    type Err = KeyHashFault;

    fn from_str(text: &str) -> Result<Self, KeyHashFault> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyHashFault)?;
        bytes.try_into().map(Self).map_err(|_| KeyHashFault)
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_made_key_is_checked_and_any_change_is_noticed() {
        let random: Vec<u8> = (0..40).map(|i| (i * 7 % 62) as u8).collect();
        let key = assemble(&random).unwrap();
        assert_eq!(key.len(), LENGTH);
        assert_eq!(form(key.as_bytes()), Form::Checked);
        for place in PREFIX.len()..LENGTH {
            let mut bytes = key.clone().into_bytes();
            bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(form(&bytes), Form::Unchecked, "{place}");
        }
    }

    #[test]
    fn form_of_what_is_no_key() {
        for junk in [&b""[..], b"sk_", b"pk_abc", b"sk_\xff", b"sk_a b", b"sk_a\r\n", &[b'a'; 4000]] {
            assert_eq!(form(junk), Form::Junk, "{junk:?}");
        }
        assert_eq!(form(b"sk_live_older"), Form::Unchecked);
        assert_eq!(assemble(&[62; 40]), None);
        assert_eq!(assemble(&[0; 39]), None);
    }
}
