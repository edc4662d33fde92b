//! The road of a request through the stages, and what is remembered beside it. It calls the stages in their order and
//! owns no rule of its own; it must not know a host, and time comes in with each call.

mod counting;
mod feed;
mod known;
mod paying;
mod refusals;
mod step;
mod subject;

use std::{cell::OnceCell, collections::HashMap, rc::Rc};

use ahash::RandomState;
pub use known::Known;
pub use step::{Answered, Call, Now, Settled, Step, Turn, Until, Wait};
pub use subject::SubjectKey;
use tollgate_protocol::{
    Code, Method, Revoked,
    api_key::{self, Form},
    config::{Fact, Limits, PluginConfig},
    edge::{ResolveAnswer, ResolveRequest},
    policy::{Auth, Mode},
};

use crate::{
    cache::{Bounded, Mark, RevokedSet, Sealer},
    credits::{Place, Wallet},
    decide::{self, Caller},
    extract::{Credential, extract},
    limits::{Exceeded, Limiter, Standing, told},
    policy::{self, Rule},
    refusals::Refusals,
    request::RequestView,
    respond::{self, HeaderPlan, Prepared, Replies, Reply, Verdict},
    settings::Compiled,
    verify::{self, NativeVerifier, Source, VerifiedClaims, VerifyFault},
};

/// All that the engine may ask of the host while it decides.
pub trait World: NativeVerifier {
    /// Reads a slot that all workers of this Envoy share.
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>>;
    /// Writes a slot that all workers of this Envoy share.
    fn shared_set(&self, slot: &str, value: &[u8]);
    /// Reads such a slot with its version for [`Self::shared_swap`].
    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes such a slot if it still has this version, or if there is none. `false`: it is as it was.
    fn shared_swap(&self, slot: &str, value: &[u8], version: u32) -> bool;
    /// The address of the client of the request that is being decided, with or without a port, as the host counts trusted hops.
    fn client_address(&self) -> Option<Vec<u8>>;
}

/// What the host's randomness gives a VM at its start.
#[derive(Clone, Copy)]
pub struct Seeds {
    /// Keys of the hash maps.
    pub hash: [u64; 4],
    /// Makes this VM's nonces its own.
    pub nonce: [u8; 16],
}

impl core::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seeds(…)")
    }
}

/// The decision of one VM, with its memory.
pub struct Engine {
    settings: Option<Rc<Compiled>>,
    tokens: Bounded<u64, Kept>,
    people: known::People,
    revoked: RevokedSet,
    wallet: Wallet,
    refusals: Refusals,
    /// Whose request was decided last, if it is refused.
    about: Option<String>,
    sealer: Sealer,
    limiter: Limiter,
    /// How the request that is being decided stands under limits.
    counted: Vec<Standing>,
    /// The name of this Envoy, once it is needed.
    node: Option<Rc<str>>,
    /// What makes this VM's names its own.
    me: [u8; 16],
    limits: Limits,
    /// What goes into filter state.
    facts: Rc<[Fact]>,
    replies: Replies,
    max_stale_ms: u64,
    heard: Now,
    refreshed: HashMap<String, Now, RandomState>,
    beside: Vec<Call>,
    hasher: RandomState,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// A token whose signature holds, by the hash of its end (see [`Engine::name`]).
#[derive(Debug)]
struct Kept {
    /// The whole of it: what is compared.
    token: Box<[u8]>,
    /// Of the key sets that it was verified under.
    generation: u64,
    was: Was,
}

/// What became of a token.
#[derive(Debug)]
enum Was {
    Verified(Rc<Verified>),
    /// It had expired at this moment, in unix seconds. Clients send such tokens again and again.
    Expired(u64),
}

#[derive(Debug)]
struct Verified {
    claims: VerifiedClaims,
    subject: SubjectKey,
    /// Under which names the token may be revoked: made when something is.
    marks: OnceCell<Vec<Mark>>,
    /// What the backend is told of it.
    told: respond::Kept,
}

/// The names of a token's session, of itself and of its key, each with and without its issuer.
fn marks(claims: &VerifiedClaims) -> Vec<Mark> {
    let names =
        [(Revoked::Session, claims.session_id()), (Revoked::Token, claims.token_id()), (Revoked::Key, claims.key_id())];
    let named = names.into_iter().filter_map(|(what, id)| Some((what, id?)));
    named.flat_map(|(what, id)| [None, claims.issuer()].map(|issuer| Mark::of(what, issuer, id))).collect()
}

/// Why a request is not decided yet, or is refused.
enum Stop {
    Refuse(Code),
    Limited(Exceeded),
    Wait(Wait),
}

/// Where a request stands once its route is known.
#[derive(Clone, Copy)]
struct Crossing<'a> {
    settings: &'a Compiled,
    rule: &'a Rule,
    /// Whose the path says that it is, where that counts.
    owner: Option<&'a [u8]>,
    request: &'a RequestView<'a>,
    turn: Turn<'a>,
    now: Now,
    world: &'a dyn World,
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Self::Refuse(code)
    }
}

