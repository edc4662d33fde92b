//! The description of the public API (OpenAPI 3.1), made from the types of its handlers, and a page of it to read. It must
//! not list a route that the router does not have: both are made from one table.

mod draft;
mod page;

use std::{future::Future, sync::LazyLock};

use axum::{
    http::{Method, header},
    response::{Html, IntoResponse, Response},
};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, InfoBuilder, LicenseBuilder, OpenApi, Paths, SecurityRequirement,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

pub(super) use draft::{Draft, Input, Member, Output};

use super::{
    Shared, api,
    error::{ApiCode, Problem, Refusal},
};
use crate::assertion::Caller;

/// What may go wrong with every operation.
const ALWAYS: [ApiCode; 4] =
    [ApiCode::Internal, ApiCode::StoreUnavailable, ApiCode::TimedOut, ApiCode::MethodNotAllowed];
/// What may go wrong with every operation that needs a caller.
const WITH_CALLER: [ApiCode; 3] = [ApiCode::AssertionRequired, ApiCode::UserUnknown, ApiCode::UserInactive];
/// What may go wrong with every operation of administrators.
const FOR_ADMINS: [ApiCode; 3] = [ApiCode::AdminRequired, ApiCode::ScopeRequired, ApiCode::ImpersonatedSession];

/// One operation of the table.
pub(super) struct Described {
    method: Method,
    path: &'static str,
    summary: &'static str,
    with_caller: bool,
    draft: Draft,
}

/// Describes a handler that needs a caller.
pub(super) fn with_caller<I: Input, O: Output, F: Future<Output = Result<O, Refusal>>>(
    (method, path, summary, codes): (Method, &'static str, &'static str, &[ApiCode]),
    _: impl Fn(Shared, Caller, I) -> F,
) -> Described {
    let mut draft = drafted::<I, O>(codes);
    draft.codes(&WITH_CALLER);
    if path.starts_with("/api/admin") {
        draft.codes(&FOR_ADMINS);
    }
    Described { method, path, summary, with_caller: true, draft }
}

/// Describes a handler that anyone may ask.
pub(super) fn open<I: Input, O: Output, F: Future<Output = Result<O, Refusal>>>(
    (method, path, summary, codes): (Method, &'static str, &'static str, &[ApiCode]),
    _: impl Fn(Shared, I) -> F,
) -> Described {
    Described { method, path, summary, with_caller: false, draft: drafted::<I, O>(codes) }
}

fn drafted<I: Input, O: Output>(codes: &[ApiCode]) -> Draft {
    let mut draft = Draft::default();
    I::describe(&mut draft);
    O::describe(&mut draft);
    draft.codes(codes);
    draft.codes(&ALWAYS);
    draft
}

/// The whole description.
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = Components::new();
    let mut schemas = draft::Schemas::new();
    Problem::schemas(&mut schemas);
    schemas.push((Problem::name().into_owned(), Problem::schema()));
    for described in api::described() {
        let Some(verb) = draft::verb(&described.method) else { continue };
        let id = operation_id(&described.method, described.path);
        let (mut operation, used) = described.draft.end(&id, tag(described.path), described.summary);
        operation.security = Some(if described.with_caller { credentials() } else { Vec::new() });
        schemas.extend(used);
        paths.add_path_operation(described.path, vec![verb], operation);
    }
    components.schemas.extend(schemas);
    let header = |meaning| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("X-API-Key", meaning)));
    components.add_security_scheme("apiKey", header("An API key (`sk_…`)."));
    let bearer = |meaning: &str| Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(meaning)).build();
    let tokens = "A session token of Clerk, an access token of `POST /auth/login`, or an API key.";
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer(tokens)));
    let info = InfoBuilder::new()
        .title("Tollgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Users, API keys, sessions and credits. Reached through the proxy, which looks at the credential. Refusals \
             are problems (RFC 9457) with a stable `code`.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    OpenApi::builder().info(info).paths(paths).components(Some(components)).build()
}

fn credentials() -> Vec<SecurityRequirement> {
    ["apiKey", "bearer"].map(|name| SecurityRequirement::new::<_, [&str; 0], &str>(name, [])).into()
}

/// `get_api_keys_id` for `GET /api/keys/{id}`.
fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.as_str().to_ascii_lowercase(), |id, word| format!("{id}_{word}"))
}

/// The part of the API that a path belongs to.
fn tag(path: &'static str) -> &'static str {
    let mut words = path.split('/').filter(|word| !word.is_empty() && *word != "api");
    words.next().map_or("other", |word| if word == ".well-known" { "keys of issuers" } else { word })
}

static JSON: LazyLock<String> = LazyLock::new(|| document().to_pretty_json().unwrap_or_default());
static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&document()));

/// `GET /openapi.json`
pub(super) async fn json() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, JSON.as_str()).into_response()
}

/// `GET /docs`: a page that asks nobody for anything.
pub(super) async fn html() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, Html(PAGE.as_str())).into_response()
}
