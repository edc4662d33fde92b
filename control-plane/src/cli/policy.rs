//! `tollgate policy`: every fault of a file of rules with its place, what in it can never decide, and which route decides
//! about a request; the rules that the store keeps. The decision is the filter's own.

mod kept;
mod warnings;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use tollgate_core::policy::{CompiledPolicy, unambiguous};
use tollgate_protocol::{
    Method,
    policy::{Auth, Counted, Fallback, Mode, Policy, Route},
};

use super::{Scene, fault::CliFault, output::note};
use crate::service::{
    policies::{self, PlacedFault},
    policy::COOKIE,
    policy_place::locate,
};

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List every fault of a file of rules with its line and column; say which route decides about a path.
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The file
        file: PathBuf,
        /// Say which route decides about this path
        #[arg(long)]
        path: Option<String>,
        /// With this HTTP method
        #[arg(long, default_value = "GET")]
        method: String,
        /// On this host
        #[arg(long, default_value = "localhost")]
        host: String,
        /// Take warnings for faults
        #[arg(long)]
        strict: bool,
    },
    /// Print the rules that hold: of the file that the settings name, of the store, or the built-in ones.
    Get,
    /// Put a file of rules into the store. Every server that uses it takes them within a second.
    Put(kept::Put),
}

const CHECK_HELP: &str = "\
Exit codes:
  0  no faults; warnings do not count, unless --strict is given
  3  there is no such file
  4  faults: these rules would be refused as a whole";

/// What the rules say about one path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Winner {
    /// The path can be read in more than one way: it is refused before any rule.
    Ambiguous,
    /// No route names it, and the default is to deny.
    Denied,
    /// No route names it, and the default is to ask for a credential.
    Fallback,
    /// This route, by its place in the file.
    Route(usize),
}

/// Which route decides, and which others would, the narrowest first.
///
/// # Errors
/// What the filter would refuse about the rules.
pub(super) fn winner(
    policy: &Policy,
    method: &str,
    host: &str,
    path: &str,
) -> Result<(Winner, Vec<usize>), Vec<String>> {
    // Each route carries its place where its audience stands: so the filter itself says which one it takes.
    let mut numbered = policy.clone();
    for (place, route) in numbered.routes.iter_mut().enumerate() {
        route.assertion = Some(place.to_string());
    }
    let mut found = Vec::new();
    let last = loop {
        let faults = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        let compiled =
            CompiledPolicy::compile(&numbered).map_err(|all: Vec<tollgate_core::policy::PolicyFault>| faults(all))?;
        let Ok(path) = unambiguous(path.as_bytes()) else { return Ok((Winner::Ambiguous, Vec::new())) };
        let Some(met) = compiled.rule(method.as_bytes(), host.as_bytes(), path) else { break Winner::Denied };
        match met.rule.assertion.as_deref().and_then(|place| place.parse::<usize>().ok()) {
            Some(place) => {
                found.push(place);
                let taken = place.to_string();
                numbered.routes.retain(|route| route.assertion.as_deref() != Some(&taken));
            }
            None => break Winner::Fallback,
        }
    };
    match found.split_first() {
        Some((first, others)) => Ok((Winner::Route(*first), others.to_vec())),
        None => Ok((last, Vec::new())),
    }
}

/// What a route asks for, in words.
pub(super) fn asks(route: &Route) -> String {
    let mut parts = vec![match route.auth {
        Auth::Required => "needs a credential".to_owned(),
        Auth::Optional => "takes a credential, and passes without one".to_owned(),
        Auth::None => "open: credentials are not looked at".to_owned(),
    }];
    let list = |words: &[String]| words.join(" or ");
    if !route.accept.is_empty() {
        let word = |kind: &Method| match kind {
            Method::Clerk if route.cookie_only => COOKIE,
            kind => kind.as_str(),
        };
        let kinds: Vec<String> = route.accept.iter().map(|kind| word(kind).to_owned()).collect();
        parts.push(format!("of kind {}", list(&kinds)));
    }
    if !route.roles.is_empty() {
        parts.push(format!("role {}", list(&route.roles)));
    }
    if !route.subscriptions.is_empty() {
        parts.push(format!("subscription {}", list(&route.subscriptions)));
    }
    if !route.scopes.is_empty() {
        parts.push(format!("scopes {}", route.scopes.join(" and ")));
    }
    if let Some(owner) = &route.owner {
        parts.push(format!("{{{owner}}} is the caller, or the caller an administrator"));
    }
    if let Some(cost) = &route.cost {
        parts.push(match &cost.counted {
            Counted::Fixed => format!("costs {} tokens", cost.at_least),
            Counted::Header(name) => {
                format!("costs what the backend says in {name}, {} tokens at least", cost.at_least)
            }
            Counted::Body(path) => {
                format!("costs what the answer says in {}, {} tokens at least", path.join("."), cost.at_least)
            }
        });
    }
    if route.session_cookie && !route.cookie_only {
        parts.push("Clerk's cookie counts".to_owned());
    }
    if route.forward_credential {
        parts.push("the backend gets the credential".to_owned());
    }
    if route.mode == Mode::Shadow {
        parts.push("only watched: everything passes, and x-auth-shadow says the verdict".to_owned());
    }
    if !route.limits.is_empty() {
        parts.push(format!("limits {}", route.limits.join(" and ")));
    }
    if let Some(audience) = &route.assertion {
        parts.push(format!("the backend gets an assertion for '{audience}'"));
    }
    parts.join("; ")
}

/// A route, by what the file says: `[2] GET,POST /a/**`.
pub(super) fn named(policy: &Policy, place: usize) -> String {
    let route = policy.routes.get(place);
    let path = route.map(|route| format!("{}{}", route.host.as_deref().unwrap_or_default(), route.path));
    let path = path.unwrap_or_default();
    match route.filter(|route| !route.methods.is_empty()) {
        Some(route) => format!("routes[{place}] {} {path}", route.methods.join(",")),
        None => format!("routes[{place}] {path}"),
    }
}

