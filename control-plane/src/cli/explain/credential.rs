//! What a credential is, and what checks it: the steps between the route and the user. Nothing of a credential is shown
//! but what names its key and its issuer.

use serde_json::Value;
use tollgate_core::{
    base64url,
    settings::Compiled,
    verify::{NoNative, Source, VerifiedClaims, VerifyFault, verify},
};
use tollgate_protocol::{
    api_key::{self, Form},
    config::Limits,
    edge::Settings,
    issuer::{Issuer, IssuerKind},
};

use super::{super::fault::CliFault, Steps};
use crate::{
    app::App,
    domain::{KeyStanding, Timestamp},
    service::keys,
};

/// Says what an API key is, and whose.
///
/// # Errors
/// The store fails.
pub(super) async fn api_key(app: &App, settings: &Settings, key: &[u8], steps: &mut Steps) -> Result<(), CliFault> {
    steps.say("credential", "an API key");
    steps.say(
        "form",
        match (api_key::form(key), settings.accept_imported_keys) {
            (Form::Checked, _) => "prefix, length and checksum are right",
            (Form::Unchecked, true) => {
                "without our checksum: perhaps issued elsewhere, and looked up (accept_imported_keys)"
            }
            (Form::Unchecked, false) => {
                "without a right checksum: refused without a look-up (accept_imported_keys is off)"
            }
            (Form::Junk, _) => "cannot be a key: refused without a look-up",
        },
    );
    let Ok(text) = core::str::from_utf8(key) else { return Ok(()) };
    steps.say(
        "key",
        match app.store.key_by_hash(&keys::hash(text)).await? {
            None => "no key has this SHA-256".to_owned(),
            Some((found, _)) => {
                let standing = match (found.standing(app.clock.now()), found.expires_at) {
                    (KeyStanding::Revoked, _) => "revoked".to_owned(),
                    (KeyStanding::Expired, Some(end)) => format!("expired since {}", end.to_text()),
                    (KeyStanding::Expired, None) => "expired".to_owned(),
                    (KeyStanding::Good, Some(end)) => format!("good until {}", end.to_text()),
                    (KeyStanding::Good, None) => "good".to_owned(),
                };
                let scopes: Vec<&str> = found.scopes.iter().map(|scope| scope.as_str()).collect();
                let scopes =
                    if scopes.is_empty() { "no scopes".to_owned() } else { format!("scopes {}", scopes.join(" ")) };
                format!("{} ('{}'), {standing}, {scopes}", found.id.as_str(), found.name)
            }
        },
    );
    Ok(())
}

/// Says what a token is, who would check it, and whether it holds now. Gives its claims where it does.
///
/// # Errors
/// The settings cannot be compiled.
pub(super) fn token(
    settings: &Settings,
    token: &[u8],
    source: Source,
    now: Timestamp,
    steps: &mut Steps,
) -> Result<Option<VerifiedClaims>, CliFault> {
    let carrier = match source {
        Source::Header => "a token in Authorization",
        Source::Cookie => "a token in Clerk's cookie",
    };
    steps.say("credential", carrier);
    let claimed = Claimed::read(token);
    steps.say("says of itself", claimed.sentence());
    steps.say(
        "issuer",
        match claimed.issuer_of(&settings.issuers) {
            Some(issuer) => {
                let names: Vec<String> = issuer
                    .keys
                    .iter()
                    .map(|key| format!("{} {}", key.kid.as_deref().unwrap_or("(no kid)"), key.alg))
                    .collect();
                let keys = if names.is_empty() {
                    "no keys known here (they are fetched by tollgate serve)".to_owned()
                } else {
                    names.join(", ")
                };
                format!("{}, {}: {keys}", kind(issuer), issuer.issuer.as_deref().unwrap_or("without a name"))
            }
            None => {
                let known: Vec<&str> = settings
                    .issuers
                    .iter()
                    .map(|issuer| issuer.issuer.as_deref().unwrap_or("(tokens without iss)"))
                    .collect();
                format!(
                    "none of those that are believed: {}",
                    if known.is_empty() { "there is none".to_owned() } else { known.join(", ") }
                )
            }
        },
    );
    let (compiled, faults) = Compiled::compile(settings).map_err(|fault| CliFault::Refused(fault.to_string()))?;
    for fault in faults {
        steps.say("unusable key", fault.to_string());
    }
    let verified = verify(token, source, &compiled.issuers, now.unix_seconds(), &Limits::default(), &NoNative);
    steps.say(
        "token",
        match &verified {
            Ok(claims) => holds(claims),
            Err(VerifyFault::UnknownKey { .. }) => {
                "refused: it names a key that its issuer does not have (an Envoy asks for newer keys once)".to_owned()
            }
            Err(VerifyFault::Expired) => {
                format!("refused: it expired at {}, now is {}", claimed.moment("exp"), now.to_text())
            }
            Err(VerifyFault::NotYetValid) => {
                format!(
                    "refused: it holds from {} (iat {}), now is {}",
                    claimed.moment("nbf"),
                    claimed.moment("iat"),
                    now.to_text()
                )
            }
            Err(VerifyFault::WrongParty) => {
                format!("refused: azp is {}, accepted: {}", claimed.shown("azp"), parties(&claimed, settings))
            }
            Err(fault) => format!("refused: {fault}"),
        },
    );
    Ok(verified.ok())
}

