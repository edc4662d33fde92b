//! Revoked sessions, tokens and keys, and tokens from before a sign-out: refused at each request, also from memory.

use serde_json::{Value, json};
use tollgate_protocol::{Revocation, Revoked};

use super::*;

const SECONDS: u64 = T0 / 1000;

/// A legacy token with these claims more, issued at [`T0`].
fn issued(subject: &str, more: Value) -> String {
    let mut claims = more;
    for (name, value) in [("sub", json!(subject)), ("exp", json!(SECONDS + 600)), ("iat", json!(SECONDS))] {
        claims[name] = value;
    }
    sign(&claims.to_string())
}

/// Lets the VM know the user behind a token, with these facts.
fn known(vm: &mut Vm<'_>, token: &str, identity: Identity) {
    let shared = vm.shared;
    let Waits(Until::Identity(subject), Some(_)) = vm.with_token(token) else { panic!("nothing was asked") };
    let _ = vm.engine.answered(subject, answer(Outcome::Identity(identity), 1), vm.now, shared);
}

fn revoke(vm: &mut Vm<'_>, what: Revoked, issuer: Option<&str>, id: &str) {
    let revocation = Revocation { what, issuer: issuer.map(str::to_owned), id: id.into(), until: SECONDS + 60 };
    vm.changed(Change::Revoked { revocation, seq: 2 }, 2);
}

#[test]
fn what_is_revoked_is_refused_from_memory_too_and_nothing_else_is() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let (first, second) =
        (issued("u", json!({"sid": "s1", "jti": "t1"})), issued("u", json!({"sid": "s2", "jti": "t2"})));
    known(&mut vm, &first, identity("u"));
    for token in [&first, &second] {
        assert_eq!(vm.with_token(token), User("u".into()));
    }
    revoke(&mut vm, Revoked::Session, None, "s1");
    assert_eq!((vm.with_token(&first), vm.with_token(&second)), (Refused(Code::TokenRevoked), User("u".into())));
    // The same letters under another kind or issuer are another thing.
    revoke(&mut vm, Revoked::Key, None, "s2");
    revoke(&mut vm, Revoked::Session, Some("https://clerk.test"), "s2");
    assert_eq!(vm.with_token(&second), User("u".into()));
    revoke(&mut vm, Revoked::Token, None, "t2");
    assert_eq!(vm.with_token(&second), Refused(Code::TokenRevoked));
    // A token that this VM has not seen is refused as well, and a key of the user is not concerned.
    assert_eq!(vm.with_token(&issued("u", json!({"sid": "s1"}))), Refused(Code::TokenRevoked));
    vm.learn(&key(1), Outcome::Identity(holder("u", &key(1))), 2);
    assert_eq!(vm.with_key(&key(1)), User("u".into()));
    vm.later(60_000);
    assert_eq!(vm.with_token(&first), User("u".into()), "its time is over");
}

#[test]
fn tokens_of_a_revoked_key_are_refused_whatever_they_say() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let mut named = settings();
    named.issuers[0].keys[0].kid = Some("k1".into());
    vm.engine.use_settings(Compiled::compile(&named).unwrap().0);
    let of = |iat: u64| {
        let claims = json!({"sub": "u", "iat": iat, "exp": SECONDS + 60}).to_string();
        sign_with(r#"{"alg":"HS256","kid":"k1"}"#, &claims)
    };
    let token = of(SECONDS);
    known(&mut vm, &token, identity("u"));
    assert_eq!(vm.with_token(&token), User("u".into()));
    revoke(&mut vm, Revoked::Key, None, "k2");
    assert_eq!(vm.with_token(&token), User("u".into()));
    revoke(&mut vm, Revoked::Key, None, "k1");
    assert_eq!(vm.with_token(&token), Refused(Code::TokenRevoked));
    assert_eq!(vm.with_token(&of(SECONDS + 4)), Refused(Code::TokenRevoked));
}

#[test]
fn a_kind_of_revocation_that_is_not_known_makes_everything_stale() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let token = issued("u", json!({}));
    known(&mut vm, &token, identity("u"));
    revoke(&mut vm, Revoked::Unknown, None, "x");
    assert_eq!(vm.with_token(&token), User("u".into()));
    assert_eq!(vm.engine.take_beside().len(), 1, "asked about anew");
}

#[test]
fn tokens_from_before_a_sign_out_are_refused() {
    let shared = Shared::default();
    let signed_out = |not_before| Identity { tokens_not_before: Some(not_before), ..identity("u") };
    for (what, token, not_before, expect) in [
        ("issued before", issued("u", json!({})), SECONDS + 1, Refused(Code::TokenRevoked)),
        ("issued since", issued("u", json!({})), SECONDS, User("u".into())),
        ("does not say", token("u", 60), 1, Refused(Code::TokenRevoked)),
    ] {
        let mut vm = Vm::ready(&shared);
        shared.0.borrow_mut().clear();
        known(&mut vm, &token, signed_out(not_before));
        assert_eq!(vm.with_token(&token), expect, "{what}");
    }
}

#[test]
fn a_vm_that_may_lack_revocations_lets_only_newer_tokens_pass() {
    let shared = Shared::default();
    let mut vm = Vm::ready(&shared);
    let old = issued("u", json!({}));
    known(&mut vm, &old, identity("u"));
    vm.engine.revoked().may_lack(SECONDS);
    assert_eq!(vm.with_token(&old), Refused(Code::TokenRevoked));
    vm.later(6_000);
    let newer = sign(&json!({"sub": "u", "iat": SECONDS + 6, "exp": SECONDS + 60}).to_string());
    assert_eq!(vm.with_token(&newer), User("u".into()));
    vm.engine.revoked().is_whole();
    assert_eq!(vm.with_token(&old), User("u".into()));
}
