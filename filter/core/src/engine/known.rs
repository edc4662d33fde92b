//! Who is behind a subject: from this VM's memory, from the other workers', or by one question that all requests
//! share. It must not see a header, and must not decide whether anybody may pass.

use std::{collections::HashMap, rc::Rc};

use ahash::RandomState;
use serde::{Deserialize, Serialize};
use tollgate_protocol::{
    Code, Cursor, Identity, KeyHash,
    config::CacheSizes,
    edge::{Outcome, ResolveAnswer, ResolveRequest},
};

use super::{
    World,
    step::{Answered, Call, Now, Settled},
    subject::SubjectKey,
};
use crate::{
    cache::{Bounded, Freshness, Sealer, Touch, slot},
    credits::Place,
    respond::Kept,
};

/// How long an unknown key or user is remembered, in milliseconds.
const REFUSED_MS: u64 = 10_000;
/// How long an outdated feed's identities are served while they are asked for again, in milliseconds.
const STALE_MS: u64 = 30_000;
/// How often an answer that was outdated on arrival is asked for again.
const TRIES: u8 = 3;
/// How many subjects may be asked about at one time.
const MAX_PENDING: usize = 10_000;
/// How many recently changed users and keys are remembered.
const MAX_TOUCHED: usize = 16_384;
/// How many stale identities are asked for again in one second.
const REFRESH_PER_SECOND: u32 = 20;
/// About what an identity weighs in memory, with what is told of it, in bytes.
const IDENTITY_BYTES: usize = 1_024;

/// An identity and how long it holds.
#[derive(Debug)]
pub struct Known {
    pub(super) identity: Identity,
    pub(super) scopes: Box<[Box<str>]>,
    as_of: u64,
    life: u32,
    user: Touch,
    key: Option<Touch>,
    /// Where their requests are counted.
    pub(super) counted: Place,
    /// What the backend is told of the person.
    pub(super) told: Kept,
    /// What it is told of the key, where this is the holder of one.
    pub(super) told_of_key: Kept,
}

/// What a look-up brought.
pub(super) enum Found {
    /// Somebody.
    Known(Rc<Known>),
    /// Somebody, who should be asked about anew beside the request.
    Stale(Rc<Known>, Call),
    /// Nobody, for this reason.
    Refused(Code),
    /// Not known here: the answer has to be waited for, and this call made if there is one.
    Ask(Option<Call>),
    /// Not known here, and too many are being asked about.
    Busy,
}

#[derive(Serialize, Deserialize)]
struct Shared {
    subject: KeyHash,
    as_of: Cursor,
    identity: Identity,
}

struct Pending {
    question: ResolveRequest,
    tries: u8,
}

/// Everybody this VM knows.
pub(super) struct People {
    hasher: RandomState,
    known: Bounded<SubjectKey, Rc<Known>>,
    refused: Bounded<SubjectKey, (Code, u64)>,
    pending: HashMap<SubjectKey, Pending, RandomState>,
    fresh: Freshness,
    epoch: String,
    life: u32,
    stale_until: u64,
    refreshes: (u64, u32),
}

impl People {
    pub(super) fn new(sizes: &CacheSizes, hasher: &RandomState) -> Self {
        let weight = sizes.identities.saturating_mul(IDENTITY_BYTES);
        Self {
            hasher: hasher.clone(),
            known: Bounded::new(sizes.identities, weight, hasher.clone()),
            refused: Bounded::new(sizes.unknown, usize::MAX, hasher.clone()),
            pending: HashMap::with_hasher(hasher.clone()),
            fresh: Freshness::new(MAX_TOUCHED, hasher.clone()),
            epoch: String::new(),
            life: 0,
            stale_until: 0,
            refreshes: (0, 0),
        }
    }

