//! Where a key set or a user may be fetched from: https, or plain http on this very machine. It must not fetch.

use std::net::IpAddr;

/// An address that keys may be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl(reqwest::Url);

/// Why keys are not fetched from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksUrlFault {
    /// No absolute URL.
    #[error("must be an absolute URL, such as https://clerk.example.com")]
    Form,
    /// `http` to another machine, or another scheme.
    #[error("must be https (plain http only on this machine): whoever is between could put in a key of his own")]
    Scheme,
    /// With user, password, query or fragment.
    #[error("must not have a user, a password, a query or a fragment")]
    Parts,
}

impl JwksUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, JwksUrlFault> {
        let url = reqwest::Url::parse(text).map_err(|_| JwksUrlFault::Form)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(JwksUrlFault::Form)?;
        let allowed = match url.scheme() {
            "https" => true,
            "http" => is_loopback(host),
            _ => false,
        };
        if !allowed {
            return Err(JwksUrlFault::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(JwksUrlFault::Parts);
        }
        Ok(Self(url))
    }

    /// The usual place of an issuer's key set.
    ///
    /// # Errors
    /// Says which rule the issuer breaks.
    pub fn of_issuer(issuer: &str) -> Result<Self, JwksUrlFault> {
        Self::parse(issuer)?;
        Self::parse(&format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')))
    }

    pub(super) fn url(&self) -> reqwest::Url {
        self.0.clone()
    }
}

/// The address of Clerk's Backend API. The same rules hold: a secret key is sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl(reqwest::Url);

impl ApiUrl {
    /// Reads an address, such as `https://api.clerk.com`.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, JwksUrlFault> {
        let JwksUrl(url) = JwksUrl::parse(text)?;
        Ok(Self(url))
    }

    /// Where a user is. `id` is one of [`super::user::is_id`].
    pub(super) fn user(&self, id: &str) -> reqwest::Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/v1/users/{id}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl core::fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_at_home() {
        for text in ["https://clerk.example.com/x", "http://127.0.0.1:8091/x", "http://localhost/x", "http://[::1]:1/x"]
        {
            assert!(JwksUrl::parse(text).is_ok(), "{text}");
        }
        for (text, fault) in [
            ("", JwksUrlFault::Form),
            ("clerk.example.com", JwksUrlFault::Form),
            ("http://clerk.example.com/", JwksUrlFault::Scheme),
            ("http://127.0.0.1.example.com/", JwksUrlFault::Scheme),
            ("http://localhost.example.com/", JwksUrlFault::Scheme),
            ("ftp://127.0.0.1/", JwksUrlFault::Scheme),
            ("https://a:b@example.com/", JwksUrlFault::Parts),
            ("https://example.com/?x=1", JwksUrlFault::Parts),
        ] {
            assert_eq!(JwksUrl::parse(text), Err(fault), "{text}");
        }
        for (base, whole) in [
            ("https://api.clerk.com", "https://api.clerk.com/v1/users/user_1"),
            ("http://127.0.0.1:1/x/", "http://127.0.0.1:1/x/v1/users/user_1"),
        ] {
            assert_eq!(ApiUrl::parse(base).unwrap().user("user_1").as_str(), whole);
        }
        assert_eq!(ApiUrl::parse("http://api.clerk.com"), Err(JwksUrlFault::Scheme));
        let url = JwksUrl::of_issuer("https://clerk.example.com").unwrap();
        assert_eq!(url.to_string(), "https://clerk.example.com/.well-known/jwks.json");
    }
}
