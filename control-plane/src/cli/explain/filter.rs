//! The filter's engine, fed by hand: settings, revocations and the answer about the person come from this control plane
//! without a wire between. The verdict is the engine's. It must not decide anything itself.

use tollgate_core::{
    engine::{Call, Engine, Now, Seeds, Settled, Step, Turn, Until, World},
    request::RequestView,
    respond::Verdict as Decided,
    settings::Compiled,
    verify::{HashName, NativeVerifier, VerifiedClaims},
};
use tollgate_protocol::{
    Code, Cursor, Revocation, Revoked,
    config::PluginConfig,
    edge::{Change, Settings},
    headers,
};

use super::{super::fault::CliFault, header_names};
use crate::{
    app::App,
    random,
    service::foresee::{Foreseen, foresee},
};

/// What the filter says.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Why it is refused; `None`: it passes.
    pub(super) code: Option<Code>,
    /// Its route is only watched: it passes all the same.
    pub(super) watched: bool,
    /// As whom it passes.
    pub(super) user: Option<String>,
    /// Identity headers that the backend gets.
    pub(super) headers: Vec<String>,
}

impl Verdict {
    /// Whether the request reaches the backend.
    pub(super) const fn allowed(&self) -> bool {
        self.code.is_none() || self.watched
    }

    pub(super) fn sentence(&self) -> String {
        let refused = |code: Code| format!("{} {} ({})", code.status(), code.as_str(), code.detail());
        let watched = if self.watched { ", and its route is only watched" } else { "" };
        match (self.code, &self.user) {
            (Some(code), _) if self.watched => format!("passes, only watched; else refused: {}", refused(code)),
            (Some(code), _) => format!("refused: {}", refused(code)),
            (None, Some(user)) => format!("passes as {user}, with {}{watched}", self.headers.join(", ")),
            (None, None) => format!("passes without an identity{watched}"),
        }
    }
}

/// No workers to share with, no host to verify for us.
struct Alone;

impl NativeVerifier for Alone {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl World for Alone {
    fn shared_get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn shared_set(&self, _: &str, _: &[u8]) {}

    fn shared_read(&self, _: &str) -> Option<(Vec<u8>, u32)> {
        None
    }

    /// Every bucket is full: how often somebody has come only an Envoy knows.
    fn shared_swap(&self, _: &str, _: &[u8], _: u32) -> bool {
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        None
    }
}

/// An engine that knows what an Envoy would.
pub(super) struct Filter {
    engine: Engine,
    now: Now,
    /// What is revoked by name now.
    revocations: Vec<Revocation>,
}

impl Filter {
    /// With the settings, and everything that is revoked now.
    ///
    /// # Errors
    /// The store fails, or the filter refuses the settings.
    pub(super) async fn new(app: &App, settings: &Settings) -> Result<Self, CliFault> {
        let failed = |problem: String| CliFault::Failed(problem);
        let seed = random::seed().map_err(|error| failed(error.to_string()))?;
        let words =
            || seed.chunks_exact(8).map(|part| part.iter().fold(0, |word: u64, byte| (word << 8) | u64::from(*byte)));
        let mut hash = [0; 4];
        hash.iter_mut().zip(words()).for_each(|(place, word)| *place = word);
        // Nothing is sealed for anybody: the secret only has to be one.
        let secret: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let config = serde_json::json!({ "control_plane": { "cluster": "explain", "edge_secret": secret } });
        let config = PluginConfig::from_value(config).map_err(|fault| failed(fault.to_string()))?;
        // No Envoy sets anything aside here: `counts` compares with the ledger instead.
        let mut settings = settings.clone();
        settings.policy.routes.iter_mut().for_each(|route| route.cost = None);
        let (compiled, _) = Compiled::compile(&settings).map_err(|fault| CliFault::Refused(fault.to_string()))?;
        let at = app.clock.now();
        let now = Now(u64::try_from(at.millis()).unwrap_or_default());
        let mut engine = Engine::new(&config, Seeds { hash, nonce: [0; 16] });
        let cursor: Cursor = app.store.head().await?;
        engine.use_settings(compiled);
        engine.heard(now);
        engine.start_at(&cursor);
        let revocations = app.store.revocations(at).await?;
        let revoked = |revocation| Change::Revoked { revocation, seq: cursor.seq };
        let changes: Vec<Change> = revocations.iter().cloned().map(revoked).collect();
        engine.changed(&changes, &cursor, now);
        Ok(Self { engine, now, revocations })
    }

    /// What has been revoked of a token.
    pub(super) fn revoked(&self, claims: &VerifiedClaims) -> Vec<&Revocation> {
        let concerns = |revocation: &&Revocation| {
            let named = match revocation.what {
                Revoked::Session => claims.session_id(),
                Revoked::Token => claims.token_id(),
                Revoked::Key => claims.key_id(),
                Revoked::Unknown => None,
            };
            let by_issuer = revocation.issuer.is_none() || revocation.issuer.as_deref() == claims.issuer();
            by_issuer && named == Some(revocation.id.as_str())
        };
        self.revocations.iter().filter(concerns).collect()
    }

    /// Decides, and says who was found on the way.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn decide(
        &mut self,
        app: &App,
        request: &RequestView<'_>,
    ) -> Result<(Verdict, Option<Foreseen>), CliFault> {
        let (now, mut person) = (self.now, None);
        let mut step = self.engine.decide(request, Turn::First, now, &Alone);
        if let Step::Wait(wait) = step {
            step = match (wait.until, wait.call) {
                (Until::Identity(subject), Some(Call::Resolve(_, question))) => {
                    let foreseen = foresee(app, &question).await?;
                    let answer = Some(foreseen.answer().clone());
                    person = Some(foreseen);
                    match self.engine.answered(subject, answer, now, &Alone) {
                        Settled::Go(answered) => self.engine.decide(request, Turn::Answered(&answered), now, &Alone),
                        Settled::Ask(_) => self.engine.decide(request, Turn::Last, now, &Alone),
                    }
                }
                // Newer keys: there are none here.
                _ => self.engine.decide(request, Turn::Last, now, &Alone),
            };
        }
        Ok((verdict(step), person))
    }
}

fn verdict(step: Step) -> Verdict {
    let refused = |code| Verdict { code: Some(code), watched: false, user: None, headers: Vec::new() };
    match step {
        Step::Done(Decided::Forward(plan)) => {
            let user = plan.header(headers::USER_ID).map(|value| String::from_utf8_lossy(value).into_owned());
            let code = plan.shadow.and_then(Result::err);
            Verdict { code, watched: plan.shadow.is_some(), user, headers: header_names(&plan) }
        }
        Step::Done(Decided::Refuse(reply)) => refused(reply.code),
        Step::Wait(_) => refused(Code::NotReady),
    }
}