    /// Looks a subject up. `trusted` is false when the control plane has not been heard for too long.
    pub(super) fn find(
        &mut self,
        subject: SubjectKey,
        question: impl FnOnce() -> ResolveRequest,
        trusted: bool,
        now: Now,
        sealer: &Sealer,
        world: &dyn World,
    ) -> Found {
        if trusted {
            if let Some(known) = self.known.get(&subject).cloned().filter(|known| self.holds(known)) {
                if known.life != self.life {
                    return self.stale(subject, known, question, now);
                }
                return Found::Known(known);
            }
            if let Some((code, until)) = self.refused.get(&subject).copied()
                && now.0 < until
            {
                return Found::Refused(code);
            }
            if let Some(known) = self.shared(subject, sealer, world) {
                return Found::Known(known);
            }
        }
        self.ask(subject, question)
    }

    /// An identity from before the feed was lost sight of: served for a while, and asked for again beside it.
    fn stale(
        &mut self,
        subject: SubjectKey,
        known: Rc<Known>,
        question: impl FnOnce() -> ResolveRequest,
        now: Now,
    ) -> Found {
        if now.0 >= self.stale_until {
            self.known.remove(&subject);
            return self.ask(subject, question);
        }
        let (second, asked) = self.refreshes;
        let asked = if second == now.seconds() { asked } else { 0 };
        if asked >= REFRESH_PER_SECOND || self.pending.contains_key(&subject) {
            return Found::Known(known);
        }
        self.refreshes = (now.seconds(), asked.saturating_add(1));
        match self.ask(subject, question) {
            Found::Ask(Some(call)) => Found::Stale(known, call),
            _ => Found::Known(known),
        }
    }

    fn ask(&mut self, subject: SubjectKey, question: impl FnOnce() -> ResolveRequest) -> Found {
        if self.pending.contains_key(&subject) {
            return Found::Ask(None);
        }
        if self.pending.len() >= MAX_PENDING {
            return Found::Busy;
        }
        let question = question();
        self.pending.insert(subject, Pending { question: question.clone(), tries: 1 });
        Found::Ask(Some(Call::Resolve(subject, Box::new(question))))
    }

    fn holds(&self, known: &Known) -> bool {
        // Across a change of feed the numbers cannot be compared; `stale` bounds what is from before it.
        known.life != self.life
            || (self.fresh.holds(known.as_of, known.user)
                && known.key.is_none_or(|key| self.fresh.holds(known.as_of, key)))
    }

    fn shared(&mut self, subject: SubjectKey, sealer: &Sealer, world: &dyn World) -> Option<Rc<Known>> {
        let slot = slot::identity(&subject.0);
        let sealed = world.shared_get(&slot)?;
        let shared: Shared = serde_json::from_slice(&sealer.open(&slot, &sealed)?).ok()?;
        if shared.subject.0 != subject.0 || shared.as_of.epoch != self.epoch {
            return None;
        }
        let known = Rc::new(self.entry(shared.identity, shared.as_of.seq));
        self.holds(&known).then(|| self.keep(subject, known))
    }

    fn entry(&self, mut identity: Identity, as_of: u64) -> Known {
        let scopes = identity.key.as_mut().map(|key| core::mem::take(&mut key.scopes)).unwrap_or_default();
        let user = self.touch_of_user(&identity.user_id);
        let key = identity.key.as_ref().map(|key| self.touch_of_key(&key.hash));
        let scopes = scopes.into_iter().map(String::into_boxed_str).collect();
        Known {
            identity,
            scopes,
            as_of,
            life: self.life,
            user,
            key,
            counted: Place::default(),
            told: Kept::default(),
            told_of_key: Kept::default(),
        }
    }

    fn keep(&mut self, subject: SubjectKey, known: Rc<Known>) -> Rc<Known> {
        self.known.put(subject, Rc::clone(&known), IDENTITY_BYTES);
        known
    }

    fn touch_of_user(&self, id: &str) -> Touch {
        Touch(self.hasher.hash_one(("user", id)))
    }

    fn touch_of_key(&self, hash: &KeyHash) -> Touch {
        Touch(self.hasher.hash_one(("key", hash.0)))
    }

