//! A permit to header changes: strip what is reserved, then set what is known. It must not see a token.

use std::{borrow::Cow, rc::Rc};

use tollgate_protocol::{
    Code, Method, headers,
    policy::{Cost, Counted, Mode},
};

use super::{
    assertion,
    lines::{Lines, Prepared},
};
use crate::{credits::Charge, decide::Permit, extract, policy::Rule, request::RequestView, settings::Signer};

const ACCEPT_ENCODING: &[u8] = b"accept-encoding";

/// What to change in a request before it goes on. Removals come first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderPlan {
    /// Names to remove, in the client's spelling.
    pub remove: Vec<Cow<'static, [u8]>>,
    /// What is told of the person, and of the credential: the same for each of its requests.
    who: [Rc<Lines>; 2],
    /// What is told of this request alone: names and values of headers.
    more: Vec<(&'static str, Vec<u8>)>,
    /// What the answer tells about limits, whoever gives it: names and values to set.
    pub answer: Vec<(&'static str, Vec<u8>)>,
    /// Which kind of credential let the request through; `None`: it passes without an identity.
    pub method: Option<Method>,
    /// On a route that is only watched: what the verdict would be.
    pub shadow: Option<Result<(), Code>>,
    /// What is set aside for the request, where it costs something.
    pub charge: Option<Box<Charge>>,
}

impl HeaderPlan {
    /// The plan for a request that passes without an identity.
    pub fn anonymous(rule: &Rule, request: &RequestView<'_>) -> Self {
        let mut plan = Self { remove: reserved(request), ..Self::default() };
        plan.watch(rule);
        plan
    }

    /// The plan for a request that would be refused, on a route that is only watched.
    pub fn refused_in_shadow(code: Code, request: &RequestView<'_>) -> Self {
        let mut plan = Self { remove: reserved(request), ..Self::default() };
        plan.tell(Err(code));
        plan
    }

    fn watch(&mut self, rule: &Rule) {
        if rule.mode == Mode::Shadow {
            self.tell(Ok(()));
        }
    }

    fn tell(&mut self, verdict: Result<(), Code>) {
        self.more.push((headers::SHADOW, word(verdict).into()));
        self.shadow = Some(verdict);
    }

    /// Names and values of headers to set.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let who = self.who.iter().flat_map(|lines| lines.iter().map(|(header, _, value)| (header, value)));
        who.chain(self.more.iter().map(|(name, value)| (*name, value.as_slice())))
    }

    /// The value of a header to set.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(set, _)| *set == name).map(|(_, value)| value)
    }

    /// The same facts for filter state: names below `wasm.`, and values.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let who = self.who.iter().flat_map(|lines| lines.iter());
        let who = who.filter_map(|(_, fact, value)| Some((fact?.as_str(), value)));
        who.chain(self.shadow.map(|verdict| ("tollgate.shadow", word(verdict))))
    }

    /// The plan for a request that is allowed. `now_seconds` dates the assertion.
    pub fn permitted(
        permit: &Permit<'_>,
        prepared: Prepared<'_>,
        rule: &Rule,
        signer: Option<&Signer>,
        request: &RequestView<'_>,
        now_seconds: u64,
    ) -> Self {
        let mut plan = Self {
            remove: reserved(request),
            who: prepared.lines(permit),
            method: Some(permit.caller().method),
            ..Self::default()
        };
        plan.credential(rule, request);
        if matches!(rule.cost.as_deref(), Some(Cost { counted: Counted::Body(_), .. })) && rule.mode == Mode::Enforce {
            // An answer that is compressed could not be read here.
            plan.remove.push(ACCEPT_ENCODING.into());
        }
        plan.watch(rule);
        if let (Some(audience), Some(signer)) = (&rule.assertion, signer) {
            plan.more.push((headers::ASSERTION, assertion::sign(signer, permit, audience, now_seconds)));
        }
        plan
    }

    /// Takes every credential out of the forwarded request, also one that did not decide: nobody has verified it. Where
    /// the route is only watched, whoever has looked at it so far still does.
    fn credential(&mut self, rule: &Rule, request: &RequestView<'_>) {
        if rule.forward_credential || rule.mode == Mode::Shadow {
            return;
        }
        for (field, name) in [(request.api_key, headers::API_KEY), (request.authorization, headers::AUTHORIZATION)] {
            if field.one().is_some() {
                self.remove.push(name.as_bytes().into());
            }
        }
        if rule.session_cookie && !request.cookies.is_empty() {
            match extract::without_session(&request.cookies) {
                Some(rest) => self.more.push((headers::COOKIE, rest)),
                None => self.remove.push(headers::COOKIE.as_bytes().into()),
            }
        }
    }
}

fn word(verdict: Result<(), Code>) -> &'static [u8] {
    verdict.err().map_or("pass", Code::as_str).as_bytes()
}

fn reserved(request: &RequestView<'_>) -> Vec<Cow<'static, [u8]>> {
    let mut names: Vec<Cow<'static, [u8]>> = request.reserved.iter().map(|name| name.to_vec().into()).collect();
    names.sort();
    names.dedup();
    names
}
