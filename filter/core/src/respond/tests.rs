//! The header plan: strip, then set.

use tollgate_protocol::{Identity, Method, config::Fact, headers};

use super::*;
use crate::{
    decide::{self, Caller},
    policy::Rule,
    request::{Field, RequestView},
};

fn identity(name: &str) -> Identity {
    Identity {
        user_id: "u1".into(),
        role: "user".into(),
        is_active: true,
        email: Some("ada@example.com".into()),
        name: Some(name.into()),
        clerk_id: None,
        subscription: Some(String::new()),
        tokens_remaining: Some(-3),
        tokens_not_before: None,
        key: None,
    }
}

fn plan(identity: &Identity, rule: &Rule, request: &RequestView<'_>) -> HeaderPlan {
    let scopes = ["a:read".into(), "b c".into()];
    let caller = Caller {
        method: Method::Clerk,
        identity,
        scopes: &scopes,
        session_id: Some("sess_1"),
        issued_at: None,
        actor: None,
    };
    let permit = decide::decide(caller, rule, None, 0).unwrap();
    let (person, credential, facts) = (&Kept::default(), &Kept::default(), &[Fact::UserId, Fact::Actor]);
    let prepared = Prepared { person, credential, facts };
    let made = HeaderPlan::permitted(&permit, prepared, rule, None, request, 0);
    let again = HeaderPlan::permitted(&permit, prepared, rule, None, request, 0);
    assert_eq!(made, again, "what is kept is what was made");
    again
}

fn value<'a>(plan: &'a HeaderPlan, name: &str) -> Option<&'a str> {
    plan.header(name).map(|value| core::str::from_utf8(value).unwrap())
}

#[test]
fn known_facts_are_set_and_empty_ones_are_absent() {
    let plan = plan(&identity("Ada Lovelace é\r\nx-admin: 1"), &Rule::default(), &RequestView::default());
    assert_eq!(value(&plan, headers::USER_ID), Some("u1"));
    assert_eq!(value(&plan, headers::METHOD), Some("clerk"));
    assert_eq!(value(&plan, headers::NAME), Some("Ada%20Lovelace%20%C3%A9%0D%0Ax-admin:%201"));
    assert_eq!(value(&plan, headers::SCOPES), Some("a:read b%20c"));
    assert_eq!(value(&plan, headers::TOKENS_REMAINING), Some("-3"));
    for absent in [headers::CLERK_ID, headers::SUBSCRIPTION, headers::KEY_ID, headers::ASSERTION] {
        assert_eq!(value(&plan, absent), None, "{absent}");
    }
    let facts: Vec<_> = plan.facts().collect();
    assert_eq!(facts, [("tollgate.user_id", b"u1".as_slice())], "what is asked for, and is there");
}

#[test]
fn what_the_client_sent_under_our_names_goes_whatever_the_verdict() {
    let reserved: Vec<&[u8]> = vec![b"x-auth-role", b"x_auth_role", b"x-auth-role", b"x-auth-made-up"];
    let request = RequestView { reserved, ..RequestView::default() };
    let expected: [&[u8]; 3] = [b"x-auth-made-up", b"x-auth-role", b"x_auth_role"];
    assert_eq!(HeaderPlan::anonymous(&Rule::default(), &request).remove, expected);
    assert_eq!(plan(&identity("a"), &Rule::default(), &request).remove, expected);
}

#[test]
fn no_credential_goes_on_unless_the_route_says_so() {
    let request = RequestView {
        api_key: Field::One(b"sk_x"),
        authorization: Field::One(b"Bearer t"),
        cookies: vec![b"a=b; __session=t"],
        ..RequestView::default()
    };
    let stripped = plan(&identity("a"), &Rule { session_cookie: true, ..Rule::default() }, &request);
    assert_eq!(stripped.remove, [b"x-api-key".to_vec(), b"authorization".to_vec()]);
    assert_eq!(value(&stripped, headers::COOKIE), Some("a=b"));
    let kept = plan(&identity("a"), &Rule { forward_credential: true, ..Rule::default() }, &request);
    assert!(kept.remove.is_empty() && value(&kept, headers::COOKIE).is_none());
}