    /// Takes in what the control plane said about a subject; `None`: it could not be asked.
    pub(super) fn answered(
        &mut self,
        subject: SubjectKey,
        answer: Option<ResolveAnswer>,
        now: Now,
        sealer: &mut Sealer,
        world: &dyn World,
    ) -> Settled {
        let result = match (answer, self.pending.remove(&subject)) {
            (None, _) => {
                // Nobody can be asked: what is stale is served on, until the control plane was not heard for too long.
                self.stale_until = self.stale_until.max(now.0.saturating_add(STALE_MS));
                Err(Code::IdentityUnavailable)
            }
            (Some(ResolveAnswer { outcome: Outcome::Refused(code), .. }), _) => {
                self.known.remove(&subject);
                self.refused.put(subject, (code, now.0.saturating_add(REFUSED_MS)), 0);
                Err(code)
            }
            (Some(ResolveAnswer { outcome: Outcome::Identity(identity), as_of }), pending) => {
                match self.take_in(subject, identity, as_of, sealer, world) {
                    Some(known) => Ok(known),
                    None => match pending {
                        Some(Pending { question, tries }) if tries < TRIES => {
                            let again = Pending { question: question.clone(), tries: tries.saturating_add(1) };
                            self.pending.insert(subject, again);
                            return Settled::Ask(Call::Resolve(subject, Box::new(question)));
                        }
                        _ => Err(Code::IdentityUnavailable),
                    },
                }
            }
        };
        Settled::Go(Answered { subject, result })
    }

    /// Keeps an identity here and for the other workers. `None`: a later change has outdated it already.
    fn take_in(
        &mut self,
        subject: SubjectKey,
        identity: Identity,
        as_of: Cursor,
        sealer: &mut Sealer,
        world: &dyn World,
    ) -> Option<Rc<Known>> {
        let seq = as_of.seq;
        if as_of.epoch != self.epoch {
            // Another feed than the one this VM follows so far: good for the requests that wait, not for keeping.
            return Some(Rc::new(self.entry(identity, seq)));
        }
        let shared = Shared { subject: KeyHash(subject.0), as_of, identity };
        let plain = serde_json::to_vec(&shared).unwrap_or_default();
        let known = Rc::new(self.entry(shared.identity, seq));
        if !self.holds(&known) {
            return None;
        }
        let slot = slot::identity(&subject.0);
        if let Some(sealed) = sealer.seal(&slot, &plain) {
            world.shared_set(&slot, &sealed);
        }
        self.refused.remove(&subject);
        Some(self.keep(subject, known))
    }

    pub(super) fn user_changed(&mut self, id: &str, seq: u64) {
        let touch = self.touch_of_user(id);
        self.fresh.touch(touch, seq);
    }

    pub(super) fn key_changed(&mut self, hash: &KeyHash, seq: u64, refused: Option<Code>, now: Now) {
        let touch = self.touch_of_key(hash);
        self.fresh.touch(touch, seq);
        let subject = SubjectKey::of_key(hash);
        self.known.remove(&subject);
        self.refused.remove(&subject);
        if let Some(code) = refused {
            self.refused.put(subject, (code, now.0.saturating_add(REFUSED_MS)), 0);
        }
    }

    /// The feed goes on at this place, with nothing missed before it.
    pub(super) fn follow(&mut self, cursor: &Cursor) {
        if self.epoch != cursor.epoch {
            self.epoch.clone_from(&cursor.epoch);
            self.fresh.restart(0);
        }
    }

    /// The feed goes on at this place, and something before it may have been missed.
    pub(super) fn lost(&mut self, cursor: &Cursor, now: Now) {
        self.life = self.life.wrapping_add(1);
        self.stale_until = now.0.saturating_add(STALE_MS);
        self.epoch.clone_from(&cursor.epoch);
        self.fresh.restart(cursor.seq);
        self.refused.clear();
    }

    /// A VM that starts in the middle of the feed can judge only what is not older than this place.
    pub(super) fn start_at(&mut self, cursor: &Cursor) {
        self.follow(cursor);
        self.fresh.start_at(cursor.seq);
    }

    /// Forgets everybody.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.refused.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
