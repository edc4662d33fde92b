//! Where an Envoy stands in the control plane's feed of changes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A place in the feed, written `epoch.seq` or `epoch.seq.settings`. Within one epoch, a larger `seq` is later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Names one life of the store: another epoch cannot be compared. Letters and digits, 1 to 32.
    pub epoch: String,
    /// Number of the last change that is included.
    pub seq: u64,
    /// Which settings came with the answer that gave this place; absent: none. An edge hands it back as it is, so that
    /// any replica of the control plane knows whether this Envoy has the settings that hold there.
    pub settings: Option<u64>,
}

impl Cursor {
    /// A place without settings.
    pub const fn new(epoch: String, seq: u64) -> Self {
        Self { epoch, seq, settings: None }
    }
}

/// A text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the form epoch.seq or epoch.seq.settings")]
pub struct CursorFault;

impl core::fmt::Display for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)?;
        match self.settings {
            Some(settings) => write!(f, ".{settings:016x}"),
            None => Ok(()),
        }
    }
}

impl core::str::FromStr for Cursor {
    type Err = CursorFault;

    fn from_str(text: &str) -> Result<Self, CursorFault> {
        let (epoch, rest) = text.split_once('.').ok_or(CursorFault)?;
        let (seq, settings) = rest.split_once('.').map_or((rest, None), |(seq, settings)| (seq, Some(settings)));
        let epoch_is_fine = (1..=32).contains(&epoch.len()) && epoch.bytes().all(|b| b.is_ascii_alphanumeric());
        let seq_is_fine = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let settings_is_fine = settings.is_none_or(|text| text.len() == 16 && text.bytes().all(hex));
        if !epoch_is_fine || !seq_is_fine || !settings_is_fine {
            return Err(CursorFault);
        }
        let settings = settings.map(|text| u64::from_str_radix(text, 16)).transpose().map_err(|_| CursorFault)?;
        Ok(Self { epoch: epoch.to_owned(), seq: seq.parse().map_err(|_| CursorFault)?, settings })
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
        for settings in [None, Some(0), Some(u64::MAX)] {
            let cursor = Cursor { epoch: "a1".into(), seq: 7, settings };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in [
            "",
            ".",
            "a.",
            ".1",
            "a.-1",
            "a.+1",
            "a b.1",
            "a.1.2",
            "a.1.",
            "a.1.00000000000000aG",
            "a.1.+0000000000000aa",
            "a.1.0000000000000000.1",
            "a.99999999999999999999",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorFault), "{bad}");
        }
    }
}
