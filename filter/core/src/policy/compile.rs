//! Wire policy to compiled policy. All faults are collected; a faulty policy is refused as a whole.

use std::{collections::BTreeMap, rc::Rc};

use tollgate_protocol::policy::{Auth, By, Fallback, Limit as WireLimit, Policy, Route as Wire, Scope};

use super::{
    Accepted, CompiledPolicy, Rule, path,
    tree::{Host, Leaf, Node, Segment},
};
use crate::limits::{Limit, Limits, Pace, Tells};

/// What is wrong with one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// Does not begin with a slash.
    #[error("path does not begin with '/'")]
    Relative,
    /// A pattern that an unambiguous path can never match, or that could be read in two ways.
    #[error("path can be read in more than one way")]
    Ambiguous,
    /// A `*` anywhere but in a final `/**`, or a `{` or `}` anywhere but around the name of a whole segment.
    #[error("only a final '/**' and whole segments such as '{{user_id}}' may stand for more than themselves")]
    Wildcard,
    /// The same name for two segments.
    #[error("two segments have the same name")]
    NameTwice,
    /// A host that no client can name, or a wildcard in it that is not a leading `*.`.
    #[error("host is neither a name such as api.example.com nor all names below one such as *.example.com")]
    Host,
    /// An owner that no segment is named after, or a route that nobody has to own.
    #[error("owner is not the name of a segment, or the route needs no credential")]
    Owner,
    /// A cost of nothing or too much, counted nowhere, or of a route that nobody has to be known for.
    #[error("the cost is 0 or too high, names no header or member, or the route needs no credential")]
    Cost,
    /// An HTTP method that is not an upper-case token.
    #[error("an HTTP method is not an upper-case word")]
    HttpMethod,
    /// A limit that is not there, or is named twice.
    #[error("a limit is not there, or is named twice")]
    Limit,
    /// A limit of users or keys on a route that looks at no credential.
    #[error("a limit counts users or keys, but the route looks at no credential")]
    LimitOfNobody,
    /// Same pattern and host as an earlier route, and a method of it.
    #[error("an earlier route has the same path, host and method")]
    Duplicate,
}

/// What is wrong with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// Its name is no plain word.
    #[error("the name has other characters than small letters, digits, '-' and '_'")]
    Name,
    /// No rate, or tiers that leave somebody without one.
    #[error("there is neither a rate nor a tier \"free\" for whoever has no other")]
    NoRate,
    /// A rate with a 0 in it, or a bucket that takes longer than a year to fill.
    #[error("a rate is 0, or its burst takes longer than a year to come back")]
    Rate,
    /// Tiers where nobody has a subscription.
    #[error("addresses and endpoints have no tiers")]
    Tiers,
}

/// One faulty route or limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// A route.
    #[error("route {index} ({path}): {fault}")]
    Route {
        /// Place in the list, from 0.
        index: usize,
        /// Its path as written.
        path: String,
        /// What is wrong.
        fault: RouteFault,
    },
    /// A limit.
    #[error("limit {name}: {fault}")]
    Limit {
        /// Its name.
        name: String,
        /// What is wrong.
        fault: LimitFault,
    },
}

impl CompiledPolicy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// All faults of all limits and routes.
    pub fn compile(wire: &Policy) -> Result<Self, Vec<PolicyFault>> {
        let mut root = Node::default();
        let mut faults = Vec::new();
        let mut limits = BTreeMap::new();
        for (name, limit) in &wire.limits {
            match compile_limit(name, limit) {
                Ok(limit) => drop(limits.insert(name.as_str(), Some(Rc::new(limit)))),
                Err(fault) => {
                    // It is there: routes that name it are not faulty for it.
                    limits.insert(name, None);
                    faults.push(PolicyFault::Limit { name: name.clone(), fault });
                }
            }
        }
        for (index, route) in wire.routes.iter().enumerate() {
            if let Err(fault) = compile_route(route, &limits, &mut root) {
                faults.push(PolicyFault::Route { index, path: route.path.clone(), fault });
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let fallback = match wire.fallback {
            Fallback::Deny => None,
            Fallback::Authenticate => Some(Rule { mode: wire.mode, ..Rule::default() }),
        };
        let counts_globally = wire.limits.values().any(|limit| limit.scope == Scope::Global);
        Ok(Self { root, fallback, counts_globally, mode: wire.mode })
    }
}

fn compile_limit(name: &str, wire: &WireLimit) -> Result<Limit, LimitFault> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fine) {
        return Err(LimitFault::Name);
    }
    if matches!(wire.by, By::Address | By::Endpoint) && !wire.tiers.is_empty() {
        return Err(LimitFault::Tiers);
    }
    let pace = |rate| Pace::of(rate).ok_or(LimitFault::Rate);
    let rate = pace(wire.rate.or_else(|| wire.tiers.get("free").copied()).ok_or(LimitFault::NoRate)?)?;
    let tiers = wire.tiers.iter().map(|(tier, rate)| pace(*rate).map(|pace| (tier.as_str().into(), pace)));
    let tiers = tiers.collect::<Result<_, _>>()?;
    Ok(Limit { name: name.into(), by: wire.by, scope: wire.scope, tells: Tells::of(&wire.headers), rate, tiers })
}

