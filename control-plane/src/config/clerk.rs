//! The settings of Clerk's instances. Keys are checked here, so that a faulty one stops the start instead of refusing
//! every user later. It must not fetch a key.

use std::time::Duration;

use tollgate_protocol::issuer::{Jwk, MissingParty};

use super::{
    Secret,
    bind::{Binder, duration},
    settings::{self, Setting},
};
use crate::clerk::{
    public_key,
    publishable_key::{self, Environment},
    svix::SigningSecret,
    url::{ApiUrl, JwksUrl},
};

/// Skew of clocks that is forgiven, in seconds: Clerk's own default.
const LEEWAY_SECONDS: u32 = 5;
/// The settings that each instance has.
const KEYS: [&Setting; 11] = [
    &settings::CLERK_PUBLISHABLE_KEY,
    &settings::CLERK_ISSUER,
    &settings::CLERK_JWKS_URL,
    &settings::CLERK_JWT_KEY,
    &settings::CLERK_AUTHORIZED_PARTIES,
    &settings::CLERK_MISSING_PARTY,
    &settings::CLERK_SECRET_KEY,
    &settings::CLERK_API_URL,
    &settings::CLERK_WEBHOOK_SECRETS,
    &settings::CLERK_JWKS_REFRESH,
    &settings::CLERK_JWKS_MIN_INTERVAL,
];

/// One instance of Clerk.
#[derive(Debug, Clone)]
pub struct ClerkConfig {
    /// Its name, which stands in the path of its webhooks; the first instance has none.
    pub name: String,
    /// Exact claim `iss`.
    pub issuer: String,
    /// Where the keys come from.
    pub keys: ClerkKeys,
    /// Accepted values of `azp`; empty: not checked.
    pub authorized_parties: Vec<String>,
    /// What an absent `azp` means.
    pub missing_party: MissingParty,
    /// Clock skew in seconds.
    pub leeway_seconds: u32,
    /// Clerk's secret key, for its Backend API.
    pub secret_key: Option<Secret>,
    /// Where the Backend API is.
    pub api_url: ApiUrl,
    /// Signing secrets of webhooks; empty: none are taken.
    pub webhook_secrets: Vec<SigningSecret>,
}

/// Where the keys of Clerk come from.
#[derive(Debug, Clone)]
pub enum ClerkKeys {
    /// One key from the settings; the network is not asked.
    Fixed(Jwk),
    /// The issuer's key set.
    Fetched {
        /// Where it is.
        url: JwksUrl,
        /// How often it is fetched, give or take a tenth.
        refresh: Duration,
        /// Least time between two fetches that unknown keys ask for.
        min_interval: Duration,
    },
}

impl ClerkConfig {
    /// An issuer whose keys are fetched from `issuer` + `/.well-known/jwks.json`, with all defaults.
    ///
    /// # Errors
    /// Says why the address may not be fetched from.
    pub fn of_issuer(issuer: &str) -> Result<Self, String> {
        let url = JwksUrl::of_issuer(issuer).map_err(|fault| fault.to_string())?;
        let keys = ClerkKeys::Fetched { url, refresh: Duration::from_secs(300), min_interval: Duration::from_secs(30) };
        Ok(Self {
            name: String::new(),
            issuer: issuer.to_owned(),
            keys,
            authorized_parties: Vec::new(),
            missing_party: MissingParty::default(),
            leeway_seconds: LEEWAY_SECONDS,
            secret_key: None,
            api_url: ApiUrl::parse(settings::CLERK_API_URL.default).map_err(|fault| fault.to_string())?,
            webhook_secrets: Vec::new(),
        })
    }
}

/// Where the settings of one instance come from.
trait Fields {
    fn text(&mut self, setting: &Setting) -> Option<String>;
    fn list(&mut self, setting: &Setting) -> Vec<String>;
    fn value(&mut self, setting: &Setting, problem: String);
    fn missing(&mut self, setting: &Setting, problem: &'static str);

    fn parsed<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.text(setting);
        let text = given.as_deref().unwrap_or(setting.default);
        if text.is_empty() {
            return None;
        }
        parse(text).map_err(|problem| self.value(setting, problem)).ok()
    }
}

