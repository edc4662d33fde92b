//! What is no fault of a policy and still not what anybody wants: routes that can never decide, conditions that can never
//! refuse. Each is proved with the filter's own choice of a route; what cannot be proved is not said.

use tollgate_core::policy::{CompiledPolicy, unambiguous};
use tollgate_protocol::policy::{Fallback, Policy, Route};

use crate::{
    domain::Role,
    service::policy::{OWN_AUDIENCE, PolicyFault},
};

/// Where administrators change the rules.
const OWN_PATH: &str = "/api/admin/policy";

/// Every warning, in the order of the routes.
pub(super) fn warnings(policy: &Policy) -> Vec<PolicyFault> {
    let mut numbered = policy.clone();
    for (place, route) in numbered.routes.iter_mut().enumerate() {
        route.assertion = Some(place.to_string());
    }
    // A policy with faults has no warnings.
    let Ok(compiled) = CompiledPolicy::compile(&numbered) else { return Vec::new() };
    let strange = Strange::to(policy);
    let mut found = Vec::new();
    for (place, route) in policy.routes.iter().enumerate() {
        let taken = |path: &str| strange.decides(&compiled, route, path, &place.to_string());
        if !strange.paths(&route.path).iter().any(|path| taken(path)) {
            let problem = "can never decide: every request for it is taken by narrower routes";
            found.push(warning(policy, place, "path", problem));
        }
        if route.owner.is_some() && route.roles == [Role::Admin.as_str()] {
            let problem = "can never refuse: only administrators may pass, and they own everything";
            found.push(warning(policy, place, "owner", problem));
        }
    }
    for name in policy.limits.keys() {
        if !policy.routes.iter().any(|route| route.limits.contains(name)) {
            let problem = "can never refuse: no route names it".to_owned();
            found.push(PolicyFault { place: format!("limits.{name}"), problem, at: None });
        }
    }
    if policy.fallback == Fallback::Authenticate {
        let everything = Route { path: "/**".to_owned(), ..Route::default() };
        let open = |path: &str| strange.falls_back(&compiled, &everything, path);
        if !strange.paths(&everything.path).iter().any(|path| open(path)) {
            let problem = "can never decide: the routes take every path".to_owned();
            found.push(PolicyFault { place: "default".to_owned(), problem, at: None });
        }
    }
    found
}

fn warning(policy: &Policy, place: usize, key: &str, problem: &str) -> PolicyFault {
    let path = policy.routes.get(place).map(|route| route.path.as_str()).unwrap_or_default();
    PolicyFault { place: format!("routes[{place}] ({path}).{key}"), problem: problem.to_owned(), at: None }
}

/// Whether nobody could change these rules by the API: no route leads administrators there with an assertion.
pub(super) fn locks_out(policy: &Policy) -> bool {
    let Ok(compiled) = CompiledPolicy::compile(policy) else { return true };
    let leads = |host: &str| {
        let met = compiled.rule(b"PUT", host.as_bytes(), OWN_PATH.as_bytes());
        met.is_some_and(|met| met.rule.assertion.as_deref() == Some(OWN_AUDIENCE))
    };
    let named = policy.routes.iter().filter_map(|route| route.host.as_deref()).map(|host| host.replace('*', "any"));
    !named.chain(["any".to_owned()]).any(|host| leads(&host))
}

/// Words that no route names. A request made of them is matched by no other route than it must be: if a route decides
/// about any request, it decides about one of these.
struct Strange {
    word: String,
    method: String,
    /// Most parts of any path.
    depth: usize,
}

impl Strange {
    fn to(policy: &Policy) -> Self {
        let mut word = "a".to_owned();
        let mut method = "A".to_owned();
        let known = |word: &str| {
            policy.routes.iter().any(|route| {
                let host = route.host.as_deref().unwrap_or_default();
                route.path.split('/').chain(host.split('.')).any(|part| part == word)
            })
        };
        while known(&word) {
            word.push('a');
        }
        while policy.routes.iter().any(|route| route.methods.contains(&method)) {
            method.push('A');
        }
        let depth = policy.routes.iter().map(|route| route.path.split('/').count()).max().unwrap_or_default();
        Self { word, method, depth }
    }

    /// Paths of every length that a pattern matches, with strange words for everything that it leaves open.
    fn paths(&self, pattern: &str) -> Vec<String> {
        let body = pattern.strip_suffix("/**").unwrap_or(pattern);
        let parts = body.split('/').map(|part| if part.starts_with('{') { self.word.as_str() } else { part });
        let base = parts.collect::<Vec<_>>().join("/");
        if body.len() == pattern.len() {
            return vec![base];
        }
        let mut paths = Vec::new();
        let mut path = base;
        for _ in 0..=self.depth.saturating_add(1) {
            paths.push(path.clone());
            paths.push(format!("{path}/"));
            path = format!("{path}/{}", self.word);
        }
        paths.retain(|path| !path.is_empty());
        paths
    }

