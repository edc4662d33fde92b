//! The rules under random histories: reports late, doubled and out of order, limits, months that begin meanwhile.

use proptest::prelude::*;

use super::{desk::Desk, tally::Tally, *};
use crate::domain::{Stamp, User};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn account(remaining: i64, limit: Option<i64>) -> Account {
    let user = User::new(UserId::new("usr_1"), START);
    Account {
        user: user.id,
        remaining,
        used: 0,
        reserved: 0,
        monthly_limit: limit,
        month_start: None,
        month_used: 0,
        seq: 0,
        subscription: Subscription::Pro,
        created_at: START,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Grant(i64),
    Adjust(i64),
    Consume(i64),
    Reserve(i64, i64),
    /// Which reservation, and how far beyond or below what it has used.
    Report(usize, i64),
    Renew(usize, i64),
    Settle(usize, i64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![4 => 1..400_i64, 1 => 1..20_000_i64];
    prop_oneof![
        amount.clone().prop_map(Step::Grant),
        (-500..500_i64).prop_map(Step::Adjust),
        amount.clone().prop_map(Step::Consume),
        (amount, 1..50_i64).prop_map(|(wanted, least)| Step::Reserve(wanted, least)),
        (0..8_usize, -100..400_i64).prop_map(|(which, more)| Step::Report(which, more)),
        (0..8_usize, -100..400_i64).prop_map(|(which, more)| Step::Renew(which, more)),
        (0..8_usize, -100..400_i64).prop_map(|(which, more)| Step::Settle(which, more)),
        prop_oneof![8 => 1..90_i64, 1 => 100_000..4_000_000_i64].prop_map(Step::Wait),
    ]
}

/// A ledger in memory: what a store does, without one.
struct Ledger {
    account: Account,
    reservations: Vec<Reservation>,
    entries: Vec<Entry>,
    now: Timestamp,
    allowances: Allowances,
}

impl Ledger {
    fn at_desk<T>(&mut self, work: impl FnOnce(&mut Desk<'_>, &mut Vec<Reservation>) -> T) -> T {
        let stamp = Stamp::system(self.now);
        let mut desk = Desk::open(self.account.clone(), &self.allowances, &stamp);
        let done = work(&mut desk, &mut self.reservations);
        if let Some((account, entries)) = desk.close() {
            self.account = account;
            self.entries.extend(entries);
        }
        done
    }

    fn take(&mut self, step: &Step) {
        let place = self.entries.len();
        let until = self.now.plus_seconds(60);
        match *step {
            Step::Wait(seconds) => self.now = self.now.plus_seconds(seconds),
            Step::Grant(amount) => self.post(Purpose::Grant, amount, place),
            Step::Adjust(amount) => self.post(Purpose::Adjust, amount, place),
            Step::Consume(amount) => self.post(Purpose::Consume, amount, place),
            Step::Reserve(wanted, least) => {
                let id = LeaseId::new(format!("lse_{place}"));
                let take = Take {
                    id,
                    user: self.account.user.clone(),
                    wanted,
                    least,
                    expires_at: until,
                    share: 1,
                    recall: false,
                };
                let before = self.account.clone();
                let made = self.at_desk(|desk, all| {
                    let made = desk.reserve(&take, "node");
                    all.extend(made.clone());
                    made
                });
                if let Some(made) = made {
                    assert!((least..=wanted).contains(&made.amount), "{made:?}");
                    assert!(before.month_start.is_none() || made.amount <= before.remaining.max(self.allowances.pro));
                }
            }
            Step::Report(which, more) => self.on(which, |desk, one| desk.report(one, one.used + more)),
            Step::Renew(which, more) => self.on(which, |desk, one| desk.renew(one, one.used + more, until)),
            Step::Settle(which, more) => self.on(which, |desk, one| {
                desk.report(one, one.used + more);
                desk.settle(one);
            }),
        }
    }

    fn post(&mut self, purpose: Purpose, amount: i64, place: usize) {
        let posting =
            Posting { user: self.account.user.clone(), key: format!("post:{place}"), purpose, amount, note: None };
        let before = self.account.remaining;
        match self.at_desk(|desk, _| desk.post(&posting)) {
            Posted::Done { entry, .. } => assert_eq!(entry.amount, posting.change()),
            Posted::Exhausted | Posted::TooMuch => assert!(self.account.remaining >= before, "nothing was taken"),
        }
    }

    /// Does something to a reservation, then the same once more: the second time nothing may change.
    fn on(&mut self, which: usize, work: impl Fn(&mut Desk<'_>, &mut Reservation)) {
        let Some(place) = which.checked_rem(self.reservations.len()) else { return };
        let used = self.reservations[place].used;
        self.at_desk(|desk, all| work(desk, &mut all[place]));
        let after = (self.account.clone(), self.reservations.clone(), self.entries.len());
        let reported = self.reservations[place].used;
        assert!(reported >= used, "what was used only grows");
        self.at_desk(|desk, all| {
            desk.report(&mut all[place], reported);
            desk.report(&mut all[place], used);
        });
        assert_eq!(after, (self.account.clone(), self.reservations.clone(), self.entries.len()));
    }

    fn check(&self) {
        let mut tally = Tally::default();
        self.entries.iter().for_each(|entry| tally.add(entry));
        let faults = tally.faults(&self.account, 0, &self.reservations);
        assert!(faults.is_empty(), "{faults:?}");
        assert!(self.account.remaining >= 0 && self.account.reserved >= 0, "{:?}", self.account);
        let mut keys: Vec<_> = self.entries.iter().map(|entry| &entry.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), self.entries.len(), "a key was given twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_comes_out_whatever_happens(
        first in 0..2_000_i64,
        limit in proptest::option::of(0..3_000_i64),
        allowance in 0..2_000_i64,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let allowances = Allowances { pro: allowance, ..Allowances::default() };
        let account = account(first, limit);
        let mut ledger =
            Ledger { account, reservations: Vec::new(), entries: Vec::new(), now: START, allowances };
        for step in &steps {
            ledger.take(step);
            ledger.check();
        }
        for place in 0..ledger.reservations.len() {
            ledger.on(place, |desk, one| desk.settle(one));
        }
        ledger.check();
        prop_assert_eq!(ledger.account.reserved, 0);
    }

    #[test]
    fn the_limit_of_a_month_is_never_passed_by_what_is_asked_for(
        limit in 0..500_i64,
        steps in proptest::collection::vec((any::<bool>(), 1..100_i64), 1..40),
    ) {
        let mut ledger = Ledger {
            account: account(1_000_000, Some(limit)),
            reservations: Vec::new(),
            entries: Vec::new(),
            now: START,
            allowances: Allowances::default(),
        };
        for (is_lease, amount) in steps {
            ledger.take(&if is_lease { Step::Reserve(amount, 1) } else { Step::Consume(amount) });
            prop_assert!(ledger.account.month_used + ledger.account.reserved <= limit);
        }
        let taken = ledger.account.month_used + ledger.account.reserved;
        ledger.take(&Step::Reserve(1_000, 1));
        prop_assert_eq!(ledger.account.month_used + ledger.account.reserved, limit.max(taken), "all of it may be had");
    }
}

#[test]
fn a_month_tops_the_balance_up_once_and_the_first_one_does_not() {
    let allowances = Allowances { pro: 1_000, ..Allowances::default() };
    let day = 24 * 3600;
    // (left, set aside, days after the account was made, refill, refill when asked again a day later)
    for (left, set_aside, days, first, again) in [
        (10, 0, 0, None, None),
        (10, 0, 20, None, None),
        (10, 0, 32, Some(990), None),
        (10, 300, 32, Some(690), None),
        (1_000, 0, 32, None, None),
        (5_000, 0, 32, None, None),
        (0, 0, 400, Some(1_000), None),
    ] {
        let mut ledger = Ledger {
            account: Account { reserved: set_aside, ..account(left, None) },
            reservations: Vec::new(),
            entries: Vec::new(),
            now: START.plus_seconds(days * day),
            allowances,
        };
        for wanted in [first, again] {
            let place = ledger.entries.len();
            ledger.at_desk(|_, _| ());
            let refills: Vec<_> = ledger.entries[place..].iter().map(|entry| (entry.kind, entry.amount)).collect();
            let wanted: Vec<_> = wanted.into_iter().map(|amount| (EntryKind::Refill, amount)).collect();
            assert_eq!(refills, wanted, "{left} {set_aside} {days}");
            ledger.now = ledger.now.plus_seconds(day);
            // What is used meanwhile is not given again.
            ledger.take(&Step::Consume(5));
        }
    }
}

#[test]
fn what_is_reported_late_or_beyond_is_taken_as_far_as_there_is_something() {
    let mut ledger = Ledger {
        account: account(100, None),
        reservations: Vec::new(),
        entries: Vec::new(),
        now: START,
        allowances: Allowances::default(),
    };
    ledger.take(&Step::Reserve(60, 1));
    assert_eq!((ledger.account.remaining, ledger.account.reserved), (40, 60));
    let steps: [(i64, i64, i64, i64); 4] = [(50, 40, 50, 0), (70, 30, 70, 0), (130, 0, 130, 30), (130, 0, 130, 30)];
    for (total, remaining, used, uncovered) in steps {
        ledger.at_desk(|desk, all| desk.report(&mut all[0], total));
        let sum: i64 = ledger.entries.iter().map(|entry| entry.uncovered).sum();
        assert_eq!((ledger.account.remaining, ledger.account.used, sum), (remaining, used, uncovered), "{total}");
        ledger.check();
    }
    ledger.at_desk(|desk, all| desk.settle(&mut all[0]));
    ledger.take(&Step::Grant(10));
    ledger.at_desk(|desk, all| desk.report(&mut all[0], 135));
    assert_eq!((ledger.account.remaining, ledger.account.used), (5, 135), "late, but not lost");
    ledger.check();
}
