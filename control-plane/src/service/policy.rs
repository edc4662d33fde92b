//! The rules for routes, from the text that an operator writes. A faulty text is refused as a whole, with every fault.
//! It must not read a file, nor decide a request.

use std::collections::BTreeSet;

use tollgate_protocol::{
    Method,
    policy::{Auth, Fallback, Mode, Policy, Route},
};
use toml::{Table, Value, de::DeTable};

use super::policy_cost;
use crate::domain::{Role, Scope, Subscription};

/// Audience of routes that say `assertion = true`, Tollgate's own API among them.
pub const OWN_AUDIENCE: &str = "tollgate";
/// Most limits of one policy.
const MAX_LIMITS: usize = 200;
/// What `accept` calls a session token of Clerk that comes in its cookie.
pub const COOKIE: &str = "cookie";
/// Most routes of one policy.
const MAX_ROUTES: usize = 10_000;

/// One fault of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PolicyFault {
    /// Where: a key, or `routes[3] (/a/b).scopes`.
    pub place: String,
    /// What is wrong and what would be right.
    pub problem: String,
    /// Where in the text, in bytes from its beginning, if what is there has no key.
    pub at: Option<usize>,
}

/// Paths of Tollgate's own API that need a caller, each with everything below it.
const OWN_PATHS: [&str; 5] = ["/api/me", "/api/keys/**", "/api/tokens/**", "/api/sessions/**", "/auth/logout"];
/// Paths of Tollgate's own API for administrators.
const ADMIN_PATH: &str = "/api/admin/**";
/// Paths of Tollgate's own API that judge by themselves who asks, or tell public keys. Each one exactly: a prefix could
/// open a path of the application.
const OPEN_PATHS: [&str; 4] = ["/auth/login", "/auth/refresh", "/webhooks/clerk", "/.well-known/jwks.json"];

/// What holds without a policy file: Tollgate's own API, and a credential for everything else. `clerks` are the names of
/// Clerk's further instances, each of which has a path of its own for webhooks.
pub fn built_in<'n>(clerks: impl Iterator<Item = &'n str>) -> Policy {
    let open = |path: &str| Route { path: path.to_owned(), auth: Auth::None, ..Route::default() };
    let own =
        |path: &str| Route { path: path.to_owned(), assertion: Some(OWN_AUDIENCE.to_owned()), ..Route::default() };
    let admin = Route { roles: vec![Role::Admin.as_str().to_owned()], ..own(ADMIN_PATH) };
    let webhooks = clerks.map(|name| open(&format!("/webhooks/clerk/{name}")));
    let routes = OWN_PATHS.into_iter().map(own).chain([admin]).chain(OPEN_PATHS.into_iter().map(open)).chain(webhooks);
    Policy { fallback: Fallback::Authenticate, routes: routes.collect(), ..Policy::default() }
}

/// The text of [`built_in`], from which an operator can go on.
pub fn built_in_text<'n>(clerks: impl Iterator<Item = &'n str>) -> String {
    let mut text =
        "# What holds where nothing else is said: Tollgate's own API, and a credential for every other path.\n\
                    default = \"authenticate\"\n"
            .to_owned();
    for route in built_in(clerks).routes {
        text.push_str(&format!("\n[[routes]]\npath = {:?}\n", route.path));
        if route.auth == Auth::None {
            text.push_str("auth = \"none\"\n");
        }
        if !route.roles.is_empty() {
            text.push_str(&format!("roles = {:?}\n", route.roles));
        }
        if route.assertion.is_some() {
            text.push_str("assertion = true\n");
        }
    }
    text
}

/// Reads a policy.
///
/// # Errors
/// Every fault there is.
pub fn parse(text: &str) -> Result<Policy, Vec<PolicyFault>> {
    let (_, mut broken) = DeTable::parse_recoverable(text);
    broken.sort_by_key(|fault| fault.span().map(|span| span.start));
    if !broken.is_empty() {
        return Err(broken.iter().map(unreadable).collect());
    }
    let table: Table = text.parse().map_err(|fault| vec![unreadable(&fault)])?;
    let mut reader = Reader { faults: Vec::new() };
    let policy = reader.policy(table);
    if reader.faults.is_empty() { Ok(policy) } else { Err(reader.faults) }
}

/// What is no TOML.
fn unreadable(fault: &toml::de::Error) -> PolicyFault {
    let problem = format!("TOML parse error: {}", fault.message());
    PolicyFault { place: "policy".to_owned(), problem, at: fault.span().map(|span| span.start) }
}

struct Reader {
    faults: Vec<PolicyFault>,
}

impl Reader {
    fn fault(&mut self, place: &str, problem: impl Into<String>) {
        self.faults.push(PolicyFault { place: place.to_owned(), problem: problem.into(), at: None });
    }

