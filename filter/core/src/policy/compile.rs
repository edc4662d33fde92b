//! Wire policy to compiled policy. All faults are collected; a faulty policy is refused as a whole.

use std::rc::Rc;

use tollgate_protocol::policy::{Auth, Fallback, Policy, Route as Wire};

use super::{
    Accepted, CompiledPolicy, Rule, path,
    tree::{Host, Leaf, Node, Segment},
};

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
    /// Same pattern and host as an earlier route, and a method of it.
    #[error("an earlier route has the same path, host and method")]
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
        let mut root = Node::default();
        let mut faults = Vec::new();
        for (index, route) in wire.routes.iter().enumerate() {
            if let Err(fault) = compile_route(route, &mut root) {
                faults.push(PolicyFault { index, path: route.path.clone(), fault });
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let fallback = match wire.fallback {
            Fallback::Deny => None,
            Fallback::Authenticate => Some(Rule { mode: wire.mode, ..Rule::default() }),
        };
        Ok(Self { root, fallback, mode: wire.mode })
    }
}

fn compile_route(wire: &Wire, root: &mut Node) -> Result<(), RouteFault> {
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
    let rule = Rule {
        auth: wire.auth,
        accept: Accepted::of(&wire.accept),
        session_cookie: wire.session_cookie,
        roles: boxed(&wire.roles),
        scopes: boxed(&wire.scopes),
        subscriptions: boxed(&wire.subscriptions),
        owner,
        mode: wire.mode,
        forward_credential: wire.forward_credential,
        assertion: wire.assertion.as_deref().map(Into::into),
        cost: wire.cost.clone().map(Rc::new),
    };
    if root.add(&path, is_prefix, Leaf { host, methods, rule }) { Ok(()) } else { Err(RouteFault::Duplicate) }
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