/// What decides, in words.
pub(super) fn decides(policy: &Policy, winner: &Winner) -> (String, String) {
    match winner {
        Winner::Ambiguous => {
            ("none".to_owned(), "the path can be read in more than one way, and is refused".to_owned())
        }
        Winner::Denied => ("default = \"deny\"".to_owned(), "refused: no route names the path".to_owned()),
        Winner::Fallback => ("default = \"authenticate\"".to_owned(), "needs a credential".to_owned()),
        Winner::Route(place) => (named(policy, *place), policy.routes.get(*place).map(asks).unwrap_or_default()),
    }
}

/// Runs it.
///
/// # Errors
/// [`CliFault::Refused`] where there are faults.
pub(super) async fn run(scene: &Scene, command: &Command) -> Result<(), CliFault> {
    match command {
        Command::Check { file, path, method, host, strict } => {
            check(scene, file, path.as_deref().map(|path| (method.as_str(), host.as_str(), path)), *strict)
        }
        Command::Get => kept::get(scene).await,
        Command::Put(args) => kept::put(scene, args).await,
    }
}

/// Tells every fault of a file, and gives what the command ends with.
fn faults_of(scene: &Scene, file: &Path, faults: &[PlacedFault]) -> Result<CliFault, CliFault> {
    if scene.out.is_json() {
        scene.out.json(&json!({ "file": file, "faults": told(faults) }))?;
    } else {
        list(file, "", faults);
    }
    Ok(CliFault::Refused(format!("{} faults: these rules would be refused as a whole", faults.len())))
}

fn list(file: &Path, kind: &str, faults: &[PlacedFault]) {
    for PlacedFault { at, fault } in faults {
        let at = at.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        note(&format!("{}{at}: {kind}{fault}", file.display()));
    }
}

fn told(faults: &[PlacedFault]) -> Vec<serde_json::Value> {
    let told = |PlacedFault { at, fault }: &PlacedFault| {
        json!({ "line": at.map(|(line, _)| line), "column": at.map(|(_, column)| column),
            "place": fault.place, "problem": fault.problem })
    };
    faults.iter().map(told).collect()
}

/// `request`: method, host and path.
fn check(scene: &Scene, file: &Path, request: Option<(&str, &str, &str)>, strict: bool) -> Result<(), CliFault> {
    let text = kept::read(file)?;
    let policy = match policies::read(&text) {
        Ok(policy) => policy,
        Err(faults) => return Err(faults_of(scene, file, &faults)?),
    };
    let (method, host, asked_path) = request.unwrap_or(("GET", "localhost", "/"));
    let asked = winner(&policy, method, host, asked_path);
    let (found, others) = asked.map_err(|faults| CliFault::Refused(faults.join("; ")))?;
    let placed = |fault| PlacedFault { at: locate(&text, &fault), fault };
    let warnings: Vec<PlacedFault> = warnings::warnings(&policy).into_iter().map(placed).collect();
    list(file, "warning: ", &warnings);
    let fallback = match policy.fallback {
        Fallback::Deny => "deny",
        Fallback::Authenticate => "authenticate",
    };
    let routes = policy.routes.len();
    if request.is_none() {
        let document = json!({ "file": file, "faults": [], "warnings": told(&warnings), "routes": routes,
            "default": fallback });
        let count = if warnings.is_empty() { String::new() } else { format!(", {} warnings", warnings.len()) };
        let sentence = format!("{}: {routes} routes, default = \"{fallback}\", no faults{count}", file.display());
        scene.out.said(&document, &sentence)?;
    } else {
        let (route, asks) = decides(&policy, &found);
        let others: Vec<String> = others.into_iter().map(|place| named(&policy, place)).collect();
        let document = json!({ "file": file, "faults": [], "warnings": told(&warnings), "routes": routes,
            "default": fallback, "method": method, "host": host, "path": asked_path, "decides": route, "asks": asks,
            "also_match": others });
        let facts = [
            ("request", format!("{method} {asked_path}")),
            ("decides", route),
            ("asks", asks),
            ("match, too, but are wider", others.join(", ")),
        ];
        scene.out.facts(&document, &facts)?;
    }
    if strict && !warnings.is_empty() {
        return Err(CliFault::Refused(format!("{} warnings", warnings.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::policy;

    #[test]
    fn the_filter_says_which_route_decides() {
        let policy = policy::parse(
            "default = \"deny\"\n[[routes]]\npath = \"/a/**\"\n[[routes]]\npath = \"/a/b/**\"\nassertion = true\n
             [[routes]]\npath = \"/a/b/c\"\nmethods = [\"PUT\"]\n[[routes]]\npath = \"/open\"\nauth = \"none\"",
        )
        .unwrap();
        for (method, path, expected, others) in [
            ("GET", "/a", Winner::Route(0), vec![]),
            ("GET", "/a/b/c?x=/open", Winner::Route(1), vec![0]),
            ("PUT", "/a/b/c", Winner::Route(2), vec![1, 0]),
            ("GET", "/open", Winner::Route(3), vec![]),
            ("GET", "/opened", Winner::Denied, vec![]),
            ("GET", "/a/../open", Winner::Ambiguous, vec![]),
        ] {
            assert_eq!(winner(&policy, method, "h", path), Ok((expected, others)), "{method} {path}");
        }
        let open = Policy { fallback: Fallback::Authenticate, ..policy };
        assert_eq!(winner(&open, "GET", "h", "/x"), Ok((Winner::Fallback, vec![])));
    }
}