    fn policy(&mut self, table: Table) -> Policy {
        let mut policy = Policy::default();
        if let Some(mode) = table.get("mode") {
            policy.mode = self.mode("mode", mode);
        }
        for (key, value) in table {
            match (key.as_str(), value) {
                ("default", Value::String(word)) if word == "deny" => policy.fallback = Fallback::Deny,
                ("default", Value::String(word)) if word == "authenticate" => policy.fallback = Fallback::Authenticate,
                ("mode", _) => {}
                ("default", _) => self.fault("default", "must be \"deny\" or \"authenticate\""),
                ("limits", Value::Table(limits)) if limits.len() <= MAX_LIMITS => {
                    policy.limits = limits.into_iter().filter_map(|(name, limit)| self.limit(name, limit)).collect();
                }
                ("limits", _) => self.fault("limits", "must be written as [limits.NAME], 200 at most"),
                ("routes", Value::Array(routes)) if routes.len() <= MAX_ROUTES => {
                    policy.routes =
                        routes.into_iter().enumerate().map(|(at, route)| self.route(at, route, policy.mode)).collect();
                }
                ("routes", _) => self.fault("routes", "must be written as [[routes]], 10000 at most"),
                _ => self.fault(&key, "unknown key (known: default, mode, limits, routes)"),
            }
        }
        self.twice(&policy.routes);
        self.limits_of(&policy);
        policy
    }

    /// `mode` holds where the route does not say another one.
    fn route(&mut self, at: usize, value: Value, mode: Mode) -> Route {
        let mut route = Route { mode, ..Route::default() };
        let Value::Table(table) = value else {
            self.fault(&format!("routes[{at}]"), "must be a table");
            return route;
        };
        let name = table.get("path").and_then(Value::as_str).unwrap_or("no path").to_owned();
        let place = |key: &str| format!("routes[{at}] ({name}).{key}");
        let capital = |word: &str| !word.is_empty() && word.len() <= 20 && word.bytes().all(|b| b.is_ascii_uppercase());
        if !table.contains_key("path") {
            self.fault(&place("path"), "is missing");
        }
        let mut by_cookie = false;
        for (key, value) in table {
            let at = place(&key);
            match key.as_str() {
                "path" => route.path = self.path(&at, value),
                "methods" => {
                    route.methods = self.words(&at, value, "must be an HTTP method in capital letters", capital)
                }
                "auth" => route.auth = self.auth(&at, &value),
                "accept" => {
                    let known = |word: &str| word == COOKIE || Method::ALL.iter().any(|method| method.as_str() == word);
                    let problem = "must be \"clerk\", \"api_key\", \"legacy\" or \"cookie\"";
                    let words = self.words(&at, value, problem, known);
                    let has = |wanted: &str| words.iter().any(|word| word == wanted);
                    by_cookie = has(COOKIE);
                    route.cookie_only = by_cookie && !has(Method::Clerk.as_str());
                    let wanted = |kind: &Method| has(kind.as_str()) || (*kind == Method::Clerk && route.cookie_only);
                    route.accept = Method::ALL.iter().copied().filter(wanted).collect();
                }
                "roles" => {
                    let known = |word: &str| Role::from_word(word).is_some();
                    route.roles = self.words(&at, value, "must be \"user\", \"developer\" or \"admin\"", known);
                }
                "scopes" => {
                    let known = |word: &str| Scope::new(word).is_some();
                    route.scopes = self.words(&at, value, "must be printable ASCII without spaces or commas", known);
                }
                "subscriptions" => {
                    let known = |word: &str| Subscription::from_word(word).is_some();
                    route.subscriptions = self.words(&at, value, "must be \"free\", \"pro\" or \"enterprise\"", known);
                }
                "host" => route.host = self.text(&at, value),
                "owner" => route.owner = self.text(&at, value),
                "limits" => route.limits = self.words(&at, value, "must be the name of a limit", |_| true),
                "mode" => route.mode = self.mode(&at, &value),
                "session_cookie" => route.session_cookie = self.truth(&at, &value),
                "forward_credential" => route.forward_credential = self.truth(&at, &value),
                "assertion" => route.assertion = self.assertion(&at, value),
                "cost" => match policy_cost::read(&value) {
                    Ok(cost) => route.cost = Some(cost),
                    Err(problem) => self.fault(&at, problem),
                },
                _ => self.fault(&at, KNOWN),
            }
        }
        route.session_cookie |= by_cookie;
        let asks = !(route.roles.is_empty() && route.scopes.is_empty() && route.subscriptions.is_empty());
        if asks && route.auth != Auth::Required {
            self.fault(&place("auth"), "must be \"required\" where roles, scopes or subscriptions are asked for");
        }
        if route.auth == Auth::None && (!route.accept.is_empty() || route.session_cookie || route.assertion.is_some()) {
            self.fault(&place("auth"), "is \"none\", but accept, session_cookie or assertion need a credential");
        }
        if route.cost.is_some() && route.auth != Auth::Required {
            self.fault(&place("auth"), "must be \"required\" where a request costs tokens");
        }
        self.host_and_owner(&route, place);
        if route.session_cookie && !route.accept.is_empty() && !route.accept.contains(&Method::Clerk) {
            self.fault(&place("session_cookie"), "needs \"clerk\" or \"cookie\" in accept");
        }
        route
    }

