//! A permit to header changes: strip what is reserved, then set what is known. It must not see a token.

use tollgate_protocol::{
    Code, Method, headers,
    policy::{Cost, Counted, Mode},
};

use super::{
    Facts, assertion,
    encode::{encode, encode_into},
};
use crate::{credits::Charge, decide::Permit, extract, policy::Rule, request::RequestView, settings::Signer};

const ACCEPT_ENCODING: &[u8] = b"accept-encoding";

/// What to change in a request before it goes on. Removals come first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderPlan {
    /// Names to remove, in the client's spelling.
    pub remove: Vec<Vec<u8>>,
    /// Names and values to set.
    pub set: Vec<(&'static str, Vec<u8>)>,
    /// The same facts for filter state.
    pub facts: Facts,
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
        let word = verdict.err().map_or("pass", Code::as_str).as_bytes().to_vec();
        self.facts.push(("tollgate.shadow", word.clone()));
        self.set.push((headers::SHADOW, word));
        self.shadow = Some(verdict);
    }

    /// The plan for a request that is allowed. `now_seconds` dates the assertion.
    pub fn permitted(
        permit: &Permit<'_>,
        rule: &Rule,
        signer: Option<&Signer>,
        request: &RequestView<'_>,
        now_seconds: u64,
    ) -> Self {
        let mut plan = Self {
            remove: reserved(request),
            set: Vec::with_capacity(12),
            facts: Vec::with_capacity(6),
            answer: Vec::new(),
            method: Some(permit.caller().method),
            shadow: None,
            charge: None,
        };
        plan.credential(rule, request);
        if matches!(rule.cost.as_deref(), Some(Cost { counted: Counted::Body(_), .. })) && rule.mode == Mode::Enforce {
            // An answer that is compressed could not be read here.
            plan.remove.push(ACCEPT_ENCODING.to_vec());
        }
        plan.identity(permit);
        plan.watch(rule);
        if let (Some(audience), Some(signer)) = (&rule.assertion, signer) {
            plan.set.push((headers::ASSERTION, assertion::sign(signer, permit, audience, now_seconds)));
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
                self.remove.push(name.as_bytes().to_vec());
            }
        }
        if rule.session_cookie && !request.cookies.is_empty() {
            match extract::without_session(&request.cookies) {
                Some(rest) => self.set.push((headers::COOKIE, rest)),
                None => self.remove.push(headers::COOKIE.as_bytes().to_vec()),
            }
        }
    }

    fn identity(&mut self, permit: &Permit<'_>) {
        let caller = permit.caller();
        let identity = caller.identity;
        let key_id = identity.key.as_ref().map(|key| key.id.as_str());
        let tokens = identity.tokens_remaining.map(|tokens| tokens.to_string());
        for (name, fact, value) in [
            (headers::USER_ID, Some("tollgate.user_id"), Some(identity.user_id.as_str())),
            (headers::METHOD, Some("tollgate.method"), Some(caller.method.as_str())),
            (headers::ROLE, Some("tollgate.role"), Some(identity.role.as_str())),
            (headers::EMAIL, None, identity.email.as_deref()),
            (headers::NAME, None, identity.name.as_deref()),
            (headers::CLERK_ID, None, identity.clerk_id.as_deref()),
            (headers::SESSION_ID, Some("tollgate.session_id"), caller.session_id),
            (headers::KEY_ID, Some("tollgate.key_id"), key_id),
            (headers::SUBSCRIPTION, Some("tollgate.subscription"), identity.subscription.as_deref()),
            (headers::TOKENS_REMAINING, None, tokens.as_deref()),
            (headers::ACTOR, Some("tollgate.actor"), caller.actor),
        ] {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let value = encode(value);
            if let Some(fact) = fact {
                self.facts.push((fact, value.clone()));
            }
            self.set.push((name, value));
        }
        let mut scopes = Vec::new();
        for scope in caller.scopes {
            if !scopes.is_empty() {
                scopes.push(b' ');
            }
            encode_into(&mut scopes, scope.as_bytes());
        }
        if !scopes.is_empty() {
            self.set.push((headers::SCOPES, scopes));
        }
    }
}

fn reserved(request: &RequestView<'_>) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = request.reserved.iter().map(|name| name.to_vec()).collect();
    names.sort();
    names.dedup();
    names
}
