//! Random policies and requests against a model: the plainest way to say which route is the most specific, one that looks at
//! all of them. It must not use the compiled tree.

use proptest::prelude::*;
use tollgate_core::{
    decide::{Caller, decide},
    policy::CompiledPolicy,
};
use tollgate_protocol::{
    Identity, Method,
    policy::{Policy, Route},
};

/// How a pattern's segment compares, better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Literal,
    Name,
    /// The pattern has ended, and the path, too.
    End,
    /// `**`
    Rest,
}

/// How well a pattern fits a path, segment by segment; `None`: not at all.
fn fit(pattern: &str, path: &str) -> Option<Vec<Fit>> {
    let (pattern, is_prefix) = match pattern.strip_suffix("/**") {
        Some(prefix) => (prefix, true),
        None => (pattern, false),
    };
    let mut fits = Vec::new();
    let mut there = path.split('/').skip(1);
    for wanted in pattern.split('/').skip(1) {
        let found = there.next()?;
        if wanted.starts_with('{') {
            if found.is_empty() {
                return None;
            }
            fits.push(Fit::Name);
        } else if wanted == found {
            fits.push(Fit::Literal);
        } else {
            return None;
        }
    }
    match (is_prefix, there.next()) {
        (true, _) => fits.push(Fit::Rest),
        (false, None) => fits.push(Fit::End),
        (false, Some(_)) => return None,
    }
    Some(fits)
}

fn host_rank(pattern: Option<&str>, host: &str) -> Option<(u8, usize)> {
    match pattern {
        None => Some((2, 0)),
        Some(pattern) => match pattern.strip_prefix('*') {
            Some(end) => (host.ends_with(end) && host.len() > end.len()).then_some((1, usize::MAX - end.len())),
            None => (pattern == host).then_some((0, 0)),
        },
    }
}

/// The place of the route that has to decide.
pub(super) fn model(routes: &[Route], method: &str, host: &str, path: &str) -> Option<usize> {
    let fitting = routes.iter().enumerate().filter_map(|(place, route)| {
        let by_method = route.methods.is_empty() || route.methods.iter().any(|known| known == method);
        let rank = (fit(&route.path, path)?, host_rank(route.host.as_deref(), host)?, route.methods.is_empty());
        by_method.then_some((rank, place))
    });
    fitting.min().map(|(_, place)| place)
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "{x}", "{y}", "{z}"])
}

