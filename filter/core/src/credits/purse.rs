//! What a worker holds of one user's balance: leases, what is set aside for requests under way, and when to ask for more,
//! renew or give back. It must not know how messages travel.
//!
//! What is set aside is not tied to a lease. Giving back is one message: settle every lease, and take a new one of exactly
//! what is set aside. The control plane does both in one transaction, so nobody can come in between; what is spent while
//! the message is under way is owed, and drawn from the new lease.

use tollgate_protocol::credits::{LeaseOutcome, LeaseRenewal, LeaseState, LeaseUse, TakeOutcome};

/// How long leases of somebody who sends nothing are kept, in milliseconds.
const IDLE_MS: u64 = 10_000;
/// How long a worker holds no more than it needs after tokens were short, in milliseconds.
const SHORT_MS: u64 = 3_000;
/// How long it is remembered that nothing is left, in milliseconds.
const EXHAUSTED_MS: u64 = 500;
/// How long it holds that the control plane has said so, in milliseconds: as long as somebody waits.
const DENIED_MS: u64 = 1_000;
/// How often the control plane is asked again while others hold the rest, in milliseconds.
const AGAIN_MS: u64 = 100;
/// How often others are asked to give back, in milliseconds.
const RECALL_MS: u64 = 400;
/// How long nothing is asked for in advance after that was refused, in milliseconds.
const AHEAD_MS: u64 = 1_000;
/// A lease that is used up within this time was too small; in milliseconds.
const QUICK_MS: u64 = 5_000;
/// A lease that lasts longer than this was too large; in milliseconds.
const SLOW_MS: u64 = 20_000;
/// The first lease is for about so many requests.
const FIRST_REQUESTS: u64 = 10;
/// Largest lease that is asked for, in tokens.
const LARGEST: u64 = 1_000_000;
/// Part of what is there that a lease may take while nobody is short of tokens: an eighth.
const SHARE: u32 = 8;
/// More is asked for in advance when less than this part of a lease is left: a quarter.
const LOW: u64 = 4;
/// A lease is drawn from no longer than this part of its time before its end, a third: what was used has to be reported
/// before the control plane gives the rest to others, and messages are lost.
const MARGIN: u64 = 3;
/// Most of what one lease may report: more than the control plane takes would never get through.
const MOST_USED: u64 = 1_000_000_000_000;

/// For how long leases are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) seconds: u32,
}

impl Terms {
    /// Until when a lease that was asked for at `sent` may be drawn from, if nobody renews it.
    fn deadline(self, sent: u64) -> u64 {
        let whole = u64::from(self.seconds).saturating_mul(1000);
        sent.saturating_add(whole.saturating_sub(whole / MARGIN))
    }

    /// A lease is renewed when less than this is left until it may not be drawn from any more: half of that time.
    fn renew_ms(self) -> u64 {
        self.deadline(0) / 2
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be drawn from.
    Open,
    /// It is on its way back.
    Returning,
    /// Nothing may be drawn any more; what is used beyond it is told all the same.
    Ended,
}

#[derive(Debug)]
struct Lease {
    id: Box<str>,
    amount: u64,
    used: u64,
    /// How much of `used` the control plane is known to have.
    reported: u64,
    deadline: u64,
    state: State,
}

impl Lease {
    fn left(&self) -> u64 {
        if self.state == State::Open { self.amount.saturating_sub(self.used) } else { 0 }
    }

    fn add(&mut self, used: u64) {
        self.used = self.used.saturating_add(used).min(MOST_USED);
    }

    fn total(&self) -> LeaseUse {
        LeaseUse { id: self.id.as_ref().to_owned(), used: self.used }
    }
}

/// A wish for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) wanted: u64,
    pub(super) least: u64,
    pub(super) share: u32,
    pub(super) recall: bool,
    /// Nobody waits for it.
    is_ahead: bool,
}

/// What a purse has to say to the control plane.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) settle: Vec<LeaseUse>,
    pub(super) renew: Vec<LeaseRenewal>,
    pub(super) take: Option<Wish>,
}

impl Ask {
    /// How many leases it is about.
    pub(super) fn len(&self) -> usize {
        self.settle.len().saturating_add(self.renew.len()).saturating_add(usize::from(self.take.is_some()))
    }
}

