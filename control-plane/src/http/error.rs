//! Refusals of the control plane's own listeners: one closed catalogue, one function from each error to its answer. The
//! only place with status codes. The client reads the catalogue's text; the reason goes into the log.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tollgate_protocol::{Code, problem::MEDIA_TYPE};
use utoipa::ToSchema;

use crate::{
    assertion::AssertionFault,
    service::{
        InputFault, ServiceError,
        policies::{PlacedFault, PutFault},
        policy::PolicyFault,
        sign_in::{PasswordFault, SignInFault},
    },
    store::StoreError,
};

macro_rules! catalogue {
    ($($variant:ident = $word:expr, $status:expr, $title:expr, $detail:expr;)+) => {
        /// Why one of our own listeners refused a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ApiCode { $(#[doc = stringify!($variant)] $variant,)+ }

        impl ApiCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in body and log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => match StatusCode::from_u16($status) {
                    Ok(status) => status,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                },)+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            pub(super) const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

catalogue! {
    InvalidRequest = "invalid_request", 400, "Invalid request", "The request cannot be used as it is; 'faults' lists why.";
    WebhookRefused = "webhook_refused", 400, "Webhook refused", "The signature, the time or the content of the event is not as Clerk sends it.";
    AssertionRequired = "assertion_required", 401, "Not authenticated", "This API is reached through the proxy, which says who calls.";
    EdgeSecretRequired = "edge_secret_required", 401, "Not an edge", "This API needs the edge secret as a bearer token.";
    SignInRefused = "sign_in_refused", 401, "Not signed in", "The e-mail address or the password is wrong, or this account may not be used.";
    RefreshRefused = "refresh_refused", 401, "Not refreshed", "The refresh token is not good (any more). Sign in again.";
    CertificateRequired = "certificate_required", 403, "Certificate required", "This listener answers clients that show a certificate of an authority it believes.";
    UserUnknown = Code::UserUnknown.as_str(), Code::UserUnknown.status(), Code::UserUnknown.title(), Code::UserUnknown.detail();
    UserInactive = Code::UserInactive.as_str(), Code::UserInactive.status(), Code::UserInactive.title(), Code::UserInactive.detail();
    TokensExhausted = Code::TokensExhausted.as_str(), Code::TokensExhausted.status(), Code::TokensExhausted.title(), Code::TokensExhausted.detail();
    ScopeRequired = Code::ScopeRequired.as_str(), Code::ScopeRequired.status(), Code::ScopeRequired.title(), Code::ScopeRequired.detail();
    ImpersonatedSession = "impersonated_session", 403, "Impersonated session", "Keys and sessions are the business of the user in person.";
    MethodNotAccepted = Code::MethodNotAccepted.as_str(), Code::MethodNotAccepted.status(), Code::MethodNotAccepted.title(), Code::MethodNotAccepted.detail();
    ScopeExceeded = "scope_exceeded", 403, "Scope exceeded", "An API key cannot issue a key that may do more than itself.";
    NotFound = "not_found", 404, "Not found", "There is no such thing here.";
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed", "This path does not have this method; 'Allow' lists those it has.";
    LastAdmin = "last_admin", 409, "Last administrator", "Nobody would be left who can act as an administrator. Make somebody else one first.";
    Changed = "changed_meanwhile", 412, "Changed meanwhile", "It has changed since it was read. Read it again, then decide.";
    AdminRequired = Code::RoleRequired.as_str(), Code::RoleRequired.status(), Code::RoleRequired.title(), Code::RoleRequired.detail();
    Conflict = "conflict", 409, "Conflict", "The request contradicts what is there. Try again.";
    PolicyIsAFile = "policy_is_a_file", 409, "Policy is a file", "The settings name a policy file, whose rules hold. Change that, or leave it out of the settings.";
    LimitReached = "limit_reached", 409, "Limit reached", "There are as many as there may be. Remove one first.";
    BodyTooLarge = "body_too_large", 413, "Body too large", "The body is larger than this path takes.";
    MediaType = "unsupported_media_type", 415, "Unsupported media type", "Send application/json.";
    TooManyAttempts = "too_many_attempts", 429, "Too many attempts", "Wait for as long as 'Retry-After' says.";
    Internal = "internal", 500, "Internal error", "Something went wrong here. The request id finds it in the log.";
    StoreUnavailable = "store_unavailable", 503, "Store unavailable", "Try again shortly.";
    Busy = "busy", 503, "Busy", "There is too much to do at this moment. Try again shortly.";
    TimedOut = "timed_out", 503, "Timed out", "The answer took too long. Try again shortly.";
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Refusal {
    code: ApiCode,
    faults: Vec<FaultOf>,
    /// Seconds.
    retry_after: Option<u32>,
}

/// One thing that is wrong with a request.
#[derive(Debug)]
struct FaultOf {
    field: String,
    problem: String,
    /// Line and column, in a text.
    at: Option<(usize, usize)>,
}

/// Why a request was refused (RFC 9457), in the form of [`tollgate_protocol::problem::Problem`].
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'r> {
    r#type: String,
    title: &'static str,
    status: u16,
    /// Stable, for programs.
    code: &'static str,
    detail: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    request_id: &'r str,
    /// What is wrong with which part of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    faults: Vec<Fault<'r>>,
}

/// One thing that is wrong.
#[derive(Serialize, ToSchema)]
struct Fault<'r> {
    field: &'r str,
    problem: &'r str,
    /// Of a text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl FaultOf {
    fn shown(&self) -> Fault<'_> {
        let (line, column) = self.at.unzip();
        Fault { field: &self.field, problem: &self.problem, line, column }
    }
}

