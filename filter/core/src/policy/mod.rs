//! The compiled policy: which route a request takes and what that route asks for. Compiled once, when settings
//! arrive; it must not see a credential or an identity.

mod compile;
mod path;
mod tree;

use std::rc::Rc;

pub use compile::{LimitFault, PolicyFault, RouteFault};
pub use path::{AmbiguousPath, unambiguous};
use tollgate_protocol::{
    Method,
    policy::{Auth, Cost, Mode},
};
use tree::Node;

use crate::limits::Limits;

/// What a route asks for.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whether a credential is needed.
    pub auth: Auth,
    /// Whether each kind of credential is accepted.
    pub accept: Accepted,
    /// Whether the session cookie counts.
    pub session_cookie: bool,
    /// Whether Clerk's tokens are accepted there only.
    pub cookie_only: bool,
    /// Roles of which one is needed; empty: any.
    pub roles: Box<[Box<str>]>,
    /// Scopes that are all needed.
    pub scopes: Box<[Box<str>]>,
    /// Subscriptions of which one is needed; empty: any.
    pub subscriptions: Box<[Box<str>]>,
    /// Which segment of the path, counted from 0, must be the caller's own user id.
    pub owner: Option<usize>,
    /// Limits that hold for clients by their addresses, whoever they say they are.
    pub address_limits: Limits,
    /// Limits that hold for whoever may pass.
    pub limits: Limits,
    /// The route as it is written, for limits by endpoint.
    pub endpoint: Box<str>,
    /// Whether the verdict is carried out.
    pub mode: Mode,
    /// Whether the backend gets the credential.
    pub forward_credential: bool,
    /// Audience of the assertion that the backend gets.
    pub assertion: Option<Box<str>>,
    /// What a request costs its user. Shared with the requests that are under way when the rules change.
    pub cost: Option<Rc<Cost>>,
}

/// A set of kinds of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    api_key: bool,
    clerk: bool,
    legacy: bool,
}

impl Accepted {
    /// Every kind.
    pub const ALL: Self = Self { api_key: true, clerk: true, legacy: true };

    /// The kinds listed; an empty list stands for all.
    pub fn of(kinds: &[Method]) -> Self {
        if kinds.is_empty() {
            return Self::ALL;
        }
        let has = |kind| kinds.contains(&kind);
        Self { api_key: has(Method::ApiKey), clerk: has(Method::Clerk), legacy: has(Method::Legacy) }
    }

    /// Whether this kind is in the set.
    pub const fn has(self, kind: Method) -> bool {
        match kind {
            Method::ApiKey => self.api_key,
            Method::Clerk => self.clerk,
            Method::Legacy => self.legacy,
        }
    }
}

/// All routes, indexed. The default denies everything.
#[derive(Debug, Clone, Default)]
pub struct CompiledPolicy {
    root: Node,
    fallback: Option<Rule>,
    counts_globally: bool,
    /// Of what no rule says.
    mode: Mode,
}

/// The rule that a request meets.
#[derive(Debug, Clone, Copy)]
pub struct Met<'p, 'r> {
    /// What it asks for.
    pub rule: &'p Rule,
    /// What stands in the path where the rule wants the caller's own user id.
    pub owner: Option<&'r [u8]>,
}

impl CompiledPolicy {
    /// The rule for a request; `None`: no rule allows it. `path` is unambiguous and without its query, `host` is what the
    /// client named (RFC 9110 section 7.2), with or without a port.
    pub fn rule<'p, 'r>(&'p self, method: &[u8], host: &[u8], path: &'r [u8]) -> Option<Met<'p, 'r>> {
        let rule = self.root.find(method, host, path).or(self.fallback.as_ref())?;
        Some(Met { rule, owner: rule.owner.and_then(|place| tree::segments(path).nth(place)) })
    }
}

impl CompiledPolicy {
    /// Whether there is a limit over all Envoys.
    pub fn counts_globally(&self) -> bool {
        self.counts_globally
    }

    /// Whether a refusal of this request is carried out. Asked only when there is one.
    pub fn mode(&self, method: &[u8], host: &[u8], path: &[u8]) -> Mode {
        let met = unambiguous(path).ok().and_then(|path| self.rule(method, host, path));
        met.map_or(self.mode, |met| met.rule.mode)
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            auth: Auth::Required,
            accept: Accepted::ALL,
            session_cookie: false,
            cookie_only: false,
            roles: Box::default(),
            scopes: Box::default(),
            subscriptions: Box::default(),
            owner: None,
            address_limits: Limits::default(),
            limits: Limits::default(),
            endpoint: Box::default(),
            mode: Mode::Enforce,
            forward_credential: false,
            assertion: None,
            cost: None,
        }
    }
}

#[cfg(test)]
mod tests;