fn pattern() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 0..5), any::<bool>()).prop_map(|(segments, is_prefix)| {
        let mut path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if is_prefix {
            path.push_str("/**");
        }
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

pub(super) fn route() -> impl Strategy<Value = Route> {
    let methods = prop::sample::select(vec![vec![], vec!["GET"], vec!["POST"], vec!["GET", "POST"]]);
    let host = prop::sample::select(vec![None, Some("h.test"), Some("*.test"), Some("*.h.test")]);
    (pattern(), methods, host).prop_map(|(path, methods, host)| Route {
        path,
        methods: methods.into_iter().map(str::to_owned).collect(),
        host: host.map(str::to_owned),
        ..Route::default()
    })
}

/// Routes that the compiler takes.
pub(super) fn accepted(routes: Vec<Route>) -> Vec<Route> {
    let mut kept: Vec<Route> = Vec::new();
    for route in routes {
        kept.push(route);
        if CompiledPolicy::compile(&Policy { routes: kept.clone(), ..Policy::default() }).is_err() {
            kept.pop();
        }
    }
    kept
}

/// The same, each one with its place as a role.
fn numbered(routes: Vec<Route>) -> Vec<Route> {
    let mut kept = accepted(routes);
    for (place, route) in kept.iter_mut().enumerate() {
        route.roles = vec![place.to_string()];
    }
    kept
}

pub(super) fn path() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["a", "b", "c", "d"]);
    (prop::collection::vec(word, 0..6), any::<bool>()).prop_map(|(words, slash)| {
        let path: String = words.iter().map(|word| format!("/{word}")).collect();
        if slash || path.is_empty() { format!("{path}/") } else { path }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_finds_what_the_model_says(
        routes in prop::collection::vec(route(), 0..25),
        requests in prop::collection::vec(
            (prop::sample::select(vec!["GET", "POST", "PUT"]),
             prop::sample::select(vec!["h.test", "x.test", "y.h.test", "test", "other"]), path()),
            20,
        ),
    ) {
        let routes = numbered(routes);
        let policy = CompiledPolicy::compile(&Policy { routes: routes.clone(), ..Policy::default() }).unwrap();
        for (method, host, path) in requests {
            let met = policy.rule(method.as_bytes(), host.as_bytes(), path.as_bytes());
            let met = met.map(|met| met.rule.roles[0].parse::<usize>().unwrap());
            prop_assert_eq!(met, model(&routes, method, host, &path), "{} {}{} in {:#?}", method, host, path, routes);
        }
    }

    #[test]
    fn no_bytes_make_it_stumble(path in prop::collection::vec(any::<u8>(), 0..60), host in prop::collection::vec(any::<u8>(), 0..20)) {
        let routes = ["/**", "/{a}/{b}/**", "/a/{b}"].map(|path| Route { path: path.to_owned(), ..Route::default() });
        let policy = CompiledPolicy::compile(&Policy { routes: routes.to_vec(), ..Policy::default() }).unwrap();
        if let Ok(path) = tollgate_core::policy::unambiguous(&path) {
            prop_assert!(policy.rule(b"GET", &host, path).is_some());
        }
    }
}

/// Rights, and what a rule wants of them, as plain numbers: each stands for one role, subscription or scope.
#[derive(Debug, Clone)]
struct Rights {
    role: usize,
    subscription: Option<usize>,
    scopes: Vec<usize>,
    is_active: bool,
    owns: bool,
}

const WORDS: [&str; 4] = ["user", "developer", "admin", "other"];

fn some(most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::btree_set(0..most, 0..most).prop_map(|set| set.into_iter().collect())
}

fn rights() -> impl Strategy<Value = Rights> {
    (0..4_usize, prop::option::of(0..4_usize), some(4), prop::bool::weighted(0.9), any::<bool>()).prop_map(
        |(role, subscription, scopes, is_active, owns)| Rights { role, subscription, scopes, is_active, owns },
    )
}

/// Roles, subscriptions, scopes, and whether it has to be the caller's own.
type Wanted = (Vec<usize>, Vec<usize>, Vec<usize>, bool);

fn permits((roles, subscriptions, scopes, owned): &Wanted, rights: &Rights) -> bool {
    rights.is_active
        && (roles.is_empty() || roles.contains(&rights.role))
        && (subscriptions.is_empty() || rights.subscription.is_some_and(|one| subscriptions.contains(&one)))
        && scopes.iter().all(|scope| rights.scopes.contains(scope))
        && (!owned || rights.owns || WORDS[rights.role] == "admin")
}

fn decided((roles, subscriptions, scopes, owned): &Wanted, rights: &Rights) -> bool {
    let words = |places: &[usize]| places.iter().map(|place| WORDS[*place].to_owned()).collect::<Vec<_>>();
    let route = Route {
        path: "/of/{user_id}".into(),
        roles: words(roles),
        subscriptions: words(subscriptions),
        scopes: words(scopes),
        owner: owned.then(|| "user_id".to_owned()),
        ..Route::default()
    };
    let policy = CompiledPolicy::compile(&Policy { routes: vec![route], ..Policy::default() }).unwrap();
    let path: &[u8] = if rights.owns { b"/of/u" } else { b"/of/another" };
    let met = policy.rule(b"GET", b"h", path).unwrap();
    let identity: Identity = serde_json::from_value(serde_json::json!({
        "user_id": "u", "role": WORDS[rights.role], "is_active": rights.is_active,
        "subscription": rights.subscription.map(|place| WORDS[place]),
    }))
    .unwrap();
    let scopes: Vec<Box<str>> = rights.scopes.iter().map(|place| WORDS[*place].into()).collect();
    let caller = Caller {
        method: Method::Clerk,
        identity: &identity,
        scopes: &scopes,
        session_id: None,
        issued_at: Some(1),
        actor: None,
    };
    decide(caller, met.rule, met.owner, 2).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_passes_has_what_the_rule_wants(wanted in (some(4), some(4), some(4), any::<bool>()), rights in rights()) {
        prop_assert_eq!(decided(&wanted, &rights), permits(&wanted, &rights));
    }

    #[test]
    fn more_rights_never_shut_anybody_out(
        wanted in (some(4), some(4), some(4), any::<bool>()), rights in rights(), more in some(4), bought in 0..4_usize,
        gains in prop::collection::vec(any::<bool>(), 4),
    ) {
        let mut richer = rights.clone();
        if gains[0] { richer.owns = true; }
        if gains[1] { richer.scopes.extend(more); }
        if gains[2] { richer.is_active = true; }
        // Another subscription is another right, not more of one; having none is the least.
        if gains[3] { richer.subscription = richer.subscription.or(Some(bought)); }
        prop_assert!(!decided(&wanted, &rights) || decided(&wanted, &richer));
    }
}
