//! What a backend is told of who is asking. It is the same for every request of a person and of a credential, so it is made
//! once, lies beside what it was made from, and goes when that goes. It must not see a request.

use core::cell::OnceCell;
use std::rc::Rc;

use tollgate_protocol::{config::Fact, headers};

use super::encode::{encode, encode_into};
use crate::decide::{Caller, Permit};

/// One header, and the name of the same fact in filter state, where it stands there, too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) header: &'static str,
    pub(super) fact: Option<Fact>,
    pub(super) value: Box<[u8]>,
}

/// A place for what is made once. It lies beside the identity, or the claims, that it is made from.
#[derive(Debug, Clone, Default)]
pub struct Kept(OnceCell<Rc<[Line]>>);

/// Where what is told of a caller is kept.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    /// What is told of the person; beside the identity.
    pub person: &'a Kept,
    /// What is told of the credential; beside its claims, or beside the identity that belongs to one key alone.
    pub credential: &'a Kept,
    /// What goes into filter state, too. The same as long as the places are.
    pub facts: &'a [Fact],
}

impl Prepared<'_> {
    pub(super) fn lines(self, permit: &Permit<'_>) -> [Rc<[Line]>; 2] {
        let caller = permit.caller();
        let person = self.person.0.get_or_init(|| self.only(person(caller)));
        let credential = self.credential.0.get_or_init(|| self.only(credential(caller)));
        [Rc::clone(person), Rc::clone(credential)]
    }

    fn only(self, mut lines: Vec<Line>) -> Rc<[Line]> {
        for line in &mut lines {
            line.fact = line.fact.filter(|fact| self.facts.contains(fact));
        }
        lines.into()
    }
}

fn person(caller: &Caller<'_>) -> Vec<Line> {
    let identity = caller.identity;
    let key_id = identity.key.as_ref().map(|key| key.id.as_str());
    let tokens = identity.tokens_remaining.map(|tokens| tokens.to_string());
    lines(&[
        (headers::USER_ID, Some(Fact::UserId), Some(identity.user_id.as_str())),
        (headers::ROLE, Some(Fact::Role), Some(identity.role.as_str())),
        (headers::EMAIL, None, identity.email.as_deref()),
        (headers::NAME, None, identity.name.as_deref()),
        (headers::CLERK_ID, None, identity.clerk_id.as_deref()),
        (headers::KEY_ID, Some(Fact::KeyId), key_id),
        (headers::SUBSCRIPTION, Some(Fact::Subscription), identity.subscription.as_deref()),
        (headers::TOKENS_REMAINING, None, tokens.as_deref()),
    ])
    .collect()
}

fn credential(caller: &Caller<'_>) -> Vec<Line> {
    let mut scopes = Vec::new();
    for scope in caller.scopes {
        if !scopes.is_empty() {
            scopes.push(b' ');
        }
        encode_into(&mut scopes, scope.as_bytes());
    }
    let scopes = Line { header: headers::SCOPES, fact: None, value: scopes.into() };
    lines(&[
        (headers::METHOD, Some(Fact::Method), Some(caller.method.as_str())),
        (headers::SESSION_ID, Some(Fact::SessionId), caller.session_id),
        (headers::ACTOR, Some(Fact::Actor), caller.actor),
    ])
    .chain(Some(scopes).filter(|scopes| !scopes.value.is_empty()))
    .collect()
}

/// What is absent or empty is not told.
fn lines(all: &[(&'static str, Option<Fact>, Option<&str>)]) -> impl Iterator<Item = Line> {
    all.iter().filter_map(|&(header, fact, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(Line { header, fact, value: encode(value).into() })
    })
}