/// What the control plane has said to it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) renewed: Vec<LeaseState>,
    pub(super) taken: Option<TakeOutcome>,
}

/// One user's purse. Times are milliseconds of unix time.
#[derive(Debug, Default)]
pub(super) struct Purse {
    leases: Vec<Lease>,
    /// Set aside for requests under way.
    held: u64,
    /// Used while leases were on their way back.
    owed: u64,
    /// What all who wait want, and what the most modest of them does.
    wanted: u64,
    least: u64,
    /// How large the next lease should be.
    size: u64,
    last_used: u64,
    last_granted: u64,
    short_until: u64,
    exhausted_until: u64,
    /// Until then, so much or more is not there.
    exhausted_from: u64,
    ask_from: u64,
    ahead_from: u64,
    recalled_at: u64,
    gives_back: bool,
    /// A message about this user is under way.
    is_asking: bool,
    /// Leases that are on their way back are all there is.
    is_exchanging: bool,
    /// When the control plane last said that too little is there.
    denied_at: u64,
}

impl Purse {
    /// Tokens that may be set aside now.
    pub(super) fn free(&self, now: u64) -> u64 {
        let open = self.leases.iter().filter(|lease| lease.deadline > now);
        let left = open.fold(0_u64, |sum, lease| sum.saturating_add(lease.left()));
        left.saturating_sub(self.busy())
    }

    /// What must not be given back.
    fn busy(&self) -> u64 {
        self.held.saturating_add(self.owed)
    }

    /// Sets tokens aside; false where they are not there.
    #[must_use]
    pub(super) fn hold(&mut self, amount: u64, now: u64) -> bool {
        if self.free(now) < amount {
            return false;
        }
        self.held = self.held.saturating_add(amount);
        self.last_used = now;
        true
    }

    /// Somebody waits for so many tokens. Says whether nobody did before.
    pub(super) fn want(&mut self, amount: u64) -> bool {
        let is_first = self.wanted == 0;
        self.wanted = self.wanted.saturating_add(amount);
        self.least = if is_first { amount } else { self.least.min(amount) };
        is_first
    }

    /// Whether so much was not left a moment ago.
    pub(super) fn is_exhausted(&self, amount: u64, now: u64) -> bool {
        now < self.exhausted_until && amount >= self.exhausted_from
    }

    fn exhausted(&mut self, amount: u64, now: u64) {
        let is_known = now < self.exhausted_until;
        self.exhausted_from = if is_known { self.exhausted_from.min(amount) } else { amount };
        self.exhausted_until = now.saturating_add(EXHAUSTED_MS);
    }

    /// Somebody has waited in vain. Says whether that is because too little is there; else the control plane is away, or
    /// too slow.
    pub(super) fn gives_up(&mut self, amount: u64, now: u64) -> bool {
        let is_denied = now.saturating_sub(self.denied_at) <= DENIED_MS;
        if is_denied {
            self.exhausted(amount, now);
        }
        is_denied
    }

    /// Tokens were given to the user, perhaps.
    pub(super) fn has_changed(&mut self) {
        self.exhausted_until = 0;
    }

    /// Others wait for what is not needed here.
    pub(super) fn recall(&mut self, now: u64) {
        self.gives_back = true;
        self.short_until = now.saturating_add(SHORT_MS);
    }

    /// A request for which `held` was set aside is over, and has cost `used`.
    pub(super) fn spend(&mut self, held: u64, used: u64, now: u64) {
        self.last_used = now;
        self.close(now);
        self.draw(used);
        self.held = self.held.saturating_sub(held);
        self.forget();
    }

    fn draw(&mut self, used: u64) {
        if self.is_exchanging || self.leases.is_empty() {
            self.owed = self.owed.saturating_add(used);
            return;
        }
        let mut rest = used;
        for lease in &mut self.leases {
            let drawn = lease.left().min(rest);
            lease.add(drawn);
            rest = rest.saturating_sub(drawn);
        }
        // It has been used: the control plane takes it from the balance, as far as there is something.
        let open = self.leases.iter().rposition(|lease| lease.state == State::Open);
        let last = open.or_else(|| self.leases.len().checked_sub(1));
        if let Some(lease) = last.and_then(|place| self.leases.get_mut(place)) {
            lease.add(rest);
        }
    }