impl Fields for Binder<'_> {
    fn text(&mut self, setting: &Setting) -> Option<String> {
        Binder::text(self, setting)
    }

    fn list(&mut self, setting: &Setting) -> Vec<String> {
        Binder::list(self, setting)
    }

    fn value(&mut self, setting: &Setting, problem: String) {
        Binder::value(self, setting, problem);
    }

    fn missing(&mut self, setting: &Setting, problem: &'static str) {
        Binder::missing(self, setting, problem);
    }
}

/// One table of `clerk.instances`.
struct Instance<'t> {
    /// How it is called in a fault.
    label: String,
    table: &'t toml::Table,
    faults: Vec<String>,
}

/// A setting's key without `clerk.`.
fn short(setting: &Setting) -> &'static str {
    setting.key.rsplit('.').next().unwrap_or(setting.key)
}

impl Instance<'_> {
    fn fault(&mut self, key: &str, problem: &str) {
        self.faults.push(format!("{}: {key} {problem}", self.label));
    }
}

impl Fields for Instance<'_> {
    fn text(&mut self, setting: &Setting) -> Option<String> {
        match self.table.get(short(setting))? {
            toml::Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => {
                self.fault(short(setting), "must be a text");
                None
            }
        }
    }

    fn list(&mut self, setting: &Setting) -> Vec<String> {
        let Some(toml::Value::Array(values)) = self.table.get(short(setting)) else {
            let text = self.text(setting).unwrap_or_default();
            return text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        };
        let texts: Option<Vec<String>> = values.iter().map(|value| Some(value.as_str()?.trim().to_owned())).collect();
        texts.unwrap_or_else(|| {
            self.fault(short(setting), "must be an array of texts");
            Vec::new()
        })
    }

    fn value(&mut self, setting: &Setting, problem: String) {
        self.fault(short(setting), &problem);
    }

    fn missing(&mut self, setting: &Setting, problem: &'static str) {
        self.fault(short(setting), &format!("is not set: {problem}"));
    }
}

/// The instance of the plain settings.
pub(super) fn first(from: &mut Binder<'_>) -> Option<ClerkConfig> {
    instance(from)
}

/// The others. No two instances have the same name or the same issuer: users are kept apart by it.
pub(super) fn further(from: &mut Binder<'_>, first: Option<&ClerkConfig>) -> Vec<ClerkConfig> {
    let mut found: Vec<ClerkConfig> = Vec::new();
    let mut faults = Vec::new();
    for (place, table) in from.tables(&settings::CLERK_INSTANCES).iter().enumerate() {
        let name = table.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let label =
            if name.is_empty() { format!("instance {}", place.saturating_add(1)) } else { format!("instance {name}") };
        let mut fields = Instance { label, table, faults: Vec::new() };
        let part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(part) {
            fields.fault("name", "must have 1 to 32 of a-z, 0-9 and -: it stands in the path of the webhooks");
        }
        if found.iter().any(|other| other.name == name) {
            fields.fault("name", "is there already");
        }
        let known = |key: &str| key == "name" || KEYS.iter().any(|setting| short(setting) == key);
        for key in table.keys().filter(|key| !known(key)) {
            fields.fault(key, "means nothing here");
        }
        let read = instance(&mut fields);
        if read.is_none() && fields.faults.is_empty() {
            fields.missing(&settings::CLERK_PUBLISHABLE_KEY, "an instance needs it, or issuer");
        }
        if let Some(clerk) = read {
            if first.into_iter().chain(&found).any(|other| other.issuer == clerk.issuer) {
                fields.fault("issuer", "is the one of another instance");
            }
            found.push(ClerkConfig { name, ..clerk });
        }
        faults.append(&mut fields.faults);
    }
    for fault in faults {
        from.value(&settings::CLERK_INSTANCES, fault);
    }
    found
}

