//! Parts of a request other than its body, as arguments of handlers: the id in the path, the query, conditions. Every
//! fault is listed. It must not know what they are used for.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderValue, header, request::Parts},
};
use utoipa::openapi::{Object, ObjectBuilder, Schema, Type};

use super::{
    Shared,
    error::{ApiCode, Refusal},
    members::{one_of, words},
    openapi::{Draft, Input, Member},
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

impl Input for Id {
    fn describe(draft: &mut Draft) {
        draft.id();
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

impl Input for IfMatch {
    fn describe(draft: &mut Draft) {
        let meaning = "The ETag of the state that the change is meant for; without it, any.";
        draft.header("If-Match", false, meaning, Object::with_type(Type::String).into());
        draft.codes(&[ApiCode::Changed]);
    }
}

/// The header by which a client hears a revision.
pub(super) fn etag(revision: &Revision) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}\"", revision.as_str())).ok()
}

/// The query, read into `T`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// What a query is read into.
pub(super) trait FromQuery: Sized {
    /// Asks for every parameter. What it gives is not used where something is wrong.
    fn read(query: &mut Parameters) -> Self;
}

impl<T: FromQuery> Input for Query<T> {
    fn describe(draft: &mut Draft) {
        let mut parameters = Parameters { asked: Some(Vec::new()), ..Parameters::default() };
        T::read(&mut parameters);
        draft.query(parameters.asked.unwrap_or_default());
    }
}

/// The parameters of a query, each one once.
#[derive(Default)]
pub(super) struct Parameters {
    given: BTreeMap<String, String>,
    faults: Vec<(String, String)>,
    /// What has been asked for, where that is the question.
    asked: Option<Vec<Member>>,
}

impl<T: FromQuery> FromRequestParts<Shared> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, shared).await;
        let axum::extract::Query(pairs) = pairs.map_err(|_| fault("query", "cannot be read"))?;
        let mut query = Parameters::default();
        for (name, value) in pairs {
            if query.given.insert(name.clone(), value).is_some() {
                query.fault(&name, "is there twice");
            }
        }
        let read = T::read(&mut query);
        query.end().map(|()| Self(read))
    }
}

impl Parameters {
    fn note(&mut self, name: &'static str, schema: impl FnOnce() -> Schema) {
        if let Some(asked) = &mut self.asked {
            asked.push(Member { name, schema: schema(), needed: false });
        }
    }

    fn fault(&mut self, name: &str, problem: &str) {
        // The name comes from the client; what does not fit is cut.
        self.faults.push((name.chars().take(64).collect(), problem.to_owned()));
    }

    /// A text of 1 to 256 bytes without control characters.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.note(name, || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).build().into());
        let text = self.given.remove(name)?;
        if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        self.fault(name, "must have 1 to 256 bytes, no control characters");
        None
    }

    /// A word of a closed set.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: &'static [T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        self.note(name, || words(all.iter().map(|one| word(*one))));
        let problem = one_of(all.iter().map(|one| word(*one)));
        self.parsed(name, &problem, |text| all.iter().copied().find(|one| word(*one) == text))
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, name: &'static str) -> Option<bool> {
        self.note(name, || Object::with_type(Type::Boolean).into());
        self.parsed(name, "must be true or false", |text| text.parse().ok())
    }

    fn parsed<T>(&mut self, name: &str, problem: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.given.remove(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.fault(name, problem);
        }
        value
    }

    /// How many records are asked for, and after which place: `limit` and `cursor`.
    pub(super) fn page(&mut self) -> (usize, Option<PageKey>) {
        (self.limit(), self.cursor(PageKey::parse))
    }

    /// After which place, as an earlier page has named it.
    pub(super) fn cursor<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.note("cursor", || Object::with_type(Type::String).into());
        self.parsed("cursor", "must be the cursor of an earlier page", parse)
    }

    /// How many records are asked for.
    pub(super) fn limit(&mut self) -> usize {
        self.note("limit", || {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            number.minimum(Some(1)).maximum(Some(MAX_PAGE)).build().into()
        });
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        self.parsed("limit", "must be between 1 and 200", parse).unwrap_or(DEFAULT_PAGE)
    }

    /// Every fault, also parameters that nobody has asked for.
    fn end(mut self) -> Result<(), Refusal> {
        for name in std::mem::take(&mut self.given).into_keys() {
            self.fault(&name, "is not known here");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.faults)) }
    }
}

fn fault(name: &str, problem: &str) -> Refusal {
    Refusal::invalid(vec![(name.to_owned(), problem.to_owned())])
}
