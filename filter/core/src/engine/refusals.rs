//! What is told of a refusal: where it was decided, and who asked, as far as that was found out. It must not decide.

use tollgate_protocol::{
    Code,
    refusals::{Carrier, Refused},
};

use super::{Engine, Now};
use crate::{
    extract::{Credential, extract},
    policy,
    refusals::Refusals,
    request::RequestView,
    verify::Source,
};

/// The route of what no route names.
const DEFAULT: &str = "default";
/// The route of what came to none.
const NONE: &str = "none";

impl Engine {
    /// What is told of refusals.
    pub fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Notes that the request that was decided last is refused, or passes only because its route is `watched`.
    pub fn note_refusal(&mut self, request: &RequestView<'_>, code: Code, watched: bool, now: Now) {
        // Of a flood only the first ones are told: the rest shall cost as little as can be.
        if !self.refusals.wants(request.request_id, watched) {
            return;
        }
        let (route, session_cookie) = self.route_of(request);
        let carrier = match extract(request, session_cookie) {
            Ok(None) => Carrier::None,
            Ok(Some(Credential::ApiKey(_))) => Carrier::ApiKey,
            Ok(Some(Credential::Token(_, Source::Header))) => Carrier::Token,
            Ok(Some(Credential::Token(_, Source::Cookie))) => Carrier::Cookie,
            Err(_) => Carrier::Unreadable,
        };
        let text = |bytes: &[u8]| {
            let fine: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_graphic).collect();
            String::from_utf8(fine).unwrap_or_default()
        };
        let refused = Refused {
            request_id: text(request.request_id),
            at: now.seconds(),
            code,
            method: text(request.method),
            route,
            carrier,
            user_id: self.about.take(),
            watched,
        };
        self.refusals.note(refused);
    }

    /// The route that decides about a request, as it is written, and whether its cookie counts.
    fn route_of(&self, request: &RequestView<'_>) -> (String, bool) {
        let Some(settings) = &self.settings else { return (NONE.to_owned(), false) };
        let Ok(path) = policy::unambiguous(request.path) else { return (NONE.to_owned(), false) };
        match settings.policy.rule(request.method, request.authority, path) {
            Some(met) if !met.rule.endpoint.is_empty() => {
                (met.rule.endpoint.trim_start().to_owned(), met.rule.session_cookie)
            }
            _ => (DEFAULT.to_owned(), false),
        }
    }
}
