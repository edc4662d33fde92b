//! Where an Envoy stands in the control plane's feed of changes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A place in the feed, written `epoch.seq`. Within one epoch, a larger `seq` is later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Names one life of the store: another epoch cannot be compared. Letters and digits, 1 to 32.
    pub epoch: String,
    /// Number of the last change that is included.
    pub seq: u64,
}

/// A text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the form epoch.seq")]
pub struct CursorFault;

impl core::fmt::Display for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl core::str::FromStr for Cursor {
    type Err = CursorFault;

    fn from_str(text: &str) -> Result<Self, CursorFault> {
        let (epoch, seq) = text.split_once('.').ok_or(CursorFault)?;
        let epoch_is_fine = (1..=32).contains(&epoch.len()) && epoch.bytes().all(|b| b.is_ascii_alphanumeric());
        let seq_is_fine = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        if !epoch_is_fine || !seq_is_fine {
            return Err(CursorFault);
        }
        Ok(Self { epoch: epoch.to_owned(), seq: seq.parse().map_err(|_| CursorFault)? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let cursor = Cursor { epoch: "a1".into(), seq: 7 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", ".", "a.", ".1", "a.-1", "a.+1", "a b.1", "a.1.2", "a.99999999999999999999"] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorFault), "{bad}");
        }
    }
}
