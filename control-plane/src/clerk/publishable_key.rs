//! Clerk's publishable key, which names the instance: `pk_live_` or `pk_test_` + base64(`<host>$`). It must not trust
//! what it decodes: the host becomes the trust anchor, so its grammar is checked here.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Keys come with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Which kind of Clerk instance a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `live` keys.
    Production,
    /// `test` keys.
    Development,
}

/// A publishable key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishableKey {
    /// Which kind of instance.
    pub environment: Environment,
    /// Host of the instance's frontend API.
    pub host: String,
}

impl PublishableKey {
    /// The claim `iss` of the instance's tokens.
    pub fn issuer(&self) -> String {
        format!("https://{}", self.host)
    }
}

/// Why a text is no publishable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishableKeyFault {
    /// It begins otherwise.
    #[error("must begin with pk_live_ or pk_test_")]
    Prefix,
    /// The rest is not base64 of UTF-8.
    #[error("is not base64 after its prefix: check that it was copied whole")]
    Encoding,
    /// The decoded text does not end with its one `$`.
    #[error("does not decode to a host name followed by one '$': check that it was copied whole")]
    Terminator,
    /// The decoded text is no host name.
    #[error("does not decode to a host name")]
    Host,
}

/// Reads a publishable key.
///
/// # Errors
/// Says which rule it breaks.
pub fn parse(text: &str) -> Result<PublishableKey, PublishableKeyFault> {
    let (environment, encoded) = if let Some(rest) = text.strip_prefix("pk_live_") {
        (Environment::Production, rest)
    } else if let Some(rest) = text.strip_prefix("pk_test_") {
        (Environment::Development, rest)
    } else {
        return Err(PublishableKeyFault::Prefix);
    };
    if encoded.is_empty() {
        return Err(PublishableKeyFault::Encoding);
    }
    let bytes = BASE64.decode(encoded).map_err(|_| PublishableKeyFault::Encoding)?;
    let decoded = String::from_utf8(bytes).map_err(|_| PublishableKeyFault::Encoding)?;
    let host = decoded.strip_suffix('$').ok_or(PublishableKeyFault::Terminator)?;
    if host.contains('$') {
        return Err(PublishableKeyFault::Terminator);
    }
    if !is_host_name(host) {
        return Err(PublishableKeyFault::Host);
    }
    Ok(PublishableKey { environment, host: host.to_owned() })
}

/// Letters, digits and inner hyphens in at least two labels, the last of which is no number (so no IPv4 address).
fn is_host_name(host: &str) -> bool {
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_no_number = host.rsplit('.').next().is_some_and(|label| label.bytes().any(|b| b.is_ascii_lowercase()));
    host.len() <= 253 && host.contains('.') && last_is_no_number && host.split('.').all(label_is_fine)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn of(decoded: &str) -> Result<PublishableKey, PublishableKeyFault> {
        parse(&format!("pk_live_{}", STANDARD.encode(decoded)))
    }

    #[test]
    fn clerks_own_examples() {
        let key = parse("pk_test_ZXhhbXBsZS5hY2NvdW50cy5kZXYk").unwrap();
        assert_eq!(
            (key.environment, key.issuer().as_str()),
            (Environment::Development, "https://example.accounts.dev")
        );
        let key = parse("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k").unwrap();
        assert_eq!((key.environment, key.host.as_str()), (Environment::Production, "clerk.example.com"));
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let padded = format!("pk_live_{}", STANDARD.encode("clerk.example.io$"));
        assert!(padded.ends_with('='));
        assert_eq!(parse(&padded), parse(padded.trim_end_matches('=')));
        assert!(parse(&padded).is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "pk_live", "sk_live_Y2xlcmsuZXhhbXBsZS5jb20k", "pk_prod_Y2xlcmsuZXhhbXBsZS5jb20k"] {
            assert_eq!(parse(text), Err(PublishableKeyFault::Prefix), "{text}");
        }
        for text in ["pk_live_", "pk_live_%%%", "pk_live_a_b", "pk_test_/////w=="] {
            assert_eq!(parse(text), Err(PublishableKeyFault::Encoding), "{text}");
        }
        for text in ["clerk.example.com", "$clerk.example.com", "a.b$c.d$", "$$"] {
            assert_eq!(of(text), Err(PublishableKeyFault::Terminator), "{text}");
        }
        for text in [
            "$",
            "localhost$",
            "evil.com/x$",
            "a@evil.com$",
            "evil.com:99$",
            "evil.com?$",
            "evil.com#$",
            "a b.com$",
            "10.0.0.1$",
            "[::1]$",
            "-a.com$",
            "a-.com$",
            ".com$",
            "a..b$",
            "a.com.$",
            "A.COM$",
            "é.com$",
            "a\n.com$",
        ] {
            assert_eq!(of(text), Err(PublishableKeyFault::Host), "{text}");
        }
    }
}
