//! Routes by the segments of their paths, so that finding one takes as long with ten thousand as with ten. It must not know
//! what a rule asks for.

use std::collections::BTreeMap;

use super::Rule;

/// What a path pattern says of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this.
    Literal(Box<[u8]>),
    /// Anything that is not empty.
    Any,
}

/// A host pattern, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Every host.
    Any,
    /// Names that end so, and have something before it; begins with a dot.
    Below(Box<str>),
    /// This name.
    Exact(Box<str>),
}

impl Host {
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
            Self::Below(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|before| *before > 0)
                .and_then(|before| host.get(before..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }

    /// How narrow: a name, a longer suffix, a shorter one, any.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Below(suffix) => (1, suffix.len()),
            Self::Exact(_) => (2, 0),
        }
    }
}

/// A route at the end of its path.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) host: Host,
    /// Sorted; empty: all.
    pub(super) methods: Box<[Box<str>]>,
    pub(super) rule: Rule,
}

impl Leaf {
    fn takes(&self, method: &[u8], host: &[u8]) -> bool {
        let by_method = self.methods.is_empty() || self.methods.iter().any(|known| known.as_bytes() == method);
        by_method && self.host.matches(host)
    }

    /// Whether some request would find both, and neither before the other.
    fn collides(&self, other: &Self) -> bool {
        let same_methods = match (self.methods.is_empty(), other.methods.is_empty()) {
            (true, true) => true,
            (false, false) => self.methods.iter().any(|method| other.methods.contains(method)),
            _ => false,
        };
        self.host == other.host && same_methods
    }
}

/// Routes whose paths begin in the same way.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    literals: BTreeMap<Box<[u8]>, Node>,
    any: Option<Box<Node>>,
    /// Routes whose path ends here; narrowest first.
    exact: Vec<Leaf>,
    /// Routes for this path and everything below it; narrowest first.
    below: Vec<Leaf>,
}

/// The segments of a path that begins with a slash. `/a/` has two, the second one empty.
pub(super) fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(1)
}

impl Node {
    /// Adds a route; false where an earlier one would be found by the same requests.
    pub(super) fn add(&mut self, path: &[Segment], is_prefix: bool, leaf: Leaf) -> bool {
        match path.split_first() {
            Some((Segment::Literal(text), rest)) => {
                self.literals.entry(text.clone()).or_default().add(rest, is_prefix, leaf)
            }
            Some((Segment::Any, rest)) => self.any.get_or_insert_default().add(rest, is_prefix, leaf),
            None => {
                let leaves = if is_prefix { &mut self.below } else { &mut self.exact };
                if leaves.iter().any(|known| known.collides(&leaf)) {
                    return false;
                }
                leaves.push(leaf);
                // Between equals the earlier one stays the first: the sort is stable.
                leaves.sort_by_key(|leaf| core::cmp::Reverse((leaf.host.rank(), !leaf.methods.is_empty())));
                true
            }
        }
    }

    /// The most specific route: at the first segment in which two differ, a literal goes before a name, and a name before
    /// `**`. A route for other methods or hosts is none, and the next one is looked for.
    pub(super) fn find(&self, method: &[u8], host: &[u8], path: &[u8]) -> Option<&Rule> {
        let host = without_port(host);
        self.walk(method, host, path.strip_prefix(b"/")).map(|leaf| &leaf.rule)
    }

    /// `rest`: what is left of the path behind a slash; `None`: it has ended.
    fn walk(&self, method: &[u8], host: &[u8], rest: Option<&[u8]>) -> Option<&Leaf> {
        let takes = |leaf: &&Leaf| leaf.takes(method, host);
        let below = || self.below.iter().find(takes);
        let Some(rest) = rest else {
            return self.exact.iter().find(takes).or_else(below);
        };
        let (segment, rest) = match rest.iter().position(|byte| *byte == b'/') {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at.saturating_add(1)..)),
            None => (rest, None),
        };
        let literal = self.literals.get(segment).and_then(|node| node.walk(method, host, rest));
        let any = || self.any.as_ref().filter(|_| !segment.is_empty())?.walk(method, host, rest);
        literal.or_else(any).or_else(below)
    }
}

/// The name alone: `a.example:8443` is `a.example`, `[::1]:80` is `[::1]`.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) => match host.get(at..) {
            Some([b':', digits @ ..]) if digits.iter().all(u8::is_ascii_digit) => host.get(..at).unwrap_or(host),
            _ => host,
        },
        None => host,
    }
}
