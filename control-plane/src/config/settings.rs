//! The one list of settings: key in the file, name in the environment, default, meaning. `tollgate serve --help` prints
//! it. It must not know how a value is parsed.

/// One setting, as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Dotted key in the settings file.
    pub key: &'static str,
    /// Name in the environment, which goes over the file.
    pub env: &'static str,
    /// What holds where it is not set; empty: nothing.
    pub default: &'static str,
    /// What it is, with its unit and form.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($name:ident = $key:literal, $env:literal, $default:literal, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: Setting = Setting { key: $key, env: $env, default: $default, meaning: $meaning };)+

        /// Every setting there is.
        pub const ALL: &[Setting] = &[$($name,)+];
    };
}

settings! {
    STORE = "store", "TOLLGATE_STORE", "sqlite://tollgate.db", "Where users, keys and the feed are kept: sqlite://PATH, mongodb://HOST/DB or mongodb+srv://HOST/DB.";
    API_LISTEN = "api_listen", "TOLLGATE_API_LISTEN", "127.0.0.1:8080", "Address of the public API, which Envoy reaches.";
    EDGE_LISTEN = "edge_listen", "TOLLGATE_EDGE_LISTEN", "127.0.0.1:8081", "Address of the edge API, health and metrics. Never public.";
    EDGE_SECRET = "edge_secret", "TOLLGATE_EDGE_SECRET", "", "Secret shared with every Envoy: at least 16 printable ASCII characters without spaces.";
    TLS_CERTIFICATE = "tls.certificate", "TOLLGATE_TLS_CERTIFICATE", "", "PEM file with the certificate of both listeners (and those between it and its authority): they speak TLS instead of plain HTTP. Watched for changes.";
    TLS_KEY = "tls.key", "TOLLGATE_TLS_KEY", "", "PEM file with the certificate's private key.";
    TLS_CLIENT_CA = "tls.client_ca", "TOLLGATE_TLS_CLIENT_CA", "", "PEM file with the authorities of Envoys' certificates: without one, a client gets nothing but health and metrics.";
    REDIS_URL = "redis.url", "TOLLGATE_REDIS_URL", "", "Redis that several control planes share, where there is one: redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT/DB.";
    REDIS_TIMEOUT = "redis.timeout", "TOLLGATE_REDIS_TIMEOUT", "25ms", "How long a request waits for an answer of Redis before it goes on without.";
    REDIS_IDENTITIES_FOR = "redis.identities_for", "TOLLGATE_REDIS_IDENTITIES_FOR", "60s", "How long an identity that lies in Redis may be used; a change ends it at once.";
    ACCEPT_IMPORTED_KEYS = "accept_imported_keys", "TOLLGATE_ACCEPT_IMPORTED_KEYS", "false", "Whether API keys issued before Tollgate (no checksum) are looked up: true or false.";
    POLICY_FILE = "policy_file", "TOLLGATE_POLICY_FILE", "", "TOML file with the rules for routes, watched for changes. Without it, the rules that the store keeps hold (tollgate policy put).";
    OTLP_ENDPOINT = "otlp.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "", "OpenTelemetry collector that traces are sent to by OTLP over HTTP: http://HOST:4318.";
    LOG_FORMAT = "log.format", "TOLLGATE_LOG_FORMAT", "text", "Form of the log: text or json.";
    LOG_FILTER = "log.filter", "TOLLGATE_LOG_FILTER", "info", "What is logged, as tracing directives: info, or info,tollgate=debug.";
    CLERK_PUBLISHABLE_KEY = "clerk.publishable_key", "CLERK_PUBLISHABLE_KEY", "", "Clerk's publishable key (pk_live_… or pk_test_…): names the issuer.";
    CLERK_ISSUER = "clerk.issuer", "CLERK_ISSUER", "", "Exact claim iss of Clerk's tokens, where the one of the publishable key does not fit.";
    CLERK_JWKS_URL = "clerk.jwks_url", "CLERK_JWKS_URL", "", "Where Clerk's key set is fetched; default: issuer + /.well-known/jwks.json.";
    CLERK_JWT_KEY = "clerk.jwt_key", "CLERK_JWT_KEY", "", "Clerk's public key as PEM: used instead of a key set from the network.";
    CLERK_AUTHORIZED_PARTIES = "clerk.authorized_parties", "CLERK_AUTHORIZED_PARTIES", "", "Accepted values of the claim azp (origins of the web app), separated by commas; empty: not checked.";
    CLERK_MISSING_PARTY = "clerk.missing_party", "CLERK_MISSING_PARTY", "refuse", "What an absent azp means: refuse, accept_from_header or accept.";
    CLERK_SECRET_KEY = "clerk.secret_key", "CLERK_SECRET_KEY", "", "Clerk's secret key (sk_live_… or sk_test_…): new users whose tokens say no e-mail address are looked up with it.";
    CLERK_API_URL = "clerk.api_url", "CLERK_API_URL", "https://api.clerk.com", "Address of Clerk's Backend API.";
    CLERK_WEBHOOK_SECRETS = "clerk.webhook_secrets", "CLERK_WEBHOOK_SIGNING_SECRET", "", "Signing secrets (whsec_…) of the endpoint POST /webhooks/clerk, separated by commas; without one there is no such path.";
    CLERK_INSTANCES = "clerk.instances", "TOLLGATE_CLERK_INSTANCES", "", "Further instances: tables [[clerk.instances]] with a name and the other keys of clerk; webhooks come to /webhooks/clerk/NAME. In the environment an array of inline tables of TOML.";
    CLERK_JWKS_REFRESH = "clerk.jwks_refresh", "CLERK_JWKS_REFRESH", "5m", "How often the key set is fetched, give or take a tenth: 5m, 30s, 200ms.";
    CLERK_JWKS_MIN_INTERVAL = "clerk.jwks_min_interval", "CLERK_JWKS_MIN_INTERVAL", "30s", "Least time between two fetches that tokens with an unknown key ask for.";
    CREDITS_REFILL_FREE = "credits.refill_free", "TOLLGATE_CREDITS_REFILL_FREE", "0", "Tokens to which the balance of a free user is topped up at the start of each billing month; 0: never.";
    CREDITS_REFILL_PRO = "credits.refill_pro", "TOLLGATE_CREDITS_REFILL_PRO", "0", "The same for pro.";
    CREDITS_REFILL_ENTERPRISE = "credits.refill_enterprise", "TOLLGATE_CREDITS_REFILL_ENTERPRISE", "0", "The same for enterprise.";
    LEGACY_SECRET = "legacy.secret", "LEGACY_JWT_SECRET", "", "Shared secret of the older sign-in's HS256/384/512 tokens.";
    LEGACY_PUBLIC_KEY = "legacy.public_key", "LEGACY_JWT_PUBLIC_KEY", "", "Public key of the older sign-in, as PEM or as a JWK set, where its tokens are not HS*.";
    LEGACY_ALGORITHM = "legacy.algorithm", "LEGACY_JWT_ALGORITHM", "HS256", "The one algorithm of the older sign-in's tokens.";
    LEGACY_ISSUER = "legacy.issuer", "LEGACY_JWT_ISSUER", "", "Exact claim iss of the older sign-in's tokens; without it they must have none.";
    LEGACY_AUDIENCE = "legacy.audience", "LEGACY_JWT_AUDIENCE", "", "Values of aud of which a legacy token needs one, separated by commas; empty: not checked.";
    LEGACY_SIGNING = "legacy.signing", "LEGACY_JWT_SIGNING", "", "Who signs the tokens of POST /auth/login: secret (legacy.secret), own_key (an Ed25519 key made and published here) or off; not set: secret where there is one.";
    ACCESS_LIFETIME = "sign_in.access_lifetime", "TOLLGATE_ACCESS_LIFETIME", "15m", "Lifetime of an access token of the older sign-in: 90s, 15m, 12h.";
    REFRESH_LIFETIME = "sign_in.refresh_lifetime", "TOLLGATE_REFRESH_LIFETIME", "30d", "Lifetime of a refresh token that is not used: 12h, 30d.";
    PASSWORD_MEMORY = "sign_in.password_memory_kib", "TOLLGATE_PASSWORD_MEMORY_KIB", "19456", "Memory of Argon2id for each password in KiB; RFC 9106 recommends 65536 (with 3 passes, 4 lanes) where there is enough of it.";
    PASSWORD_PASSES = "sign_in.password_passes", "TOLLGATE_PASSWORD_PASSES", "2", "Passes of Argon2id.";
    PASSWORD_LANES = "sign_in.password_lanes", "TOLLGATE_PASSWORD_LANES", "1", "Lanes of Argon2id.";
    PASSWORD_SLOTS = "sign_in.password_slots", "TOLLGATE_PASSWORD_SLOTS", "2", "How many passwords are looked at in one moment; others wait.";
    ACCOUNT_ATTEMPTS = "sign_in.account_attempts", "TOLLGATE_ACCOUNT_ATTEMPTS", "20/15m", "How many logins of one account may fail, and in which time; ten times as many may be good.";
    ADDRESS_ATTEMPTS = "sign_in.address_attempts", "TOLLGATE_ADDRESS_ATTEMPTS", "200/15m", "How many logins from one address may fail, and in which time.";
    TRUSTED_HOPS = "trusted_hops", "TOLLGATE_TRUSTED_HOPS", "1", "How many proxies of yours append to x-forwarded-for before the control plane: Envoy alone is 1.";
}