fn instance(from: &mut impl Fields) -> Option<ClerkConfig> {
    let publishable = from.parsed(&settings::CLERK_PUBLISHABLE_KEY, |text| {
        publishable_key::parse(text).map_err(|fault| fault.to_string())
    });
    let named = from.text(&settings::CLERK_ISSUER);
    let issuer = named.or_else(|| publishable.as_ref().map(|key| key.issuer()));
    let jwks_url =
        from.parsed(&settings::CLERK_JWKS_URL, |text| JwksUrl::parse(text).map_err(|fault| fault.to_string()));
    let jwt_key = from
        .parsed(&settings::CLERK_JWT_KEY, |text| public_key::rsa_for_clerk(text).map_err(|fault| fault.to_string()));
    let authorized_parties = from.list(&settings::CLERK_AUTHORIZED_PARTIES);
    let missing_party = from.parsed(&settings::CLERK_MISSING_PARTY, missing_party).unwrap_or_default();
    let refresh = from.parsed(&settings::CLERK_JWKS_REFRESH, duration);
    let min_interval = from.parsed(&settings::CLERK_JWKS_MIN_INTERVAL, duration);
    let secret_key = from.text(&settings::CLERK_SECRET_KEY).map(Secret::new);
    check_secret_key(from, secret_key.as_ref(), publishable.as_ref().map(|key| key.environment));
    let api_url = from.parsed(&settings::CLERK_API_URL, |text| ApiUrl::parse(text).map_err(|fault| fault.to_string()));
    let webhook_secrets = webhook_secrets(from);

    let Some(issuer) = issuer else {
        let needs_issuer =
            jwks_url.is_some() || jwt_key.is_some() || !authorized_parties.is_empty() || !webhook_secrets.is_empty();
        if needs_issuer && from.text(&settings::CLERK_PUBLISHABLE_KEY).is_none() {
            from.missing(&settings::CLERK_PUBLISHABLE_KEY, "other settings of Clerk need it, or clerk.issuer");
        }
        return None;
    };
    let url = match jwks_url {
        Some(url) => Some(url),
        None if jwt_key.is_some() => None,
        None => match JwksUrl::of_issuer(&issuer) {
            Ok(url) => Some(url),
            Err(fault) => {
                from.value(&settings::CLERK_ISSUER, fault.to_string());
                None
            }
        },
    };
    let keys = match (jwt_key, url) {
        (Some(key), _) => ClerkKeys::Fixed(key),
        (None, Some(url)) => ClerkKeys::Fetched { url, refresh: refresh?, min_interval: min_interval? },
        (None, None) => return None,
    };
    Some(ClerkConfig {
        name: String::new(),
        issuer,
        keys,
        authorized_parties,
        missing_party,
        leeway_seconds: LEEWAY_SECONDS,
        secret_key,
        api_url: api_url?,
        webhook_secrets,
    })
}

fn webhook_secrets(from: &mut impl Fields) -> Vec<SigningSecret> {
    let texts = from.list(&settings::CLERK_WEBHOOK_SECRETS);
    let mut secrets = Vec::with_capacity(texts.len());
    for text in texts {
        match SigningSecret::parse(&text) {
            Ok(secret) => secrets.push(secret),
            Err(fault) => from.value(&settings::CLERK_WEBHOOK_SECRETS, fault.to_string()),
        }
    }
    secrets
}

fn check_secret_key(from: &mut impl Fields, secret: Option<&Secret>, publishable: Option<Environment>) {
    let Some(secret) = secret else { return };
    let fault = match secret.expose() {
        text if !text.bytes().all(|b| b.is_ascii_graphic()) => "has characters that no key has",
        text if text.starts_with("sk_live_") && publishable != Some(Environment::Development) => return,
        text if text.starts_with("sk_test_") && publishable != Some(Environment::Production) => return,
        text if text.starts_with("sk_live_") || text.starts_with("sk_test_") => {
            "is of another Clerk instance (live or test) than the publishable key"
        }
        _ => "must begin with sk_live_ or sk_test_",
    };
    from.value(&settings::CLERK_SECRET_KEY, fault.to_owned());
}

fn missing_party(text: &str) -> Result<MissingParty, String> {
    match text {
        "refuse" => Ok(MissingParty::Refuse),
        "accept_from_header" => Ok(MissingParty::AcceptFromHeader),
        "accept" => Ok(MissingParty::Accept),
        _ => Err("must be refuse, accept_from_header or accept".to_owned()),
    }
}
