//! All purses of one worker, and its messages to the control plane: one about leases at a time, and one batch of use. It
//! must not know how they are sent; that they are sent again until they are answered is decided here.

use std::{collections::HashMap, rc::Rc};

use ahash::RandomState;
use tollgate_protocol::{
    config::Credits,
    credits::{LeaseAnswer, LeaseRequest, LeaseTake, MAX_LEASES, UsageAnswer, UsageReport},
    policy::Cost,
};

use super::{
    meter::{Charge, Meter},
    purse::{Ask, Purse, Terms, Told},
    report::{Place, Reports},
};

/// How long a request waits for tokens that others hold, in milliseconds. With the tick that ends it, a second.
pub const HOLD_MS: u64 = 900;
/// Most users of whom one worker holds something.
const MOST_PURSES: usize = 20_000;
/// How long a message about leases that was not answered waits until it is sent again, in milliseconds.
const RETRY_MS: u64 = 100;

/// What became of a wish to set tokens aside.
#[derive(Debug, PartialEq, Eq)]
pub enum Reserved {
    /// They are.
    Held(Box<Charge>),
    /// Perhaps they come: there is news with the next answer about this user.
    Wait(Rc<str>),
    /// Nothing is left.
    Exhausted,
    /// The control plane does not answer, or too many are asked for.
    Unavailable,
}

/// A message about leases that has not been answered.
#[derive(Debug)]
struct Call {
    request: LeaseRequest,
    asks: Vec<(Rc<str>, Ask)>,
    sent: u64,
    is_under_way: bool,
    again_at: u64,
}

/// Everything that one worker holds. Times are milliseconds of unix time.
#[derive(Debug)]
pub struct Wallet {
    node: String,
    terms: Terms,
    purses: HashMap<Rc<str>, Purse, RandomState>,
    /// Whose purses have something to say at once.
    asking: Vec<Rc<str>>,
    call: Option<Call>,
    wishes: u64,
    reports: Reports,
}

impl Wallet {
    /// An empty one. `node` names this life of this worker for the control plane.
    pub fn new(node: String, settings: Credits, hasher: &RandomState) -> Self {
        Self {
            terms: Terms { seconds: settings.lease_seconds },
            purses: HashMap::with_hasher(hasher.clone()),
            asking: Vec::new(),
            call: None,
            wishes: 0,
            reports: Reports::new(node.clone(), u64::from(settings.report_ms), hasher.clone()),
            node,
        }
    }

    /// Sets aside what a request may cost. `is_last`: it has waited long enough.
    pub fn reserve(&mut self, user: &str, key: Option<&str>, cost: &Rc<Cost>, is_last: bool, now: u64) -> Reserved {
        let name: Rc<str> = match self.purses.get_key_value(user) {
            Some((name, _)) => Rc::clone(name),
            None if self.purses.len() >= MOST_PURSES => return Reserved::Unavailable,
            None => user.into(),
        };
        let purse = self.purses.entry(Rc::clone(&name)).or_default();
        if purse.hold(cost.reserve, now) {
            let meter = Meter::new(Rc::clone(cost));
            let charge = Charge { user: name, key: key.map(Into::into), held: cost.reserve, meter };
            return Reserved::Held(Box::new(charge));
        }
        if purse.is_exhausted(cost.reserve, now) {
            return Reserved::Exhausted;
        }
        if is_last {
            return if purse.gives_up(cost.reserve, now) { Reserved::Exhausted } else { Reserved::Unavailable };
        }
        if purse.want(cost.reserve) {
            self.asking.push(Rc::clone(&name));
        }
        Reserved::Wait(name)
    }

    /// A request is over: what it has cost is drawn, the rest is free again. Gives the cost, and whose waiting requests
    /// it may help.
    pub fn settle(&mut self, charge: Box<Charge>, now: u64) -> (u64, Rc<str>) {
        let used = charge.meter.cost();
        if let Some(purse) = self.purses.get_mut(&charge.user) {
            purse.spend(charge.held, used, now);
        }
        self.reports.spent(&charge.user, charge.key.as_deref(), used, now / 1000);
        (used, charge.user)
    }

    /// Counts a request that was let through. `place` is this user's and key's own.
    pub fn count(&mut self, user: &str, key: Option<&str>, place: &Place, now: u64) {
        self.reports.count(user, key, place, now / 1000);
    }