impl Refusal {
    /// A refusal without faults.
    pub fn new(code: ApiCode) -> Self {
        let retry_after = (code.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { code, faults: Vec::new(), retry_after }
    }

    /// The request is invalid in these ways: (member, problem).
    pub fn invalid(faults: Vec<(String, String)>) -> Self {
        let faults = faults.into_iter().map(|(field, problem)| FaultOf { field, problem, at: None }).collect();
        Self { faults, ..Self::new(ApiCode::InvalidRequest) }
    }

    /// The code.
    pub fn code(&self) -> ApiCode {
        self.code
    }

    /// The answer, with the id of the request.
    pub(super) fn to_response(&self, request_id: &str) -> Response {
        let body = Problem {
            r#type: format!("urn:tollgate:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: self.code.detail(),
            request_id,
            faults: self.faults.iter().map(FaultOf::shown).collect(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.code.status(), [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if self.code.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tollgate\", error=\"invalid_token\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The body is written by `observe`, which knows the request's id: here the refusal only travels.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => Self::new(ApiCode::NotFound),
            ServiceError::Invalid(faults) => Self::invalid(faults.into_iter().map(named).collect()),
            ServiceError::LimitReached(_) => Self::new(ApiCode::LimitReached),
            ServiceError::Changed => Self::new(ApiCode::Changed),
            ServiceError::LastAdmin => Self::new(ApiCode::LastAdmin),
            ServiceError::Conflict(what) => {
                tracing::warn!(what, "conflict");
                Self::new(ApiCode::Conflict)
            }
            ServiceError::Store(error) => error.into(),
            ServiceError::Random(error) => {
                tracing::error!(%error, "no randomness");
                Self::new(ApiCode::Internal)
            }
        }
    }
}

impl From<PutFault> for Refusal {
    fn from(fault: PutFault) -> Self {
        match fault {
            PutFault::IsAFile => Self::new(ApiCode::PolicyIsAFile),
            PutFault::Faulty(faults) => {
                let faults = faults.into_iter().map(|PlacedFault { at, fault }| {
                    let PolicyFault { place, problem, .. } = fault;
                    FaultOf { field: place, problem, at }
                });
                Self { faults: faults.collect(), ..Self::new(ApiCode::InvalidRequest) }
            }
            PutFault::Service(error) => error.into(),
        }
    }
}

impl From<SignInFault> for Refusal {
    fn from(fault: SignInFault) -> Self {
        match fault {
            SignInFault::Refused => Self::new(ApiCode::SignInRefused),
            SignInFault::TooMany { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(ApiCode::TooManyAttempts) }
            }
            SignInFault::Password(PasswordFault::Busy) => Self::new(ApiCode::Busy),
            SignInFault::NoKey | SignInFault::Password(PasswordFault::Random(_) | PasswordFault::Hash(_)) => {
                tracing::error!(%fault, "nobody can sign in");
                Self::new(ApiCode::Internal)
            }
            SignInFault::Service(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::error!(%cause, "store unavailable");
                Self::new(ApiCode::StoreUnavailable)
            }
            StoreError::NotFound => Self::new(ApiCode::NotFound),
            StoreError::Conflict(_) => Self::new(ApiCode::Conflict),
            StoreError::Corrupt(_) | StoreError::TooNew { .. } => {
                tracing::error!(%error, "store unusable");
                Self::new(ApiCode::Internal)
            }
        }
    }
}

impl From<AssertionFault> for Refusal {
    fn from(fault: AssertionFault) -> Self {
        tracing::warn!(%fault, "assertion refused");
        Self::new(ApiCode::AssertionRequired)
    }
}

fn named(fault: InputFault) -> (String, String) {
    (fault.field.to_owned(), fault.problem.to_owned())
}