/// How many bytes at the end of a token name it: less than any signature has, and more than can be guessed.
const NAMED_BY: usize = 32;
/// About what the claims of a token, and what is told of them, weigh in memory beside the token itself, in bytes.
const CLAIMS_BYTES: usize = 768;
/// How often one VM asks for newer keys of one issuer, in milliseconds.
const REFRESH_EVERY_MS: u64 = 10_000;
/// How long a request waits for newer keys, in milliseconds.
pub const KEYS_HOLD_MS: u64 = 1_500;

impl Engine {
    /// An engine without settings: it lets nothing pass until it has some.
    pub fn new(config: &PluginConfig, seeds: Seeds) -> Self {
        let [a, b, c, d] = seeds.hash;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let sealer = Sealer::new(&config.control_plane.edge_secret, seeds.nonce);
        Self {
            settings: None,
            tokens: Bounded::new(config.cache.tokens, config.cache.token_bytes, hasher.clone()),
            people: known::People::new(&config.cache, &hasher),
            revoked: RevokedSet::new(&hasher),
            limiter: Limiter::new(sealer.shared_hasher(), hasher.clone()),
            counted: Vec::new(),
            wallet: Wallet::new(paying::node(&seeds.nonce), config.credits, &hasher),
            node: None,
            me: seeds.nonce,
            refusals: Refusals::new(seeds.nonce.iter().map(|byte| format!("{byte:02x}")).collect()),
            about: None,
            sealer,
            limits: config.limits,
            facts: config.filter_state.as_slice().into(),
            replies: Replies::new(&config.realm),
            max_stale_ms: u64::from(config.max_stale_seconds).saturating_mul(1000),
            heard: Now(0),
            refreshed: HashMap::with_hasher(hasher.clone()),
            beside: Vec::new(),
            hasher,
        }
    }

    /// Whether there are settings to decide by.
    pub fn is_ready(&self) -> bool {
        self.settings.is_some()
    }

    /// Decides a request, or says what it has to wait for.
    pub fn decide(&mut self, request: &RequestView<'_>, turn: Turn<'_>, now: Now, world: &dyn World) -> Step {
        self.counted.clear();
        self.about = None;
        match self.road(request, turn, now, world) {
            Ok(mut plan) => {
                // What is only watched goes back as it came, too.
                if plan.shadow.is_none() {
                    plan.answer = told(&self.counted);
                }
                Step::Done(Verdict::Forward(plan))
            }
            Err(Stop::Refuse(code)) => Step::Done(self.refused(request, code)),
            Err(Stop::Limited(exceeded)) => Step::Done(self.limited(request, &exceeded)),
            // It has waited long enough, for whatever.
            Err(Stop::Wait(_)) if matches!(turn, Turn::Unpaid) => {
                Step::Done(self.refused(request, Code::IdentityUnavailable))
            }
            Err(Stop::Wait(wait)) => Step::Wait(wait),
        }
    }