/// Compiled limits by name; `None` for a faulty one.
type Known<'w> = BTreeMap<&'w str, Option<Rc<Limit>>>;

/// The limits of a route: those of addresses, and the others.
fn limits(wire: &Wire, known: &Known<'_>) -> Result<(Limits, Limits), RouteFault> {
    let (mut addresses, mut others) = (Vec::new(), Vec::new());
    for (at, name) in wire.limits.iter().enumerate() {
        let is_twice = wire.limits.iter().take(at).any(|earlier| earlier == name);
        let Some(limit) = known.get(name.as_str()).filter(|_| !is_twice) else { return Err(RouteFault::Limit) };
        let Some(limit) = limit else { continue };
        match limit.by {
            By::Address => addresses.push(Rc::clone(limit)),
            By::User | By::Key if wire.auth == Auth::None => return Err(RouteFault::LimitOfNobody),
            By::User | By::Key | By::Endpoint => others.push(Rc::clone(limit)),
        }
    }
    Ok((addresses.into(), others.into()))
}

fn compile_route(wire: &Wire, known: &Known<'_>, root: &mut Node) -> Result<(), RouteFault> {
    let (path, names, is_prefix) = pattern(&wire.path)?;
    let host = host(wire.host.as_deref())?;
    if wire.methods.iter().any(|m| m.is_empty() || !m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')) {
        return Err(RouteFault::HttpMethod);
    }
    let mut methods = boxed(&wire.methods);
    methods.sort();
    let owner = match &wire.owner {
        None => None,
        // Whoever needs no credential may be nobody, and nobody owns nothing.
        Some(name) if wire.auth == Auth::Required => {
            Some(names.iter().position(|known| *known == Some(name.as_str())).ok_or(RouteFault::Owner)?)
        }
        Some(_) => return Err(RouteFault::Owner),
    };
    if wire.cost.as_ref().is_some_and(|cost| !cost.is_sound() || wire.auth != Auth::Required) {
        return Err(RouteFault::Cost);
    }
    let (address_limits, limits) = limits(wire, known)?;
    let rule = Rule {
        auth: wire.auth,
        accept: Accepted::of(&wire.accept),
        session_cookie: wire.session_cookie,
        cookie_only: wire.cookie_only,
        roles: boxed(&wire.roles),
        scopes: boxed(&wire.scopes),
        subscriptions: boxed(&wire.subscriptions),
        owner,
        address_limits,
        limits,
        endpoint: endpoint(wire, &methods),
        mode: wire.mode,
        forward_credential: wire.forward_credential,
        assertion: wire.assertion.as_deref().map(Into::into),
        cost: wire.cost.clone().map(Rc::new),
    };
    if root.add(&path, is_prefix, Leaf { host, methods, rule }) { Ok(()) } else { Err(RouteFault::Duplicate) }
}

/// The route as it is written, the same for the same route however its members are ordered.
fn endpoint(wire: &Wire, methods: &[Box<str>]) -> Box<str> {
    format!("{} {}{}", methods.join(","), wire.host.as_deref().unwrap_or_default(), wire.path).into()
}

/// The segments of a path pattern, their names, and whether everything below it is meant, too.
type Parsed<'t> = (Vec<Segment>, Vec<Option<&'t str>>, bool);

fn pattern(text: &str) -> Result<Parsed<'_>, RouteFault> {
    if !text.starts_with('/') {
        return Err(RouteFault::Relative);
    }
    let (path, is_prefix) = match text.strip_suffix("/**") {
        Some(prefix) => (prefix, true),
        None => (text, false),
    };
    let (mut segments, mut names, mut plain) = (Vec::new(), Vec::new(), String::new());
    for segment in path.split('/').skip(1) {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if name.unwrap_or(segment).contains(['*', '{', '}']) || name.is_some_and(|name| !is_name(name)) {
            return Err(RouteFault::Wildcard);
        }
        if name.is_some() && names.contains(&name) {
            return Err(RouteFault::NameTwice);
        }
        plain.push('/');
        // A name stands for any segment; what is left has to be a path of one reading.
        plain.push_str(if name.is_some() { "name" } else { segment });
        segments.push(match name {
            Some(_) => Segment::Any,
            None => Segment::Literal(segment.as_bytes().into()),
        });
        names.push(name);
    }
    if !plain.is_empty() && path::unambiguous(plain.as_bytes()) != Ok(plain.as_bytes()) {
        return Err(RouteFault::Ambiguous);
    }
    Ok((segments, names, is_prefix))
}

/// `user_id`
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn host(text: Option<&str>) -> Result<Host, RouteFault> {
    let Some(text) = text else { return Ok(Host::Any) };
    let below = text.strip_prefix("*.");
    let name = below.unwrap_or(text);
    let is_label = |label: &str| {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fine)
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(RouteFault::Host);
    }
    Ok(match below {
        Some(name) => Host::Below(format!(".{name}").into()),
        None => Host::Exact(name.into()),
    })
}

fn boxed(texts: &[String]) -> Box<[Box<str>]> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