    /// Closes leases whose time is over.
    fn close(&mut self, now: u64) {
        for lease in self.leases.iter_mut().filter(|lease| lease.state == State::Open && lease.deadline <= now) {
            lease.state = State::Ended;
        }
    }

    /// Forgets leases that have ended and whose use is known; the last one stays while something may still be drawn.
    fn forget(&mut self) {
        let is_busy = self.busy() > 0;
        let mut number = self.leases.len();
        self.leases.retain(|lease| {
            let is_done = lease.state == State::Ended && lease.used <= lease.reported && (number > 1 || !is_busy);
            if is_done {
                number = number.saturating_sub(1);
            }
            !is_done
        });
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self, now: u64) -> bool {
        self.leases.is_empty()
            && self.busy() == 0
            && self.wanted == 0
            && !self.is_asking
            && self.exhausted_until <= now
            && self.short_until <= now
    }

    /// What is to be said now, if no message is under way.
    pub(super) fn ask(&mut self, now: u64, terms: Terms) -> Option<Ask> {
        self.close(now);
        self.forget();
        if self.is_asking {
            return None;
        }
        let is_short = now < self.short_until;
        let gives_back = core::mem::take(&mut self.gives_back) || is_short;
        let is_idle = self.busy() == 0
            && self.wanted == 0
            && now.saturating_sub(self.last_used.max(self.last_granted)) >= IDLE_MS;
        let mut ask = Ask::default();
        if (gives_back && self.free(now) > 0) || is_idle {
            self.exchange(&mut ask, now);
        } else {
            self.give_back_empty(&mut ask);
            self.renew(&mut ask, now, terms);
            ask.take = self.wish(is_short, now);
        }
        if ask.len() == 0 {
            return None;
        }
        self.is_asking = true;
        Some(ask)
    }

    /// Everything goes back, but for what is set aside. Those who wait ask with the next message where something is: what
    /// is too little for them must not stay here.
    fn exchange(&mut self, ask: &mut Ask, now: u64) {
        for lease in self.leases.iter_mut().filter(|lease| lease.state == State::Open) {
            lease.state = State::Returning;
            ask.settle.push(lease.total());
        }
        self.is_exchanging = !ask.settle.is_empty();
        let busy = self.busy();
        let amount = if busy > 0 { busy } else { self.least };
        if amount > 0 {
            let recall = self.wanted > 0 && self.may_recall(now);
            ask.take = Some(Wish { wanted: amount, least: amount, share: 1, recall, is_ahead: false });
        }
    }

    /// Leases with nothing left go back; one stays while something may still be drawn.
    fn give_back_empty(&mut self, ask: &mut Ask) {
        let has_more = self.leases.iter().any(|lease| lease.left() > 0);
        if !has_more && self.busy() > 0 {
            return;
        }
        for lease in self.leases.iter_mut().filter(|lease| lease.state == State::Open && lease.left() == 0) {
            lease.state = State::Returning;
            ask.settle.push(lease.total());
        }
    }

    fn renew(&self, ask: &mut Ask, now: u64, terms: Terms) {
        for lease in self.leases.iter().filter(|lease| lease.state == State::Open) {
            if lease.deadline.saturating_sub(now) < terms.renew_ms() {
                let LeaseUse { id, used } = lease.total();
                ask.renew.push(LeaseRenewal { id, used, extend_seconds: terms.seconds });
            }
        }
    }

    fn may_recall(&mut self, now: u64) -> bool {
        let is_time = now.saturating_sub(self.recalled_at) >= RECALL_MS;
        if is_time {
            self.recalled_at = now;
        }
        is_time
    }

    /// The size of a lease: what the most modest needs where tokens are short; else about what is used in [`QUICK_MS`] to
    /// [`SLOW_MS`], found by doubling and halving.
    fn wish(&mut self, is_short: bool, now: u64) -> Option<Wish> {
        let free = self.free(now);
        if self.wanted > 0 {
            if now < self.ask_from {
                return None;
            }
            let lack = self.wanted.saturating_sub(free).max(1);
            let least = self.least.saturating_sub(free).max(1);
            self.size = self.size.max(self.least.saturating_mul(FIRST_REQUESTS)).min(LARGEST);
            let wanted = if is_short { least } else { lack.max(self.size) };
            let share = if is_short { 1 } else { SHARE };
            return Some(Wish { wanted, least, share, recall: self.may_recall(now), is_ahead: false });
        }
        let is_used = now.saturating_sub(self.last_used) < AHEAD_MS && self.leases.iter().any(|one| one.left() > 0);
        let is_low = free < self.size / LOW;
        if is_short || !is_used || !is_low || now < self.ahead_from {
            return None;
        }
        Some(Wish { wanted: self.size.max(1), least: 1, share: SHARE, recall: false, is_ahead: true })
    }