    /// What becomes of a request that is refused, also one that has waited in vain: on a route that is only watched it
    /// passes.
    pub fn refused(&self, request: &RequestView<'_>, code: Code) -> Verdict {
        if self.only_watches(request) {
            return Verdict::Forward(HeaderPlan::refused_in_shadow(code, request));
        }
        Verdict::Refuse(self.refusal(request, code))
    }

    fn limited(&self, request: &RequestView<'_>, exceeded: &Exceeded) -> Verdict {
        if self.only_watches(request) {
            return Verdict::Forward(HeaderPlan::refused_in_shadow(Code::RateLimited, request));
        }
        Verdict::Refuse(self.replies.limited(exceeded, request))
    }

    fn only_watches(&self, request: &RequestView<'_>) -> bool {
        let policy = self.settings.as_ref().map(|settings| &settings.policy);
        let mode = policy.map(|policy| policy.mode(request.method, request.authority, request.path));
        mode == Some(Mode::Shadow)
    }

    /// The answer to a request that is refused without being looked at.
    pub fn refusal(&self, request: &RequestView<'_>, code: Code) -> Reply {
        self.replies.refuse(code, request)
    }

    fn road(
        &mut self,
        request: &RequestView<'_>,
        turn: Turn<'_>,
        now: Now,
        world: &dyn World,
    ) -> Result<HeaderPlan, Stop> {
        let Some(settings) = self.settings.clone() else {
            return Err(match turn {
                Turn::Last => Stop::Refuse(Code::NotReady),
                _ => Stop::Wait(Wait { until: Until::Settings, call: None }),
            });
        };
        let path = policy::unambiguous(request.path).map_err(|_| Code::AmbiguousPath)?;
        let met = settings.policy.rule(request.method, request.authority, path).ok_or(Code::RouteDenied)?;
        let rule = met.rule;
        let at = Crossing { settings: &settings, rule, owner: met.owner, request, turn, now, world };
        self.count_address(at)?;
        if rule.auth == Auth::None {
            return self.anonymous(at);
        }
        let found = extract(request, rule.session_cookie).map_err(|fault| fault.code())?;
        match found {
            None if rule.auth == Auth::Optional => self.anonymous(at),
            None => Err(Stop::Refuse(Code::MissingCredential)),
            Some(Credential::ApiKey(key)) => self.by_key(key, at),
            Some(Credential::Token(token, source)) => self.by_token(token, source, at),
        }
    }

    /// The last step of a request without an identity.
    fn anonymous(&mut self, at: Crossing<'_>) -> Result<HeaderPlan, Stop> {
        self.count_caller(None, at)?;
        Ok(HeaderPlan::anonymous(at.rule, at.request))
    }

    /// The last step of all others: decides about a caller, counts, sets aside what the request may cost, and plans what the
    /// backend gets.
    fn permit(
        &mut self,
        caller: Caller<'_>,
        place: &Place,
        told: Prepared<'_>,
        at: Crossing<'_>,
    ) -> Result<HeaderPlan, Stop> {
        let permitted = self.permit_and_pay(caller, place, told, at);
        if matches!(permitted, Err(Stop::Refuse(_) | Stop::Limited(_))) {
            self.about = Some(caller.identity.user_id.clone());
        }
        permitted
    }

    fn permit_and_pay(
        &mut self,
        caller: Caller<'_>,
        place: &Place,
        told: Prepared<'_>,
        at: Crossing<'_>,
    ) -> Result<HeaderPlan, Stop> {
        let permit = decide::decide(caller, at.rule, at.owner, at.now.seconds())?;
        self.count_caller(Some(permit.caller()), at)?;
        let charge = self.pay(permit.caller(), place, at)?;
        let signer = at.settings.assertion.as_ref();
        let mut plan = HeaderPlan::permitted(&permit, told, at.rule, signer, at.request, at.now.seconds());
        plan.charge = charge;
        Ok(plan)
    }

