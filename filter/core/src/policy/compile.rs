//! Wire policy to compiled policy. All faults are collected; a faulty policy is refused as a whole.

use tollgate_protocol::policy::{Fallback, Policy, Route as Wire};

use super::{Accepted, CompiledPolicy, Pattern, Route, Rule, path};

/// What is wrong with one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// Does not begin with a slash.
    #[error("path does not begin with '/'")]
    Relative,
    /// A pattern that an unambiguous path can never match, or that could be read in two ways.
    #[error("path can be read in more than one way")]
    Ambiguous,
    /// A `*` or `{` anywhere but in a final `/**`.
    #[error("only a final '/**' may stand for more than itself")]
    Wildcard,
    /// An HTTP method that is not an upper-case token.
    #[error("an HTTP method is not an upper-case word")]
    HttpMethod,
    /// Same pattern and same methods as an earlier route.
    #[error("an earlier route has the same path and methods")]
    Duplicate,
}

/// One faulty route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {index} ({path}): {fault}")]
pub struct PolicyFault {
    /// Place in the list, from 0.
    pub index: usize,
    /// Its path as written.
    pub path: String,
    /// What is wrong.
    pub fault: RouteFault,
}

impl CompiledPolicy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// All faults of all routes.
    pub fn compile(wire: &Policy) -> Result<Self, Vec<PolicyFault>> {
        let mut routes: Vec<Route> = Vec::with_capacity(wire.routes.len());
        let mut faults = Vec::new();
        for (index, route) in wire.routes.iter().enumerate() {
            match compile_route(route, &routes) {
                Ok(route) => routes.push(route),
                Err(fault) => faults.push(PolicyFault { index, path: route.path.clone(), fault }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        // A stable sort: between equals (same pattern, other methods) a named method goes before "all".
        routes.sort_by_key(|route| core::cmp::Reverse((route.pattern.rank(), !route.methods.is_empty())));
        let fallback = match wire.fallback {
            Fallback::Deny => None,
            Fallback::Authenticate => Some(Rule::default()),
        };
        Ok(Self { routes, fallback })
    }
}

fn compile_route(wire: &Wire, earlier: &[Route]) -> Result<Route, RouteFault> {
    let pattern = pattern(&wire.path)?;
    if wire.methods.iter().any(|m| m.is_empty() || !m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')) {
        return Err(RouteFault::HttpMethod);
    }
    let mut methods = boxed(&wire.methods);
    methods.sort();
    if earlier.iter().any(|route| route.pattern == pattern && route.methods == methods) {
        return Err(RouteFault::Duplicate);
    }
    let rule = Rule {
        auth: wire.auth,
        accept: Accepted::of(&wire.accept),
        session_cookie: wire.session_cookie,
        roles: boxed(&wire.roles),
        scopes: boxed(&wire.scopes),
        subscriptions: boxed(&wire.subscriptions),
        forward_credential: wire.forward_credential,
        assertion: wire.assertion.as_deref().map(Into::into),
    };
    Ok(Route { pattern, methods, rule })
}

fn pattern(text: &str) -> Result<Pattern, RouteFault> {
    if !text.starts_with('/') {
        return Err(RouteFault::Relative);
    }
    let (path, below) = match text.strip_suffix("/**") {
        Some(prefix) => (prefix, true),
        None => (text, false),
    };
    if path.contains(['*', '{', '}']) {
        return Err(RouteFault::Wildcard);
    }
    if !path.is_empty() && path::unambiguous(path.as_bytes()) != Ok(path.as_bytes()) {
        return Err(RouteFault::Ambiguous);
    }
    Ok(if below { Pattern::Below(path.into()) } else { Pattern::Exact(path.into()) })
}

fn boxed(texts: &[String]) -> Box<[Box<str>]> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
