//! Whether somebody passes at all, with kinds of sign-in, openness and the default drawn, too: the whole engine against the
//! model's choice of a route. It must not use the compiled tree.

use proptest::prelude::*;
use tollgate_protocol::{
    Method,
    policy::{Auth, Fallback, Policy, Route},
};

use super::{
    cast::{Cast, PEOPLE},
    model::{accepted, model, path, route},
};

fn drawn() -> impl Strategy<Value = Route> {
    let auth = prop::sample::select(vec![Auth::Required, Auth::Required, Auth::Optional, Auth::None]);
    let accept = prop::sample::subsequence(vec![Method::ApiKey, Method::Clerk, Method::Legacy], 0..3);
    let roles = prop::sample::subsequence(vec!["user", "developer", "admin"], 0..3);
    (route(), auth, accept, roles).prop_map(|(route, auth, accept, roles)| {
        // Who need not sign in has no role.
        let roles = if auth == Auth::Required { roles } else { Vec::new() };
        Route { auth, accept, roles: roles.into_iter().map(str::to_owned).collect(), ..route }
    })
}

/// Whether a rule lets somebody (`None`: nobody) through.
fn permits(route: &Route, who: Option<(&str, &str, bool)>) -> bool {
    match (route.auth, who) {
        (Auth::None, _) | (Auth::Optional, None) => true,
        (Auth::Required, None) => false,
        (_, Some((kind, role, is_active))) => {
            is_active
                && (route.accept.is_empty() || route.accept.iter().any(|method| method.as_str() == kind))
                && (route.roles.is_empty() || route.roles.iter().any(|wanted| wanted == role))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whoever_passes_passes_by_the_rule_that_decides(
        routes in prop::collection::vec(drawn(), 0..10),
        authenticate in any::<bool>(),
        requests in prop::collection::vec(
            (prop::sample::select(vec!["GET", "POST", "PUT"]), prop::sample::select(vec!["h.test", "y.h.test", "other"]),
             path(), 0..=PEOPLE.len()),
            12,
        ),
    ) {
        let routes = accepted(routes);
        let fallback = if authenticate { Fallback::Authenticate } else { Fallback::Deny };
        let policy = Policy { routes: routes.clone(), fallback, ..Policy::default() };
        let mut cast = Cast::new(&serde_json::to_string(&policy).unwrap());
        for (method, host, path, who) in requests {
            let who = PEOPLE.get(who);
            let facts = who.map(|(_, kind, role, _, _, is_active)| (*kind, *role, *is_active));
            let name = who.map_or("-", |person| person.0);
            let expected = match model(&routes, method, host, &path) {
                Some(place) => permits(&routes[place], facts),
                None => authenticate && permits(&Route::default(), facts),
            };
            let got = cast.ask(method, &format!("{host}{path}"), name);
            let passes = matches!(&*got, "pass" | "anonymous");
            prop_assert_eq!(passes, expected, "{} {}{} {}: {} in {:#?}", method, host, path, name, got, routes);
        }
    }

    /// To come with a credential that is good, where none is needed, shuts nobody out.
    #[test]
    fn who_passes_without_a_credential_passes_with_one(path in path(), who in 0..PEOPLE.len(), is_prefix in any::<bool>()) {
        let (name, _, _, _, _, is_active) = PEOPLE[who];
        let pattern = if is_prefix { "/**" } else { path.as_str() };
        let mut cast = Cast::new(&format!(r#"{{"fallback":"deny","routes":[{{"path":"{pattern}","auth":"optional"}}]}}"#));
        prop_assert_eq!(cast.ask("GET", &path, "-"), "anonymous");
        prop_assert_eq!(cast.ask("GET", &path, name), if is_active { "pass" } else { "user_inactive" });
    }
}
