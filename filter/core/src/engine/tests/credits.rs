//! What a request costs on its road: nothing before somebody may pass, tokens before the backend, and never twice.

use tollgate_protocol::credits::{LeaseAnswer, LeaseRequest, LeaseTaken, TakeOutcome, UsageReport};

use super::*;

impl Vm<'_> {
    fn paid(&mut self, path: &str, turn: Turn<'_>) -> Met {
        self.turn(path, &[("x-api-key", &key(1))], turn)
    }

    /// A VM that knows who has the key.
    fn known(shared: &Shared) -> Vm<'_> {
        let mut vm = Vm::ready(shared);
        assert!(matches!(vm.learn(&key(1), Outcome::Identity(holder("u", &key(1))), 1), Settled::Go(_)));
        vm
    }

    fn asked(&mut self) -> Option<LeaseRequest> {
        let now = self.now.0;
        self.engine.wallet().lease_call(true, now)
    }

    fn told(&mut self, request: &str, outcome: TakeOutcome) -> Vec<String> {
        let taken = vec![LeaseTaken { request: request.to_owned(), outcome }];
        let answer = LeaseAnswer { taken, ..LeaseAnswer::default() };
        let now = self.now.0;
        self.engine.wallet().leases_answered(Some(answer), now).iter().map(ToString::to_string).collect()
    }

    fn reported(&mut self) -> Option<UsageReport> {
        let now = self.now.0;
        self.engine.wallet().usage_call(now)
    }
}

fn granted(amount: u64) -> TakeOutcome {
    TakeOutcome::Granted { id: "l1".into(), amount, expires_at: 0 }
}

fn waits() -> Met {
    Waits(Until::Credits("u".into()), None)
}

#[test]
fn tokens_are_asked_for_once_and_drawn_from_then_on() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    let asked = vm.asked().unwrap();
    let take = &asked.take[0];
    assert_eq!((&*take.user_id, take.wanted, take.least, take.recall), ("u", 50, 5, true));
    assert_eq!(vm.asked(), None, "one message at a time");
    assert_eq!(vm.told(&take.request, granted(12)), ["u"]);
    assert_eq!(vm.paid("/paid", Turn::Again), User("u".into()));
    assert_eq!(vm.paid("/paid", Turn::Again), User("u".into()));
    assert_eq!(vm.paid("/paid", Turn::First), waits(), "2 of 12 are left");
    let report = vm.reported().unwrap();
    let counted: Vec<_> =
        report.requests.iter().map(|one| (&*one.user_id, one.key_id.as_deref(), one.requests)).collect();
    assert_eq!(counted, [("u", Some("k1"), 2)]);
    assert!(report.leases.is_empty(), "nothing has been used yet: both requests are under way");
}

#[test]
fn who_has_nothing_left_is_told_so_until_something_is_given() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    let request = vm.asked().unwrap().take[0].request.clone();
    vm.told(&request, TakeOutcome::Exhausted { reserved: 0 });
    assert_eq!(vm.paid("/paid", Turn::Again), Refused(Code::TokensExhausted));
    assert_eq!(vm.asked(), None, "it is remembered for half a second");
    vm.changed(Change::User { id: "u".into(), seq: 1 }, 1);
    assert_eq!(vm.paid("/paid", Turn::First), waits(), "something may have been given");
}

#[test]
fn tokens_that_others_hold_are_waited_for_and_no_longer_than_that() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    let request = vm.asked().unwrap().take[0].request.clone();
    vm.told(&request, TakeOutcome::Exhausted { reserved: 100 });
    assert_eq!(vm.paid("/paid", Turn::Again), waits());
    assert_eq!(vm.asked(), None, "not at once");
    vm.later(100);
    let again = vm.asked().unwrap().take.remove(0);
    assert!(again.request != request && !again.recall, "another wish; they have just been recalled");
    assert_eq!((again.wanted, again.least, again.share), (5, 5, 1), "no more than is needed, where tokens are short");
    assert_eq!(vm.paid("/paid", Turn::Unpaid), Refused(Code::TokensExhausted));
}

#[test]
fn a_control_plane_that_does_not_answer_is_no_empty_balance() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    let asked = vm.asked().unwrap();
    let now = vm.now.0;
    assert!(vm.engine.wallet().leases_answered(None, now).is_empty());
    assert_eq!(vm.paid("/paid", Turn::Unpaid), Refused(Code::IdentityUnavailable));
    vm.later(100);
    assert_eq!(vm.asked(), Some(asked), "the same again, so that it is not granted twice");
}

#[test]
fn what_is_recalled_goes_back_but_for_what_is_under_way() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/paid", Turn::First), waits());
    let request = vm.asked().unwrap().take[0].request.clone();
    vm.told(&request, granted(40));
    assert_eq!(vm.paid("/paid", Turn::Again), User("u".into()));
    vm.changed(Change::Recall { id: "u".into(), seq: 1 }, 1);
    let asked = vm.asked().unwrap();
    assert_eq!(asked.settle.len(), 1, "{asked:?}");
    assert_eq!((asked.take[0].wanted, asked.take[0].least), (5, 5), "what the request under way may cost");
    assert_eq!(vm.paid("/paid", Turn::First), waits(), "nothing is drawn from what is on its way back");
}

#[test]
fn watched_routes_cost_nothing_and_streams_are_asked_for_as_they_are() {
    let shared = Shared::default();
    let mut vm = Vm::known(&shared);
    assert_eq!(vm.paid("/watched", Turn::First), User("u".into()));
    assert_eq!(vm.asked(), None);
    assert_eq!(vm.paid("/streamed", Turn::First), waits());
    let request = vm.asked().unwrap().take[0].request.clone();
    vm.told(&request, granted(40));
    let plain = key(1);
    let request = RequestView {
        method: b"GET",
        path: b"/streamed",
        api_key: Field::One(plain.as_bytes()),
        ..RequestView::default()
    };
    let Step::Done(Verdict::Forward(plan)) = vm.engine.decide(&request, Turn::Again, vm.now, &shared) else { panic!() };
    assert!(plan.remove.iter().any(|name| **name == *b"accept-encoding"), "{:?}", plan.remove);
    let mut charge = plan.charge.unwrap();
    charge.meter.headers(b"application/json", false);
    charge.meter.body(br#"{"n":9}"#);
    let now = vm.now.0;
    assert_eq!(vm.engine.wallet().settle(charge, now).0, 9);
    let report = vm.reported().unwrap();
    assert_eq!((&*report.leases[0].id, report.leases[0].used), ("l1", 9));
}