    fn by_key(&mut self, key: &[u8], at: Crossing<'_>) -> Result<HeaderPlan, Stop> {
        match api_key::form(key) {
            Form::Checked => {}
            Form::Unchecked if at.settings.accept_imported_keys => {}
            Form::Unchecked | Form::Junk => return Err(Stop::Refuse(Code::ApiKeyMalformed)),
        }
        decide::accepts(at.rule, Method::ApiKey)?;
        let hash = subject::key_hash(key);
        let known = self.identify(SubjectKey::of_key(&hash), || ResolveRequest::ApiKey { hash }, at)?;
        let (identity, scopes) = (&known.identity, &known.scopes);
        let method = Method::ApiKey;
        let caller = Caller { method, identity, scopes, session_id: None, issued_at: None, actor: None };
        let facts = &*Rc::clone(&self.facts);
        let told = Prepared { person: &known.told, credential: &known.told_of_key, facts };
        self.permit(caller, &known.counted, told, at)
    }

    fn by_token(&mut self, token: &[u8], source: Source, at: Crossing<'_>) -> Result<HeaderPlan, Stop> {
        let verified = self.verified(token, source, at)?;
        let Verified { claims, subject, marks: names, told } = &*verified;
        // Asked at each request: a token in memory may have been revoked since.
        if !self.revoked.is_empty() {
            let names = names.get_or_init(|| marks(claims));
            if self.revoked.refuses(names, claims.issued_at(), at.now.seconds()) {
                return Err(Stop::Refuse(Code::TokenRevoked));
            }
        }
        decide::accepts_token(at.rule, claims.method(), source == Source::Cookie)?;
        let known = self.identify(*subject, || subject::question(claims), at)?;
        let caller = Caller {
            method: claims.method(),
            identity: &known.identity,
            scopes: claims.scopes(),
            session_id: claims.session_id(),
            issued_at: claims.issued_at(),
            actor: claims.actor(),
        };
        let facts = &*Rc::clone(&self.facts);
        self.permit(caller, &known.counted, Prepared { person: &known.told, credential: told, facts }, at)
    }

    /// The claims of a token, from memory where it was verified before under the same key sets. What can change with
    /// time or carrier is asked again at each hit.
    fn verified(&mut self, token: &[u8], source: Source, at: Crossing<'_>) -> Result<Rc<Verified>, Stop> {
        let Crossing { settings, turn, now, world, .. } = at;
        let generation = settings.issuers.generation();
        let name = self.name(token);
        let kept = self.tokens.get(&name).filter(|kept| kept.generation == generation && same(&kept.token, token));
        match kept.map(|kept| &kept.was) {
            Some(Was::Verified(hit)) => {
                let still = hit.claims.check_times(now.seconds()).and_then(|()| hit.claims.allowed_from(source));
                return still.map(|()| Rc::clone(hit)).map_err(|fault| Stop::Refuse(fault.code()));
            }
            // A clock that was set back may make it good again.
            Some(Was::Expired(then)) if *then <= now.seconds() => return Err(Stop::Refuse(Code::TokenExpired)),
            Some(Was::Expired(_)) | None => {}
        }
        let verified = verify::verify(token, source, &settings.issuers, now.seconds(), &self.limits, world);
        let was = match verified {
            Ok(claims) => {
                let subject = SubjectKey::of_claims(&claims);
                let (marks, told) = Default::default();
                Was::Verified(Rc::new(Verified { claims, subject, marks, told }))
            }
            Err(VerifyFault::Expired) => Was::Expired(now.seconds()),
            Err(VerifyFault::UnknownKey { issuer: Some(issuer) }) => return Err(self.newer_keys(&issuer, turn, now)),
            Err(fault) => return Err(Stop::Refuse(fault.code())),
        };
        let outcome = match &was {
            Was::Verified(verified) => Ok(Rc::clone(verified)),
            Was::Expired(_) => Err(Stop::Refuse(Code::TokenExpired)),
        };
        let weight = token.len().saturating_add(CLAIMS_BYTES);
        self.tokens.put(name, Kept { token: token.into(), generation, was }, weight);
        outcome
    }

