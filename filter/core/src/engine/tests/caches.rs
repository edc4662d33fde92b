//! What is remembered, for how long, and what takes it back.

use super::*;

fn known(user: &str, number: u8) -> Outcome {
    Outcome::Identity(holder(user, &key(number)))
}

#[test]
fn a_known_key_asks_nobody() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    for _ in 0..10 {
        assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    }
    assert_eq!(vm.get("/admin", &[("x-api-key", &key(1))]), Refused(Code::RoleRequired));
}

#[test]
fn an_unknown_key_is_remembered_briefly() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), Outcome::Refused(Code::ApiKeyUnknown), 1);
    assert_eq!(vm.with_key(&key(1)), Refused(Code::ApiKeyUnknown));
    vm.later(9_999);
    assert_eq!(vm.with_key(&key(1)), Refused(Code::ApiKeyUnknown));
    vm.later(1);
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))));
}

#[test]
fn a_change_of_key_or_user_takes_back_what_was_known_before_it() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    vm.learn(&key(2), known("u2", 2), 1);
    vm.changed(Change::Key { hash: hash(&key(1)), seq: 2, refused: Some(Code::ApiKeyRevoked) }, 2);
    assert_eq!(vm.with_key(&key(1)), Refused(Code::ApiKeyRevoked));
    assert_eq!(vm.with_key(&key(2)), User("u2".into()), "others are not touched");
    vm.changed(Change::User { id: "u2".into(), seq: 3 }, 3);
    assert!(matches!(vm.with_key(&key(2)), Waits(_, Some(_))));
}

#[test]
fn a_key_that_was_unknown_is_known_as_soon_as_it_is_issued() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), Outcome::Refused(Code::ApiKeyUnknown), 1);
    vm.changed(Change::Key { hash: hash(&key(1)), seq: 2, refused: None }, 2);
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))));
}

#[test]
fn a_second_worker_learns_from_the_first() {
    let shared = Shared::default();
    let (mut one, mut two) = (Vm::ready(&shared), Vm::ready(&shared));
    one.learn(&key(1), known("u1", 1), 1);
    assert_eq!(two.with_key(&key(1)), User("u1".into()));
}

#[test]
fn a_worker_does_not_believe_what_is_older_than_a_change_it_has_seen() {
    let shared = Shared::default();
    let (mut one, mut two) = (Vm::ready(&shared), Vm::ready(&shared));
    one.learn(&key(1), known("u1", 1), 1);
    two.changed(Change::User { id: "u1".into(), seq: 2 }, 2);
    assert!(matches!(two.with_key(&key(1)), Waits(_, Some(_))));
    let mut starts_late = Vm::ready(&shared);
    starts_late.engine.start_at(&cursor(2));
    assert!(matches!(starts_late.with_key(&key(1)), Waits(_, Some(_))));
}

#[test]
fn a_value_that_somebody_else_wrote_is_not_believed() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    let slots: Vec<String> = shared.0.borrow().keys().cloned().collect();
    for slot in &slots {
        for bit in 0..8 {
            shared.0.borrow_mut().get_mut(slot).unwrap()[30] ^= 1 << bit;
            assert!(matches!(Vm::ready(&shared).with_key(&key(1)), Waits(_, Some(_))));
            shared.0.borrow_mut().get_mut(slot).unwrap()[30] ^= 1 << bit;
        }
    }
    assert_eq!(Vm::ready(&shared).with_key(&key(1)), User("u1".into()));
}

#[test]
fn known_ones_go_on_for_an_hour_without_news_and_not_longer() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    vm.later(3_600_000);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    vm.later(1);
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))));
    let headers = [("x-api-key", &*key(1))];
    assert_eq!(vm.turn("/", &headers, Turn::Last), Refused(Code::IdentityUnavailable));
    vm.engine.heard(vm.now);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
}