    /// Others wait for tokens of this user.
    pub fn recalled(&mut self, user: &str, now: u64) {
        if let Some(purse) = self.purses.get_mut(user) {
            purse.recall(now);
        }
    }

    /// A user has changed: perhaps tokens were given.
    pub fn changed(&mut self, user: &str) {
        if let Some(purse) = self.purses.get_mut(user) {
            purse.has_changed();
        }
    }

    /// Anybody may have changed.
    pub fn all_changed(&mut self) {
        self.purses.values_mut().for_each(Purse::has_changed);
    }

    /// The message about leases that is to be sent now. `everybody`: also of those for whom no request waits.
    pub fn lease_call(&mut self, everybody: bool, now: u64) -> Option<LeaseRequest> {
        if let Some(call) = &mut self.call {
            if call.is_under_way || now < call.again_at {
                return None;
            }
            call.is_under_way = true;
            return Some(call.request.clone());
        }
        let mut users = core::mem::take(&mut self.asking);
        if everybody {
            self.purses.retain(|_, purse| !purse.is_empty(now));
            users = self.purses.keys().cloned().collect();
        }
        let mut request = LeaseRequest { node: self.node.clone(), ..LeaseRequest::default() };
        let (mut asks, mut number) = (Vec::new(), 0_usize);
        for user in users {
            // The rest comes with the next tick.
            if number.saturating_add(MOST_OF_ONE) > MAX_LEASES {
                break;
            }
            let Some(ask) = self.purses.get_mut(&user).and_then(|purse| purse.ask(now, self.terms)) else { continue };
            number = number.saturating_add(ask.len());
            request.settle.extend(ask.settle.iter().cloned());
            request.renew.extend(ask.renew.iter().cloned());
            if let Some(wish) = ask.take {
                self.wishes = self.wishes.saturating_add(1);
                request.take.push(LeaseTake {
                    request: self.wishes.to_string(),
                    user_id: user.as_ref().to_owned(),
                    wanted: wish.wanted,
                    least: wish.least,
                    seconds: self.terms.seconds,
                    share: wish.share,
                    recall: wish.recall,
                });
            }
            asks.push((user, ask));
        }
        if asks.is_empty() {
            return None;
        }
        self.call = Some(Call { request: request.clone(), asks, sent: now, is_under_way: true, again_at: now });
        Some(request)
    }

    /// The message about leases was answered, or not (`None`). Gives the users whose waiting requests can go on.
    pub fn leases_answered(&mut self, answer: Option<LeaseAnswer>, now: u64) -> Vec<Rc<str>> {
        let Some(answer) = answer else {
            if let Some(call) = &mut self.call {
                call.is_under_way = false;
                call.again_at = now.saturating_add(RETRY_MS);
            }
            return Vec::new();
        };
        let Some(call) = self.call.take() else { return Vec::new() };
        // The answer has everything in the order of the message.
        let (mut renewed, mut taken) = (answer.renewed.into_iter(), answer.taken.into_iter());
        let mut users = Vec::with_capacity(call.asks.len());
        for (user, ask) in call.asks {
            let told = Told {
                renewed: renewed.by_ref().take(ask.renew.len()).collect(),
                taken: ask.take.and_then(|_| taken.next()).map(|taken| taken.outcome),
            };
            if let Some(purse) = self.purses.get_mut(&user) {
                purse.answered(&ask, told, call.sent, now, self.terms);
            }
            users.push(user);
        }
        users
    }

    /// The batch of use that is to be sent now.
    pub fn usage_call(&mut self, now: u64) -> Option<UsageReport> {
        let unreported = self.purses.iter().flat_map(|(user, purse)| {
            let user = Rc::clone(user);
            purse.unreported().map(move |used| (Rc::clone(&user), used))
        });
        self.reports.due(unreported, now)
    }

    /// The batch of use was answered, or not (`None`).
    pub fn usage_answered(&mut self, answer: Option<UsageAnswer>, now: u64) {
        let Some(answer) = answer else {
            self.reports.failed(now);
            return;
        };
        let Some(batch) = self.reports.arrived(now) else { return };
        for (user, used) in batch.owners.iter().zip(&batch.report.leases) {
            let Some(purse) = self.purses.get_mut(user) else { continue };
            if answer.ended_leases.contains(&used.id) || answer.unknown_leases.contains(&used.id) {
                purse.ended(&used.id, used.used);
            }
            purse.reported(&used.id, used.used);
        }
    }
}

/// About how many leases one user has at most in one message.
const MOST_OF_ONE: usize = 20;