    fn path(&mut self, place: &str, value: Value) -> String {
        let Value::String(path) = value else {
            self.fault(place, "must be a text");
            return String::new();
        };
        let body = path.strip_suffix("/**").unwrap_or(&path);
        let mut names = BTreeSet::new();
        let is_root = path == "/" || path == "/**";
        let segments_are_fine = body.split('/').skip(1).all(|part| match part.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').is_some_and(|name| is_name(name) && names.insert(name)),
            None => is_plain(part),
        });
        if !path.starts_with('/') || path.len() > 1024 || !(is_root || segments_are_fine) {
            self.fault(place, PATH);
        }
        path
    }

    fn text(&mut self, place: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            _ => {
                self.fault(place, "must be a text");
                None
            }
        }
    }

    /// What a route says about its host and its owner.
    fn host_and_owner(&mut self, route: &Route, place: impl Fn(&str) -> String) {
        let is_label = |label: &str| {
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(fine)
        };
        if let Some(host) = &route.host {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if name.len() > 253 || !name.split('.').all(is_label) {
                let problem = "must be a name in lower case such as api.example.com, or *.example.com for all below it";
                self.fault(&place("host"), problem);
            }
        }
        if let Some(owner) = &route.owner {
            if !route.path.split('/').any(|part| part == format!("{{{owner}}}")) {
                self.fault(&place("owner"), format!("names no part of the path: it would be /…/{{{owner}}}"));
            }
            if route.auth != Auth::Required {
                self.fault(&place("auth"), "must be \"required\" where somebody has to be the owner");
            }
        }
    }

    fn auth(&mut self, place: &str, value: &Value) -> Auth {
        match value.as_str() {
            Some("required") => Auth::Required,
            Some("optional") => Auth::Optional,
            Some("none") => Auth::None,
            _ => {
                self.fault(place, "must be \"required\", \"optional\" or \"none\"");
                Auth::Required
            }
        }
    }

    fn mode(&mut self, place: &str, value: &Value) -> Mode {
        match value.as_str() {
            Some("enforce") => Mode::Enforce,
            Some("shadow") => Mode::Shadow,
            _ => {
                self.fault(place, "must be \"enforce\" or \"shadow\"");
                Mode::Enforce
            }
        }
    }

    fn words(&mut self, place: &str, value: Value, problem: &str, fine: impl Fn(&str) -> bool) -> Vec<String> {
        let Value::Array(values) = value else {
            self.fault(place, "must be an array of texts");
            return Vec::new();
        };
        if values.is_empty() {
            self.fault(place, "is empty: leave it out where it asks for nothing");
        }
        let mut words = BTreeSet::new();
        for value in values {
            match value {
                Value::String(word) if fine(&word) => {
                    words.insert(word);
                }
                other => self.fault(place, format!("{} {problem}", shown(&other))),
            }
        }
        words.into_iter().collect()
    }

    fn truth(&mut self, place: &str, value: &Value) -> bool {
        value.as_bool().unwrap_or_else(|| {
            self.fault(place, "must be true or false");
            false
        })
    }

    fn assertion(&mut self, place: &str, value: Value) -> Option<String> {
        match value {
            Value::Boolean(wanted) => wanted.then(|| OWN_AUDIENCE.to_owned()),
            Value::String(audience) if !audience.is_empty() && audience.bytes().all(|b| b.is_ascii_graphic()) => {
                Some(audience)
            }
            _ => {
                self.fault(place, "must be true, or an audience without spaces");
                None
            }
        }
    }

    /// Two routes for one host, one path and one method: which one decides could not be said.
    fn twice(&mut self, routes: &[Route]) {
        let mut seen = BTreeSet::new();
        for (at, route) in routes.iter().enumerate() {
            let any = ["any method".to_owned()];
            let mut doubled = BTreeSet::new();
            for method in if route.methods.is_empty() { &any[..] } else { &route.methods } {
                // What the names are called is no difference.
                let shape = route.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
                let shape = shape.collect::<Vec<_>>().join("/");
                if !seen.insert((route.host.clone(), shape, method.clone())) {
                    doubled.insert(method);
                }
            }
            for method in doubled {
                let host = route.host.as_deref().unwrap_or_default();
                let problem = format!("{method} {host}{} is there more than once", route.path);
                self.fault(&format!("routes[{at}] ({}).path", route.path), problem);
            }
        }
    }
}

const KNOWN: &str = "unknown key (known: path, host, methods, auth, accept, roles, scopes, subscriptions, owner, limits, \
                     mode, assertion, cost, forward_credential, session_cookie)";
const PATH: &str = "must be a path such as /a/b or /a/{name}/c, or a prefix such as /a/**, in normal form, not encoded; \
                    a name has a-z, 0-9 and _, and stands there once";

/// The name of a part of the path.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A part of a path that means itself, for every reader.
fn is_plain(part: &str) -> bool {
    let fine = |b: u8| b.is_ascii_graphic() && !b"*{}?#%\\\"<>^`|;".contains(&b);
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(fine)
}

/// A value of the operator's file, so that its fault can be found.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => format!("a value of type {}", other.type_str()),
    }
}

#[path = "policy_limits.rs"]
mod limits;

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
