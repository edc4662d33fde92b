//! A secret that an operator configured. It never prints and is wiped when dropped. It must not know what it opens.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A configured secret. `Debug` shows that it is there, never what it is.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself: only for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret. Takes the same time whatever differs (the length is not hidden).
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_compares_and_does_not_print() {
        let secret = Secret::new("correct horse");
        assert!(secret.is(b"correct horse"));
        assert!(!secret.is(b"correct horsE") && !secret.is(b"correct") && !secret.is(b""));
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