    /// The name of a token in memory: a keyed hash of its end, which lies in its signature. Only tokens whose signature holds
    /// are kept, and nobody but an issuer can choose the end of one, so two of one name are as rare as chance has it; and
    /// then one of them is verified at each use.
    fn name(&self, token: &[u8]) -> u64 {
        let end = token.last_chunk::<NAMED_BY>().map_or(token, |end| end);
        self.hasher.hash_one(end)
    }

    /// A token names a key that its issuer does not have: perhaps the issuer has a new one. One request asks, those
    /// that come while the answer is due wait for it, all others are refused at once.
    fn newer_keys(&mut self, issuer: &str, turn: Turn<'_>, now: Now) -> Stop {
        let Turn::First = turn else { return Stop::Refuse(Code::TokenUnknownKey) };
        let age = self.refreshed.get(issuer).map(|asked| now.0.saturating_sub(asked.0));
        let call = match age {
            Some(age) if age < KEYS_HOLD_MS => None,
            Some(age) if age < REFRESH_EVERY_MS => return Stop::Refuse(Code::TokenUnknownKey),
            // Only issuers of the settings come here, so this map is as small as they are few.
            _ => {
                self.refreshed.insert(issuer.to_owned(), now);
                Some(Call::Refresh(issuer.to_owned()))
            }
        };
        Stop::Wait(Wait { until: Until::Keys, call })
    }

    fn identify(
        &mut self,
        subject: SubjectKey,
        question: impl FnOnce() -> ResolveRequest,
        Crossing { turn, now, world, .. }: Crossing<'_>,
    ) -> Result<Rc<Known>, Stop> {
        if let Turn::Answered(answered) = turn
            && answered.subject == subject
        {
            return answered.result.clone().map_err(Stop::Refuse);
        }
        if let Turn::Last = turn {
            return Err(Stop::Refuse(Code::IdentityUnavailable));
        }
        let trusted = now.0.saturating_sub(self.heard.0) <= self.max_stale_ms;
        match self.people.find(subject, question, trusted, now, &self.sealer, world) {
            known::Found::Known(known) => Ok(known),
            known::Found::Stale(known, call) => {
                self.beside.push(call);
                Ok(known)
            }
            known::Found::Refused(code) => Err(Stop::Refuse(code)),
            known::Found::Ask(call) => Err(Stop::Wait(Wait { until: Until::Identity(subject), call })),
            known::Found::Busy => Err(Stop::Refuse(Code::IdentityUnavailable)),
        }
    }

    /// Takes in what the control plane said about a subject; `None`: it could not be asked.
    pub fn answered(
        &mut self,
        subject: SubjectKey,
        answer: Option<ResolveAnswer>,
        now: Now,
        world: &dyn World,
    ) -> Settled {
        self.people.answered(subject, answer, now, &mut self.sealer, world)
    }

    /// Calls to make beside the requests: nobody waits for them.
    pub fn take_beside(&mut self) -> Vec<Call> {
        core::mem::take(&mut self.beside)
    }

    /// Numbers of cached tokens and identities, for gauges.
    pub fn cached(&self) -> (usize, usize) {
        (self.tokens.len(), self.people.len())
    }
}

/// Whether two tokens are the same. Eight bytes at a time, where the library of wasm32 compares one.
fn same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let equal = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one) == u64::from_le_bytes(*other);
    one.len() == other.len() && words.iter().zip(others).all(equal) && rest == other_rest
}

#[cfg(test)]
mod tests;
