//! Parts of a request other than its body, as arguments of handlers: the id in the path, the query, conditions. Every
//! fault is listed. It must not know what they are used for.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderValue, header, request::Parts},
};

use super::{
    Shared,
    error::{ApiCode, Refusal},
};
use crate::{
    domain::{PageKey, Revision},
    service::MAX_PAGE,
};

/// Records of one page where nothing else is asked for.
const DEFAULT_PAGE: usize = 50;

/// The `{id}` of the path. What cannot be decoded is nothing's id.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl FromRequestParts<Shared> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, shared).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Refusal::new(ApiCode::NotFound))
    }
}

/// `If-Match` (RFC 9110 section 13.1.1): the state that a change is meant for. Absent or `*`: any.
#[derive(Debug)]
pub(super) struct IfMatch(pub(super) Option<Revision>);

impl FromRequestParts<Shared> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Refusal> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return match parts.headers.contains_key(header::IF_MATCH) {
                true => Err(fault("if-match", "must be there once")),
                false => Ok(Self(None)),
            };
        };
        match value.to_str().ok().map(str::trim) {
            Some("*") => Ok(Self(None)),
            Some(text) => {
                let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                let tag = tag.filter(|tag| tag.bytes().all(|b| b.is_ascii_alphanumeric()));
                tag.map(|tag| Self(Some(Revision::new(tag))))
                    .ok_or_else(|| fault("if-match", "must be one ETag of ours"))
            }
            None => Err(fault("if-match", "must be one ETag of ours")),
        }
    }
}

/// The header by which a client hears a revision.
pub(super) fn etag(revision: &Revision) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}\"", revision.as_str())).ok()
}

/// The query, each parameter once.
#[derive(Debug, Default)]
pub(super) struct Query {
    given: BTreeMap<String, String>,
    faults: Vec<(String, String)>,
}

impl FromRequestParts<Shared> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, shared).await;
        let axum::extract::Query(pairs) = pairs.map_err(|_| fault("query", "cannot be read"))?;
        let mut query = Self::default();
        for (name, value) in pairs {
            if query.given.insert(name.clone(), value).is_some() {
                query.fault(&name, "is there twice");
            }
        }
        Ok(query)
    }
}

impl Query {
    fn fault(&mut self, name: &str, problem: &str) {
        // The name comes from the client; what does not fit is cut.
        self.faults.push((name.chars().take(64).collect(), problem.to_owned()));
    }

    /// A text of 1 to 256 bytes without control characters.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.given.remove(name)?;
        if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        self.fault(name, "must have 1 to 256 bytes, no control characters");
        None
    }

    /// What `parse` makes of a parameter; `problem` says what it must be.
    pub(super) fn parsed<T>(&mut self, name: &str, problem: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.given.remove(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.fault(name, problem);
        }
        value
    }

    /// How many records are asked for, and after which place: `limit` and `cursor`.
    pub(super) fn page(&mut self) -> (usize, Option<PageKey>) {
        let after = self.parsed("cursor", "is none that we gave", PageKey::parse);
        (self.limit(), after)
    }

    /// How many records are asked for.
    pub(super) fn limit(&mut self) -> usize {
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        self.parsed("limit", "must be between 1 and 200", parse).unwrap_or(DEFAULT_PAGE)
    }

    /// Every fault, also parameters that nobody has asked for.
    pub(super) fn end(mut self) -> Result<(), Refusal> {
        for name in std::mem::take(&mut self.given).into_keys() {
            self.fault(&name, "is not known here");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.faults)) }
    }
}

fn fault(name: &str, problem: &str) -> Refusal {
    Refusal::invalid(vec![(name.to_owned(), problem.to_owned())])
}
