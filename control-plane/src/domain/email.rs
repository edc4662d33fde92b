//! E-mail addresses as they are compared and stored. It must not judge whether someone owns one.

/// An address in the form in which it is stored and compared: trimmed, ASCII letters lower-case.
///
/// Letters outside ASCII are left alone: folding them would make different mailboxes equal (the Kelvin sign and `k`),
/// and equal addresses are how accounts are linked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// Takes an address, or `None` if it cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, host) = text.rsplit_once('@')?;
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if local.is_empty() || local.contains('@') || host.is_empty() || text.len() > 254 || text.chars().any(odd) {
            return None;
        }
        Some(Self(text.to_ascii_lowercase()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for Email {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_of_each_address() {
        assert_eq!(Email::new(" Ada.L+x@Example.COM ").unwrap().as_str(), "ada.l+x@example.com");
        assert_ne!(Email::new("\u{212A}@example.com"), Email::new("k@example.com"));
        for bad in ["", "@", "a@", "@b", "a", "a@b@c", "a b@c", "a@b\r\nc", "a\0@b", &format!("{}@b", "a".repeat(253))]
        {
            assert_eq!(Email::new(bad), None, "{bad:?}");
        }
    }
}
