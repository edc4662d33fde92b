//! Tables of good and faulty policies.

use super::*;

fn faults(text: &str) -> Vec<String> {
    parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn the_whole_grammar_is_read() {
    let policy = parse(
        r#"
        default = "authenticate"
        mode = "shadow"
        [[routes]]
        path = "/api/templates/**"
        methods = ["GET", "POST"]
        accept = ["clerk", "api_key"]
        roles = ["admin"]
        scopes = ["templates:read"]
        subscriptions = ["pro"]
        assertion = true
        forward_credential = true
        session_cookie = true
        cost = { header = "x-tokens-used", at_least = 2 }
        [[routes]]
        path = "/public/**"
        auth = "none"
        [[routes]]
        path = "/"
        auth = "optional"
        assertion = "backend"
        [[routes]]
        host = "*.example.com"
        path = "/api/users/{user_id}/**"
        owner = "user_id"
        mode = "enforce"
        "#,
    )
    .unwrap();
    assert_eq!(policy.fallback, Fallback::Authenticate);
    let first = &policy.routes[0];
    assert_eq!(first.accept, [Method::ApiKey, Method::Clerk]);
    assert_eq!(
        (first.assertion.as_deref(), first.session_cookie, first.forward_credential),
        (Some("tollgate"), true, true)
    );
    let cost = first.cost.as_ref().map(|cost| (cost.at_least, cost.reserve));
    assert_eq!((cost, policy.routes[1].cost.as_ref()), (Some((2, 2)), None));
    assert_eq!(policy.routes[1].auth, Auth::None);
    assert_eq!(policy.routes[2].assertion.as_deref(), Some("backend"));
    let owned = &policy.routes[3];
    assert_eq!((owned.host.as_deref(), owned.owner.as_deref()), (Some("*.example.com"), Some("user_id")));
    let modes: Vec<Mode> = policy.routes.iter().map(|route| route.mode).collect();
    assert_eq!((policy.mode, modes), (Mode::Shadow, vec![Mode::Shadow, Mode::Shadow, Mode::Shadow, Mode::Enforce]));
    assert_eq!(parse("").unwrap(), Policy::default());
    assert_eq!(parse("").unwrap().fallback, Fallback::Deny);
}

#[test]
fn the_cookie_is_a_kind_of_its_own() {
    use Method::{ApiKey, Clerk, Legacy};
    for (route, accept, session_cookie, cookie_only) in [
        ("accept = [\"cookie\"]", vec![Clerk], true, true),
        ("accept = [\"cookie\", \"api_key\"]", vec![ApiKey, Clerk], true, true),
        ("accept = [\"cookie\", \"clerk\", \"legacy\"]", vec![Clerk, Legacy], true, false),
        ("accept = [\"cookie\"]\nsession_cookie = false", vec![Clerk], true, true),
        ("accept = [\"clerk\"]\nsession_cookie = true", vec![Clerk], true, false),
        ("accept = [\"clerk\"]", vec![Clerk], false, false),
        ("session_cookie = true", vec![], true, false),
    ] {
        let policy = parse(&format!("[[routes]]\npath = \"/a\"\n{route}")).unwrap();
        let read = &policy.routes[0];
        let got = (read.accept.clone(), read.session_cookie, read.cookie_only);
        assert_eq!(got, (accept, session_cookie, cookie_only), "{route}");
    }
}

#[test]
fn the_built_in_text_is_the_built_in_policy() {
    for clerks in [vec![], vec!["eu", "us"]] {
        let text = built_in_text(clerks.iter().copied());
        assert_eq!(parse(&text).unwrap(), built_in(clerks.iter().copied()), "{text}");
    }
}

#[test]
fn every_fault_is_listed() {
    let all = faults(
        r#"
        default = "allow"
        limit = 1
        [[routes]]
        path = "a"
        owner = "user_id"
        roles = ["root", "admin"]
        [[routes]]
        methods = ["get"]
        auth = "maybe"
        scopes = []
        "#,
    );
    for part in [
        "default: must be",
        "limit: unknown key",
        "routes[0] (a).path: must be",
        "routes[0] (a).owner: names no part",
        "\"root\" must be",
        "routes[1] (no path).path: is missing",
        "\"get\" must be",
        "auth: must be",
        "scopes: is empty",
    ] {
        assert!(all.iter().any(|fault| fault.contains(part)), "{part} in {all:#?}");
    }
    assert_eq!(all.len(), 9, "{all:#?}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (route, part) in [
        ("path = \"/a\"\nauth = \"none\"\nroles = [\"admin\"]", "must be \"required\""),
        ("path = \"/a\"\nauth = \"optional\"\nscopes = [\"x\"]", "must be \"required\""),
        ("path = \"/a\"\nauth = \"none\"\nassertion = true", "need a credential"),
        ("path = \"/a\"\naccept = [\"legacy\"]\nsession_cookie = true", "needs \"clerk\" or \"cookie\""),
        ("path = \"/a\"\n[[routes]]\npath = \"/a\"", "more than once"),
        (
            "path = \"/a\"\nmethods = [\"GET\"]\n[[routes]]\npath = \"/a\"\nmethods = [\"PUT\", \"GET\"]",
            "GET /a is there",
        ),
        ("path = \"/a//b\"", "normal form"),
        ("path = \"/a/../b\"", "normal form"),
        ("path = \"/a*\"", "normal form"),
        ("path = \"/a/**/b\"", "normal form"),
        ("path = \"/a/%62\"", "normal form"),
        ("path = \"/users/{Id}\"", "normal form"),
        ("path = \"/users/x{id}\"", "normal form"),
        ("path = \"/users/{}\"", "normal form"),
        ("path = \"/{id}/{id}\"", "normal form"),
        ("path = \"/users/{id}\"\nowner = \"user\"", "names no part"),
        ("path = \"/users/{id}\"\nowner = \"id\"\nauth = \"optional\"", "somebody has to be the owner"),
        ("path = \"/a\"\ncost = 1\nauth = \"optional\"", "where a request costs tokens"),
        ("path = \"/a\"\ncost = 0", "must be a whole number from 1"),
        ("path = \"/users/{id}\"\n[[routes]]\npath = \"/users/{user}\"", "any method /users/{user} is there"),
        ("path = \"/a\"\nhost = \"API.example.com\"", "lower case"),
        ("path = \"/a\"\nhost = \"a.*.example.com\"", "lower case"),
        ("path = \"/a\"\nhost = \"example.com:443\"", "lower case"),
        ("path = \"/a\"\nhost = \"h\"\n[[routes]]\npath = \"/a\"\nhost = \"h\"", "any method h/a is there"),
        ("path = \"/a\"\nmode = \"off\"", "must be \"enforce\""),
        ("path = 7", "must be a text"),
        ("path = \"/a", "TOML parse error"),
    ] {
        let all = faults(&format!("[[routes]]\n{route}"));
        assert!(all.iter().any(|fault| fault.contains(part)), "{route}: {all:?}");
    }
    let same_path_other_method =
        "[[routes]]\npath=\"/a\"\nmethods=[\"GET\"]\n[[routes]]\npath=\"/a\"\nmethods=[\"PUT\"]";
    assert!(parse(same_path_other_method).is_ok());
}

#[test]
fn the_built_in_policy_protects_everything() {
    let policy = built_in(["eu"].into_iter());
    assert_eq!(policy.fallback, Fallback::Authenticate);
    let (open, own): (Vec<_>, Vec<_>) = policy.routes.iter().partition(|route| route.auth == Auth::None);
    assert!(own.iter().all(|route| route.auth == Auth::Required && route.assertion.is_some()));
    // What is open is named exactly, and nobody is named to it.
    assert!(open.iter().all(|route| !route.path.contains('*') && route.assertion.is_none()), "{open:?}");
    assert_eq!(open.len(), 5);
    assert!(open.iter().any(|route| route.path == "/webhooks/clerk/eu"));
}
