//! The Redis that replicas share, where there is one: its address, told without what it holds. It must not connect.

use std::time::Duration;

use super::{
    Secret,
    bind::{Binder, duration},
    settings,
};

/// What is known of the Redis that replicas share.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Where it is.
    pub url: RedisUrl,
    /// How long a request waits for an answer of it before it goes on without.
    pub timeout: Duration,
    /// How long an identity that lies there may be used.
    pub identities_for: Duration,
}

impl RedisConfig {
    /// The usual, at this address.
    pub const fn new(url: RedisUrl) -> Self {
        Self { url, timeout: Duration::from_millis(25), identities_for: Duration::from_secs(60) }
    }
}

/// A `redis://` or `rediss://` (TLS) address. It may hold a password: only scheme and host are ever shown.
#[derive(Clone)]
pub struct RedisUrl {
    url: Secret,
    shown: String,
}

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong, for the operator; never a part of what was given before its `@`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schemes = ["redis://", "rediss://"];
        let problem = "must be redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT/DB";
        let (scheme, rest) =
            schemes.iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?))).ok_or(problem)?;
        if rest.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("takes no options; '?', '#' and '/' in a password are written %3F, %23 and %2F".to_owned());
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.is_empty() || host.starts_with(':') {
            return Err(format!("names no host: {problem}"));
        }
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err("the database after the '/' is a number".to_owned());
        }
        Ok(Self { url: Secret::new(text), shown: format!("{scheme}{host}") })
    }

    /// The whole address, with its password: only for the driver.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }
}

/// Scheme and host, without user and password.
impl core::fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl core::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// Reads the settings.
pub(super) fn redis(from: &mut Binder<'_>) -> Option<RedisConfig> {
    let url = from.parsed(&settings::REDIS_URL, RedisUrl::parse);
    let timeout = from.parsed(&settings::REDIS_TIMEOUT, duration);
    let identities_for = from.parsed(&settings::REDIS_IDENTITIES_FOR, duration);
    Some(RedisConfig { url: url?, timeout: timeout?, identities_for: identities_for? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_scheme_and_host_only() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:hunter2@cache.test/3", "redis://cache.test"),
            ("rediss://tollgate:hunter2%40@cache.test:6380/0", "rediss://cache.test:6380"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.expose()), (shown, text));
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (bad, said) in [
            ("http://u:hunter2@a.test", "must be redis://"),
            ("redis://u:hunter2@", "names no host"),
            ("redis://:hunter2@:6379", "names no host"),
            ("redis://u:hunter2@a.test/people", "is a number"),
            ("redis://u:hunter2?@a.test", "takes no options"),
            ("redis://u:hunter2 @a.test", "takes no options"),
        ] {
            let fault = RedisUrl::parse(bad).unwrap_err();
            assert!(fault.contains(said) && !fault.contains("hunter2"), "{bad}: {fault}");
        }
    }
}
