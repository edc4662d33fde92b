//! Where a page of a list ends, so that the next one can begin there, whatever has come in between. It must not know
//! what is listed.

use super::Timestamp;

/// A place in a list that is ordered by time, newest first, and by id within one millisecond. Written `millis.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageKey {
    /// When the last record of the page was made.
    pub at: Timestamp,
    /// Its id.
    pub id: String,
}

impl PageKey {
    /// Reads what [`Self::to_text`] wrote; `None` where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('.')?;
        let at = Timestamp::from_millis(millis.parse().ok()?);
        (1..=256).contains(&id.len()).then(|| Self { at, id: id.to_owned() })
    }

    /// The text that a client hands back.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.at.millis(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for id in ["usr_a", "a.b", "\u{1F40C}"] {
            let key = PageKey { at: Timestamp::from_millis(-7), id: id.to_owned() };
            assert_eq!(PageKey::parse(&key.to_text()), Some(key));
        }
        for bad in ["", ".", "1", "1.", "x.y", "99999999999999999999.a", &format!("1.{}", "x".repeat(257))] {
            assert_eq!(PageKey::parse(bad), None, "{bad}");
        }
    }
}