/// Words in a key that say that its value is a secret. Whoever adds a secret of another name adds its word here.
const SECRET_WORDS: &[&str] = &["secret", "token", "headers", "private", "instances"];

impl Setting {
    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        SECRET_WORDS.iter().any(|word| self.key.contains(word))
    }
}

/// The environment variable that names the settings file.
pub const CONFIG_FILE_ENV: &str = "TOLLGATE_CONFIG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_keys() {
        for setting in [EDGE_SECRET, CLERK_SECRET_KEY, CLERK_WEBHOOK_SECRETS, CLERK_INSTANCES, LEGACY_SECRET] {
            assert!(setting.is_secret(), "{}", setting.key);
        }
        for setting in ALL {
            // What calls itself a secret is one, or says whose it is: `legacy.signing`, and public keys.
            let meaning = setting.meaning.to_ascii_lowercase();
            let says_so =
                meaning.starts_with("secret") || meaning.contains("secret key") || meaning.contains("shared secret of");
            assert!(setting.is_secret() || !says_so, "{}: {}", setting.key, setting.meaning);
        }
    }

    #[test]
    fn every_key_and_name_is_there_once() {
        for (place, one) in ALL.iter().enumerate() {
            for other in &ALL[place + 1..] {
                assert!(one.key != other.key && one.env != other.env, "{} / {}", one.key, other.key);
            }
            assert!(one.meaning.ends_with('.'), "{}", one.key);
        }
    }
}