fn parties(claimed: &Claimed, settings: &Settings) -> String {
    let parties = claimed.issuer_of(&settings.issuers).map(|issuer| issuer.authorized_parties.join(", "));
    parties.filter(|parties| !parties.is_empty()).unwrap_or_else(|| "any".to_owned())
}

fn kind(issuer: &Issuer) -> &'static str {
    match issuer.kind {
        IssuerKind::Clerk => "Clerk",
        IssuerKind::Legacy => "older sign-in",
    }
}

fn holds(claims: &VerifiedClaims) -> String {
    let by = claims.key_id().map(|kid| format!("key {kid}")).unwrap_or_else(|| "a key without a name".to_owned());
    let session = claims.session_id().map(|id| format!(", session {id}")).unwrap_or_default();
    let actor = if claims.is_impersonated() { ", somebody else acts as this user" } else { "" };
    let until = time(claims.expires_at());
    format!("holds, signed with {by}, until {until}: subject {}{session}{actor}", claims.subject())
}

/// A moment in unix seconds.
pub(super) fn time(seconds: u64) -> String {
    Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).to_text()
}

/// Header and payload as sent. Nothing of it is believed: it only shows what a token was meant to be.
struct Claimed {
    header: Value,
    payload: Value,
}

impl Claimed {
    fn read(token: &[u8]) -> Self {
        let text = core::str::from_utf8(token).unwrap_or_default();
        let mut parts = text.split('.').map(|part| {
            let json = base64url(part).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            json.unwrap_or(Value::Null)
        });
        let header = parts.next().unwrap_or(Value::Null);
        Self { header, payload: parts.next().unwrap_or(Value::Null) }
    }

    fn sentence(&self) -> String {
        if !self.header.is_object() || !self.payload.is_object() {
            return "nothing: it is no JSON Web Token".to_owned();
        }
        let word = |name: &str| self.header.get(name).and_then(Value::as_str).unwrap_or("none");
        format!("alg {}, kid {}, iss {}", word("alg"), word("kid"), self.shown("iss"))
    }

    fn shown(&self, claim: &str) -> String {
        self.payload.get(claim).and_then(Value::as_str).unwrap_or("none").to_owned()
    }

    fn moment(&self, claim: &str) -> String {
        let seconds = self.payload.get(claim).and_then(Value::as_f64);
        seconds.and_then(Timestamp::from_number).map_or_else(|| "none".to_owned(), Timestamp::to_text)
    }

    fn issuer_of<'i>(&self, issuers: &'i [Issuer]) -> Option<&'i Issuer> {
        let named = self.payload.get("iss").and_then(Value::as_str);
        issuers.iter().find(|issuer| issuer.issuer.as_deref() == named)
    }
}