#[test]
fn after_a_lost_feed_known_ones_are_served_and_asked_about_beside_for_a_while() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    vm.engine.lost(&Cursor::new("other".into(), 40), vm.now);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    let beside = vm.engine.take_beside();
    assert!(matches!(beside[..], [Call::Resolve(..)]), "{beside:?}");
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    assert!(vm.engine.take_beside().is_empty(), "asked once");
    let Call::Resolve(subject, _) = beside[0] else { panic!() };
    let as_of = Cursor::new("other".into(), 41);
    let gone = ResolveAnswer { as_of, outcome: Outcome::Refused(Code::ApiKeyRevoked) };
    let _ = vm.engine.answered(subject, Some(gone), vm.now, &shared);
    assert_eq!(vm.with_key(&key(1)), Refused(Code::ApiKeyRevoked));
}

#[test]
fn stale_ones_are_not_served_for_ever_and_asking_about_them_is_bounded() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    for number in 0..60 {
        vm.learn(&key(number), known("u", number), 1);
    }
    vm.engine.lost(&Cursor::new("other".into(), 1), vm.now);
    for number in 0..60 {
        assert_eq!(vm.with_key(&key(number)), User("u".into()));
    }
    assert_eq!(vm.engine.take_beside().len(), 20, "a bounded number in one second");
    vm.later(30_000);
    assert!(matches!(vm.with_key(&key(59)), Waits(_, Some(_))));
}

#[test]
fn while_nobody_can_be_asked_stale_ones_are_served_on() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    vm.engine.lost(&Cursor::new("other".into(), 1), vm.now);
    vm.later(29_000);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    let Some(Call::Resolve(subject, _)) = vm.engine.take_beside().pop() else { panic!() };
    let _ = vm.engine.answered(subject, None, vm.now, &shared);
    vm.later(29_000);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
}

#[test]
fn an_unknown_kind_of_change_makes_everything_stale_and_nothing_lost() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    vm.learn(&key(1), known("u1", 1), 1);
    vm.changed(Change::Unknown, 2);
    assert_eq!(vm.with_key(&key(1)), User("u1".into()));
    assert_eq!(vm.engine.take_beside().len(), 1);
}

#[test]
fn an_answer_from_another_feed_serves_those_who_wait_and_is_not_kept() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let Waits(Until::Identity(subject), Some(_)) = vm.with_key(&key(1)) else { panic!() };
    let as_of = Cursor::new("other".into(), 9);
    let theirs = ResolveAnswer { as_of, outcome: known("u1", 1) };
    let Settled::Go(answered) = vm.engine.answered(subject, Some(theirs), vm.now, &shared) else { panic!() };
    let headers = [("x-api-key", &*key(1))];
    assert_eq!(vm.turn("/", &headers, Turn::Answered(&answered)), User("u1".into()));
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))));
}

#[test]
fn memory_stays_within_its_bounds() {
    let shared = Shared::default();
    let seeds = Seeds { hash: [1, 2, 3, 4], nonce: [7; 16] };
    let small = config(r#","cache":{"tokens":50,"token_bytes":20000,"identities":40,"unknown":10}"#);
    let mut vm = Vm { engine: Engine::new(&small, seeds), ..Vm::ready(&shared) };
    vm.engine.use_settings(Compiled::compile(&settings()).unwrap().0);
    vm.engine.heard(vm.now);
    vm.engine.start_at(&cursor(1));
    for number in 0..500 {
        let user = format!("u{number}");
        let Waits(Until::Identity(subject), Some(_)) = vm.with_token(&token(&user, 60)) else { panic!() };
        let _ = vm.engine.answered(subject, answer(Outcome::Identity(identity(&user)), 1), vm.now, &shared);
        let (tokens, identities) = vm.engine.cached();
        assert!(tokens <= 50 && identities <= 40);
    }
    assert!(shared.0.borrow().len() as u64 <= crate::cache::slot::IDENTITY_SLOTS);
    assert_eq!(vm.with_token(&token("u499", 60)), User("u499".into()));
}
