//! What a backend is told of who is asking. It is the same for every request of a person and of a credential, so it is made
//! once, lies beside what it was made from, and goes when that goes. It must not see a request.

use core::cell::OnceCell;
use std::rc::Rc;

use tollgate_protocol::{config::Fact, headers};

use super::encode::encode_into;
use crate::decide::{Caller, Permit};

/// One header, and the name of the same fact in filter state, where it stands there, too.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    header: &'static str,
    fact: Option<Fact>,
    /// Where its value ends; it begins where that of the line before ends.
    end: usize,
}

/// What is told. All values lie in one piece of memory: they are read at each request, one after the other, and each piece
/// that is not in the processor's cache costs as much as a call to the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    lines: Box<[Line]>,
    values: Box<[u8]>,
}

impl Lines {
    /// Names of headers, with those of the same facts in filter state, and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, Option<Fact>, &[u8])> {
        let mut begin = 0;
        self.lines.iter().map(move |line| {
            let value = self.values.get(begin..line.end).unwrap_or_default();
            begin = line.end;
            (line.header, line.fact, value)
        })
    }
}

/// Lines that are being written.
struct Draft {
    lines: Vec<Line>,
    values: Vec<u8>,
}

impl Draft {
    /// With room for what is usual.
    fn new() -> Self {
        Self { lines: Vec::with_capacity(8), values: Vec::with_capacity(256) }
    }

    /// Adds a line. What is absent or empty is not told.
    fn add(&mut self, header: &'static str, fact: Option<Fact>, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            encode_into(&mut self.values, value.as_bytes());
            self.end(header, fact);
        }
    }

    /// What was added to the values since the last line is that of another one.
    fn end(&mut self, header: &'static str, fact: Option<Fact>) {
        self.lines.push(Line { header, fact, end: self.values.len() });
    }
}

/// A place for what is made once. It lies beside the identity, or the claims, that it is made from.
#[derive(Debug, Clone, Default)]
pub struct Kept(OnceCell<Rc<Lines>>);

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
    pub(super) fn lines(self, permit: &Permit<'_>) -> [Rc<Lines>; 2] {
        let caller = permit.caller();
        let person = self.person.0.get_or_init(|| self.only(person(caller)));
        let credential = self.credential.0.get_or_init(|| self.only(credential(caller)));
        [Rc::clone(person), Rc::clone(credential)]
    }

    fn only(self, mut draft: Draft) -> Rc<Lines> {
        for line in &mut draft.lines {
            line.fact = line.fact.filter(|fact| self.facts.contains(fact));
        }
        Rc::new(Lines { lines: draft.lines.into(), values: draft.values.into() })
    }
}

fn person(caller: &Caller<'_>) -> Draft {
    let identity = caller.identity;
    let key_id = identity.key.as_ref().map(|key| key.id.as_str());
    let tokens = identity.tokens_remaining.map(|tokens| tokens.to_string());
    let mut draft = Draft::new();
    draft.add(headers::USER_ID, Some(Fact::UserId), Some(identity.user_id.as_str()));
    draft.add(headers::ROLE, Some(Fact::Role), Some(identity.role.as_str()));
    draft.add(headers::EMAIL, None, identity.email.as_deref());
    draft.add(headers::NAME, None, identity.name.as_deref());
    draft.add(headers::CLERK_ID, None, identity.clerk_id.as_deref());
    draft.add(headers::KEY_ID, Some(Fact::KeyId), key_id);
    draft.add(headers::SUBSCRIPTION, Some(Fact::Subscription), identity.subscription.as_deref());
    draft.add(headers::TOKENS_REMAINING, None, tokens.as_deref());
    draft
}

fn credential(caller: &Caller<'_>) -> Draft {
    let mut draft = Draft::new();
    draft.add(headers::METHOD, Some(Fact::Method), Some(caller.method.as_str()));
    draft.add(headers::SESSION_ID, Some(Fact::SessionId), caller.session_id);
    draft.add(headers::ACTOR, Some(Fact::Actor), caller.actor);
    let begin = draft.values.len();
    for scope in caller.scopes {
        if draft.values.len() > begin {
            draft.values.push(b' ');
        }
        encode_into(&mut draft.values, scope.as_bytes());
    }
    if draft.values.len() > begin {
        draft.end(headers::SCOPES, None);
    }
    draft
}