    /// What decides about a request for `path` that a route's methods and host allow: its number, or nothing for the
    /// default. One for each method.
    fn deciders(&self, compiled: &CompiledPolicy, route: &Route, path: &str) -> Vec<Option<String>> {
        let host = match route.host.as_deref() {
            None => self.word.clone(),
            Some(host) => host.replace('*', &self.word),
        };
        let any = [self.method.clone()];
        let methods = if route.methods.is_empty() { &any[..] } else { &route.methods };
        let Ok(path) = unambiguous(path.as_bytes()) else { return Vec::new() };
        let met = |method: &String| {
            let met = compiled.rule(method.as_bytes(), host.as_bytes(), path);
            met.and_then(|met| met.rule.assertion.as_deref().map(str::to_owned))
        };
        methods.iter().map(met).collect()
    }

    fn decides(&self, compiled: &CompiledPolicy, route: &Route, path: &str, number: &str) -> bool {
        self.deciders(compiled, route, path).iter().any(|decider| decider.as_deref() == Some(number))
    }

    fn falls_back(&self, compiled: &CompiledPolicy, route: &Route, path: &str) -> bool {
        self.deciders(compiled, route, path).iter().any(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::policy;

    fn check(text: &str) -> Vec<String> {
        warnings(&policy::parse(text).unwrap()).into_iter().map(|warning| warning.place).collect()
    }

    #[test]
    fn what_can_never_decide_is_told_and_nothing_else() {
        for (text, expected) in [
            // A narrower route always wins, so a wide open one hides nothing.
            ("[[routes]]\npath = \"/public/**\"\nauth = \"none\"\n[[routes]]\npath = \"/public/admin\"\n", vec![]),
            ("[[routes]]\npath = \"/a/**\"\n[[routes]]\npath = \"/a\"\n[[routes]]\npath = \"/a/{b}/**\"\n", vec![]),
            // What no route names is "/" or has a first part.
            (
                "[[routes]]\npath = \"/\"\n[[routes]]\npath = \"/{a}/**\"\n[[routes]]\npath = \"/**\"\n",
                vec!["routes[2] (/**).path"],
            ),
            (
                "[[routes]]\npath = \"/\"\nmethods = [\"GET\"]\n[[routes]]\npath = \"/{a}/**\"\n[[routes]]\npath = \"/**\"\n",
                vec![],
            ),
            (
                "[[routes]]\npath = \"/\"\n[[routes]]\npath = \"/{a}/**\"\nmethods = [\"GET\", \"A\"]\n[[routes]]\npath = \"/**\"\n\
                 methods = [\"GET\"]\n[[routes]]\npath = \"/a/{b}\"\nhost = \"*.a.b\"\n",
                vec!["routes[2] (/**).path"],
            ),
            (
                "[[routes]]\npath = \"/\"\n[[routes]]\npath = \"/{a}/**\"\nhost = \"h\"\n[[routes]]\npath = \"/**\"\n",
                vec![],
            ),
            (
                "[[routes]]\npath = \"/x/{id}\"\nowner = \"id\"\nroles = [\"admin\"]\n",
                vec!["routes[0] (/x/{id}).owner"],
            ),
            ("[[routes]]\npath = \"/x/{id}\"\nowner = \"id\"\nroles = [\"admin\", \"user\"]\n", vec![]),
            ("default = \"authenticate\"\n[[routes]]\npath = \"/**\"\n", vec!["default"]),
            ("default = \"authenticate\"\n[[routes]]\npath = \"/**\"\nmethods = [\"GET\"]\n", vec![]),
            ("default = \"authenticate\"\n[[routes]]\npath = \"/{a}/**\"\n", vec![]),
            ("default = \"deny\"\n[[routes]]\npath = \"/**\"\n", vec![]),
            (
                "[limits.one]\nby = \"user\"\nrate = \"1/s\"\n[limits.two]\nby = \"user\"\nrate = \"1/s\"\n[[routes]]\n\
                 path = \"/a\"\nlimits = [\"two\"]\n",
                vec!["limits.one"],
            ),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
        assert_eq!(check(crate::dev::shipped::POLICY), Vec::<String>::new());
        assert_eq!(check(&policy::built_in_text(["eu"].into_iter())), Vec::<String>::new());
    }

    #[test]
    fn rules_that_nobody_could_change_by_the_api() {
        for (text, expected) in [
            ("", true),
            ("[[routes]]\npath = \"/api/admin/**\"\nassertion = true\n", false),
            ("[[routes]]\npath = \"/api/admin/**\"\n", true),
            ("[[routes]]\npath = \"/api/admin/**\"\nassertion = \"other\"\n", true),
            ("[[routes]]\npath = \"/api/**\"\nhost = \"*.x.y\"\nassertion = true\n", false),
            ("[[routes]]\npath = \"/api/**\"\nmethods = [\"GET\"]\nassertion = true\n", true),
        ] {
            assert_eq!(locks_out(&policy::parse(text).unwrap()), expected, "{text}");
        }
        assert!(!locks_out(&policy::built_in(std::iter::empty())));
        assert!(!locks_out(&policy::parse(crate::dev::shipped::POLICY).unwrap()));
    }
}