    /// The control plane has answered. `sent`: when the message was sent first.
    pub(super) fn answered(&mut self, ask: &Ask, told: Told, sent: u64, now: u64, terms: Terms) {
        self.is_asking = false;
        self.is_exchanging = false;
        // Who still waits asks again at once.
        self.wanted = 0;
        self.least = 0;
        for asked in &ask.settle {
            self.ended(&asked.id, asked.used);
        }
        for (asked, told) in ask.renew.iter().zip(told.renewed) {
            match told.outcome {
                LeaseOutcome::Open { .. } => self.renewed(&asked.id, asked.used, terms.deadline(sent)),
                LeaseOutcome::Ended | LeaseOutcome::Unknown => self.ended(&asked.id, asked.used),
            }
        }
        if let (Some(wish), Some(outcome)) = (ask.take, told.taken) {
            self.taken(wish, outcome, terms.deadline(sent), now);
        }
        if self.owed > 0 && !self.leases.is_empty() {
            let owed = core::mem::take(&mut self.owed);
            self.draw(owed);
        }
        self.forget();
    }

    fn taken(&mut self, wish: Wish, outcome: TakeOutcome, deadline: u64, now: u64) {
        match outcome {
            TakeOutcome::Granted { id, amount, .. } => {
                let is_first = self.last_granted == 0;
                let age = now.saturating_sub(self.last_granted);
                if !is_first && age < QUICK_MS && wish.share > 1 {
                    self.size = self.size.saturating_mul(2).min(LARGEST);
                } else if !is_first && age > SLOW_MS {
                    self.size /= 2;
                }
                self.last_granted = now;
                self.exhausted_until = 0;
                let id = id.into_boxed_str();
                self.leases.push(Lease { id, amount, used: 0, reported: 0, deadline, state: State::Open });
            }
            TakeOutcome::Exhausted { .. } | TakeOutcome::Unknown if wish.is_ahead => {
                self.ahead_from = now.saturating_add(AHEAD_MS);
            }
            TakeOutcome::Exhausted { reserved } if reserved > 0 || self.busy() > 0 => {
                // What is set aside, here or elsewhere, may come back.
                self.denied_at = now;
                self.short_until = now.saturating_add(SHORT_MS);
                self.ask_from = now.saturating_add(AGAIN_MS);
            }
            TakeOutcome::Exhausted { .. } | TakeOutcome::Unknown => {
                self.exhausted(wish.least.saturating_add(self.free(now)), now);
            }
            // A wish that was answered long ago: it is made anew, under another name.
            TakeOutcome::Ended => {}
        }
    }

    fn renewed(&mut self, id: &str, reported: u64, deadline: u64) {
        if let Some(lease) = self.leases.iter_mut().find(|lease| *lease.id == *id) {
            lease.reported = lease.reported.max(reported);
            if lease.state == State::Open {
                lease.deadline = lease.deadline.max(deadline);
            }
        }
    }

    /// A lease is settled, and the control plane knows this total.
    pub(super) fn ended(&mut self, id: &str, reported: u64) {
        if let Some(lease) = self.leases.iter_mut().find(|lease| *lease.id == *id) {
            lease.state = State::Ended;
            lease.reported = lease.reported.max(reported);
        }
    }

    /// The control plane knows this total.
    pub(super) fn reported(&mut self, id: &str, used: u64) {
        if let Some(lease) = self.leases.iter_mut().find(|lease| *lease.id == *id) {
            lease.reported = lease.reported.max(used);
        }
        self.forget();
    }

    /// What the control plane is not known to know.
    pub(super) fn unreported(&self) -> impl Iterator<Item = LeaseUse> {
        self.leases.iter().filter(|lease| lease.used > lease.reported).map(Lease::total)
    }
}
