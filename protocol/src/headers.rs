//! The header names that Tollgate owns: one list, used to strip and to set. Nothing here knows a value.

/// Every header that begins so is reserved: a client's own is removed on every path.
pub const RESERVED_PREFIX: &str = "x-auth-";

/// The user's id.
pub const USER_ID: &str = "x-auth-user-id";
/// Which kind of credential was used: `api_key`, `clerk` or `legacy`.
pub const METHOD: &str = "x-auth-method";
/// The user's role.
pub const ROLE: &str = "x-auth-role";
/// The user's e-mail address, percent-encoded UTF-8.
pub const EMAIL: &str = "x-auth-email";
/// The user's name, percent-encoded UTF-8.
pub const NAME: &str = "x-auth-name";
/// The user's id at Clerk.
pub const CLERK_ID: &str = "x-auth-clerk-id";
/// The id of the Clerk session.
pub const SESSION_ID: &str = "x-auth-session-id";
/// The id of the API key.
pub const KEY_ID: &str = "x-auth-key-id";
/// What the credential may do, separated by spaces.
pub const SCOPES: &str = "x-auth-scopes";
/// The user's subscription.
pub const SUBSCRIPTION: &str = "x-auth-subscription";
/// How many tokens (credits) the user has left.
pub const TOKENS_REMAINING: &str = "x-auth-tokens-remaining";
/// Clerk user id of the person who acts as this user (claim `act`), when the session is impersonated.
pub const ACTOR: &str = "x-auth-actor";
/// A short-lived signed JWT of the same facts.
pub const ASSERTION: &str = "x-auth-assertion";

/// What the verdict would be on a route that is only watched: `pass`, or the code of a refusal.
pub const SHADOW: &str = "x-auth-shadow";

/// All identity headers, in the order in which they are set.
pub const IDENTITY: &[&str] = &[
    USER_ID,
    METHOD,
    ROLE,
    EMAIL,
    NAME,
    CLERK_ID,
    SESSION_ID,
    KEY_ID,
    SCOPES,
    SUBSCRIPTION,
    TOKENS_REMAINING,
    ACTOR,
    ASSERTION,
];

/// Where an API key arrives first.
pub const API_KEY: &str = "x-api-key";
/// Where bearer credentials arrive.
pub const AUTHORIZATION: &str = "authorization";
/// Where a Clerk session cookie arrives, on routes that accept it.
pub const COOKIE: &str = "cookie";
/// Clerk's session cookie.
pub const SESSION_COOKIE: &str = "__session";
/// Envoy's id of a request.
pub const REQUEST_ID: &str = "x-request-id";

/// Whether a header is reserved, also in the spellings that a backend might map to a reserved one
/// (any case, `_` for `-`; see CGI, RFC 3875 section 4.1.18).
pub fn is_reserved(name: &[u8]) -> bool {
    let prefix = RESERVED_PREFIX.as_bytes();
    name.get(..prefix.len()).is_some_and(|head| {
        head.iter().zip(prefix).all(|(&got, &want)| {
            let got = if got == b'_' { b'-' } else { got.to_ascii_lowercase() };
            got == want
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_in_every_spelling() {
        for name in IDENTITY {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["X-AUTH-USER-ID", "x_auth_user_id", "X-Auth_Role", "x-auth-", "x-auth-anything"] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["x-auth", "x-authorization", "authorization", "", "xx-auth-role"] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }
}
