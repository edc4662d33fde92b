//! The compiled policy: which route a request takes and what that route asks for. Compiled once, when settings
//! arrive; it must not see a credential or an identity.

mod compile;
mod path;

pub use compile::{PolicyFault, RouteFault};
pub use path::{AmbiguousPath, unambiguous};
use tollgate_protocol::{Method, policy::Auth};

/// What a route asks for.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whether a credential is needed.
    pub auth: Auth,
    /// Whether each kind of credential is accepted.
    pub accept: Accepted,
    /// Whether the session cookie counts.
    pub session_cookie: bool,
    /// Roles of which one is needed; empty: any.
    pub roles: Box<[Box<str>]>,
    /// Scopes that are all needed.
    pub scopes: Box<[Box<str>]>,
    /// Subscriptions of which one is needed; empty: any.
    pub subscriptions: Box<[Box<str>]>,
    /// Whether the backend gets the credential.
    pub forward_credential: bool,
    /// Audience of the assertion that the backend gets.
    pub assertion: Option<Box<str>>,
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
    routes: Vec<Route>,
    fallback: Option<Rule>,
}

#[derive(Debug, Clone)]
struct Route {
    pattern: Pattern,
    methods: Box<[Box<str>]>,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// This path alone.
    Exact(Box<str>),
    /// This path (without its final slash) and everything below it.
    Below(Box<str>),
}

impl Pattern {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == path,
            Self::Below(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
        }
    }

    /// How narrow a pattern is: an exact path before any prefix, a longer prefix before a shorter one.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(path) => (true, path.len()),
            Self::Below(path) => (false, path.len()),
        }
    }
}

impl CompiledPolicy {
    /// The rule for a request; `None`: no rule allows it. `path` is unambiguous and without its query.
    pub fn rule(&self, method: &[u8], path: &[u8]) -> Option<&Rule> {
        // Routes are sorted, narrowest first, so the first that matches is the most specific.
        let route = self.routes.iter().find(|route| {
            let method_fits = route.methods.is_empty() || route.methods.iter().any(|m| m.as_bytes() == method);
            method_fits && route.pattern.matches(path)
        });
        route.map(|route| &route.rule).or(self.fallback.as_ref())
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            auth: Auth::Required,
            accept: Accepted::ALL,
            session_cookie: false,
            roles: Box::default(),
            scopes: Box::default(),
            subscriptions: Box::default(),
            forward_credential: false,
            assertion: None,
        }
    }
}

#[cfg(test)]
mod tests;
