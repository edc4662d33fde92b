//! Whom a request counts for, under which limits. It must not know how buckets are kept.

use std::rc::Rc;

use tollgate_protocol::{
    Method,
    limits::LimitsAnswer,
    policy::{By, Scope},
};

use super::{Call, Crossing, Engine, Now, Stop, Turn, World};
use crate::{
    cache::slot,
    decide::Caller,
    limits::{ABSENT, Exceeded, Limit, Pace, Subject, Tells, Want, client},
};

/// The name of the limit that an API key brings itself: one that no limit of a policy can have.
const KEY_OF_ITS_OWN: &str = "api key";

impl Engine {
    /// Counts a request for its client's address, before anything it says about itself is believed. Once: a request that has
    /// waited was counted when it came.
    pub(super) fn count_address(&mut self, at: Crossing<'_>) -> Result<(), Stop> {
        if at.rule.address_limits.is_empty() || !matches!(at.turn, Turn::First) {
            return Ok(());
        }
        let address = at.world.client_address().unwrap_or_default();
        let subject = Subject::Address(client(&address));
        let wanted = at.rule.address_limits.iter().map(|limit| want(limit, subject, None)).collect::<Vec<_>>();
        self.count(&wanted, at)
    }

    /// Counts a request that may pass; `None`: it passes without an identity.
    pub(super) fn count_caller(&mut self, caller: Option<&Caller<'_>>, at: Crossing<'_>) -> Result<(), Stop> {
        // Who waits for tokens was counted before.
        if matches!(at.turn, Turn::Paying | Turn::Unpaid) {
            return Ok(());
        }
        let key = caller.and_then(|caller| caller.identity.key.as_ref().filter(|_| caller.method == Method::ApiKey));
        let own = key.and_then(|key| Some((key.id.as_str(), key.rate?)));
        if at.rule.limits.is_empty() && own.is_none() {
            return Ok(());
        }
        let subscription = caller.and_then(|caller| caller.identity.subscription.as_deref());
        let user = caller.map(|caller| Subject::User(&caller.identity.user_id));
        let mut wanted = Vec::with_capacity(at.rule.limits.len().saturating_add(1));
        for limit in &at.rule.limits {
            let subject = match limit.by {
                By::User => user,
                By::Key => key.map(|key| Subject::Key(&key.id)).or(user),
                By::Endpoint => Some(Subject::Endpoint(&at.rule.endpoint)),
                // Counted when the request came.
                By::Address => None,
            };
            wanted.extend(subject.map(|subject| want(limit, subject, subscription)));
        }
        if let Some((id, rate)) = own {
            let (subject, pace) = (Subject::Key(id), Pace::at_most(rate));
            wanted.push(Want { limit: KEY_OF_ITS_OWN, scope: Scope::Envoy, subject, pace, tells: Tells::ALL });
        }
        self.count(&wanted, at)
    }

    fn count(&mut self, wanted: &[Want<'_>], at: Crossing<'_>) -> Result<(), Stop> {
        let counted = match self.limiter.pass(wanted, at.now.into(), &self.sealer, at.world) {
            Ok(standings) => {
                self.counted.extend(standings);
                Ok(())
            }
            Err(Exceeded { mut standings }) => {
                standings.append(&mut self.counted);
                Err(Stop::Limited(Exceeded { standings }))
            }
        };
        if wanted.iter().any(|want| want.scope == Scope::Global) {
            self.report_limits(at.now, at.world);
        }
        counted
    }

    /// Tells the control plane, beside the requests, what was used of limits over all Envoys.
    fn report_limits(&mut self, now: Now, world: &dyn World) {
        let counts = self.settings.as_ref().is_some_and(|settings| settings.policy.counts_globally());
        if !counts {
            return;
        }
        let node = self.node(world);
        if let Some(report) = self.limiter.report(&node, counts, now.into()) {
            self.beside.push(Call::Limits(report));
        }
    }

    /// Takes in what the control plane says to such a report; `None`: nothing.
    pub fn limits_answered(&mut self, answer: Option<LimitsAnswer>, now: Now, world: &dyn World) {
        self.limiter.answered(answer, now.into(), &self.sealer, world);
    }

    /// The name of this Envoy: the first worker that needs one gives it, and all others find it.
    fn node(&mut self, world: &dyn World) -> Rc<str> {
        if let Some(node) = &self.node {
            return Rc::clone(node);
        }
        let node = self.shared_node(world).unwrap_or_else(|| {
            let own = self.me.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let is_given = self
                .sealer
                .seal(slot::NODE, own.as_bytes())
                .is_some_and(|sealed| world.shared_swap(slot::NODE, &sealed, ABSENT));
            let other = if is_given { None } else { self.shared_node(world) };
            other.unwrap_or_else(|| own.into())
        });
        self.node = Some(Rc::clone(&node));
        node
    }

    fn shared_node(&self, world: &dyn World) -> Option<Rc<str>> {
        let (sealed, _) = world.shared_read(slot::NODE)?;
        let plain = self.sealer.open(slot::NODE, &sealed)?;
        core::str::from_utf8(&plain).ok().map(Into::into)
    }

    /// Time passes: what was counted in advance and is not used goes back to the other workers. May leave calls to make
    /// ([`Self::take_beside`]).
    pub fn tick(&mut self, now: Now, world: &dyn World) {
        self.limiter.give_back(now.into(), &self.sealer, world);
        self.report_limits(now, world);
    }
}

fn want<'a>(limit: &'a Limit, subject: Subject<'a>, subscription: Option<&str>) -> Want<'a> {
    Want { limit: &limit.name, scope: limit.scope, subject, pace: limit.pace(subscription), tells: limit.tells }
}
