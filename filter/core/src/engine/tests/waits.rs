//! What a request waits for, and who asks.

use super::*;

#[test]
fn nothing_passes_before_the_first_settings() {
    let shared = Shared::default();
    let mut vm = Vm::blank(&shared);
    assert_eq!(vm.get("/public/x", &[]), Waits(Until::Settings, None));
    assert_eq!(vm.turn("/public/x", &[], Turn::Last), Refused(Code::NotReady));
    vm.engine.use_settings(Compiled::compile(&settings()).unwrap().0);
    assert_eq!(vm.turn("/public/x", &[], Turn::Again), User(String::new()));
}

#[test]
fn requests_that_miss_together_share_one_call() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let Waits(Until::Identity(subject), Some(Call::Resolve(asked, _))) = vm.with_key(&key(1)) else { panic!() };
    assert_eq!(subject, asked);
    for _ in 0..200 {
        assert_eq!(vm.with_key(&key(1)), Waits(Until::Identity(subject), None));
    }
    let Settled::Go(answered) =
        vm.engine.answered(subject, answer(Outcome::Identity(holder("u", &key(1))), 1), vm.now, &shared)
    else {
        panic!()
    };
    let headers = [("x-api-key", &*key(1))];
    assert_eq!(vm.turn("/", &headers, Turn::Answered(&answered)), User("u".into()));
}

#[test]
fn a_call_that_fails_refuses_those_who_wait_and_the_next_may_ask_again() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let Waits(Until::Identity(subject), Some(_)) = vm.with_key(&key(1)) else { panic!() };
    let Settled::Go(answered) = vm.engine.answered(subject, None, vm.now, &shared) else { panic!() };
    let headers = [("x-api-key", &*key(1))];
    assert_eq!(vm.turn("/", &headers, Turn::Answered(&answered)), Refused(Code::IdentityUnavailable));
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))));
    assert_eq!(vm.turn("/", &headers, Turn::Last), Refused(Code::IdentityUnavailable));
}

#[test]
fn an_answer_that_was_outdated_on_its_way_is_asked_for_again_a_few_times() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let Waits(Until::Identity(subject), Some(_)) = vm.with_key(&key(1)) else { panic!() };
    vm.changed(Change::Key { hash: hash(&key(1)), seq: 9, refused: None }, 9);
    let outdated = || answer(Outcome::Identity(holder("u", &key(1))), 8);
    for _ in 0..2 {
        let settled = vm.engine.answered(subject, outdated(), vm.now, &shared);
        assert!(matches!(settled, Settled::Ask(Call::Resolve(..))), "{settled:?}");
    }
    let Settled::Go(answered) = vm.engine.answered(subject, outdated(), vm.now, &shared) else { panic!() };
    let headers = [("x-api-key", &*key(1))];
    assert_eq!(vm.turn("/", &headers, Turn::Answered(&answered)), Refused(Code::IdentityUnavailable));
    assert!(matches!(vm.with_key(&key(1)), Waits(_, Some(_))), "nothing of it was kept");
}

/// A token of an issuer whose key set does not have the key that it names.
fn unknown_key() -> String {
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let claims = r#"{"iss":"https://clerk.test","sub":"user_1"}"#;
    format!("{}.{}.AAAA", encode(r#"{"alg":"RS256","kid":"ins_new","typ":"JWT"}"#), encode(claims))
}

#[test]
fn one_unknown_key_asks_and_a_flood_of_them_asks_no_more() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let token = unknown_key();
    let refresh = Call::Refresh("https://clerk.test".into());
    assert_eq!(vm.with_token(&token), Waits(Until::Keys, Some(refresh.clone())));
    assert_eq!(vm.with_token(&token), Waits(Until::Keys, None));
    let headers = [("authorization", &*format!("Bearer {token}"))];
    assert_eq!(vm.turn("/", &headers, Turn::Last), Refused(Code::TokenUnknownKey));
    assert_eq!(vm.turn("/", &headers, Turn::Again), Refused(Code::TokenUnknownKey));
    vm.later(KEYS_HOLD_MS);
    for _ in 0..1000 {
        assert_eq!(vm.with_token(&token), Refused(Code::TokenUnknownKey));
    }
    vm.later(10_000);
    assert_eq!(vm.with_token(&token), Waits(Until::Keys, Some(refresh)));
}
