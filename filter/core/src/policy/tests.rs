//! Tables over one `check`: which rule a request meets.

use tollgate_protocol::policy::{Fallback, Policy, Route as Wire};

use super::*;

fn route(path: &str, methods: &[&str], name: &str) -> Wire {
    serde_json::from_value(serde_json::json!({"path": path, "methods": methods, "roles": [name]})).unwrap()
}

#[track_caller]
fn check(routes: &[Wire], method: &str, path: &str, expect: Option<&str>) {
    let policy =
        CompiledPolicy::compile(&Policy { fallback: Fallback::Deny, routes: routes.to_vec(), ..Policy::default() })
            .unwrap();
    let met = policy.rule(method.as_bytes(), b"api.example.com", path.as_bytes());
    assert_eq!(met.map(|met| &*met.rule.roles[0]), expect, "{method} {path}");
}

#[test]
fn the_most_specific_route_decides() {
    let routes = [
        route("/**", &[], "root"),
        route("/api/**", &[], "api"),
        route("/api/keys", &[], "keys"),
        route("/api/keys", &["DELETE"], "delete-keys"),
        route("/api/keys/**", &["GET"], "below-keys"),
    ];
    check(&routes, "GET", "/", Some("root"));
    check(&routes, "GET", "/apis", Some("root"));
    check(&routes, "GET", "/api", Some("api"));
    check(&routes, "GET", "/api/", Some("api"));
    check(&routes, "GET", "/api/keys", Some("keys"));
    check(&routes, "DELETE", "/api/keys", Some("delete-keys"));
    check(&routes, "GET", "/api/keys/1", Some("below-keys"));
    check(&routes, "POST", "/api/keys/1", Some("api"));
    check(&routes[1..], "GET", "/other", None);
    check(&[], "GET", "/", None);
}

#[test]
fn faulty_routes_are_all_listed() {
    let routes = vec![
        route("api", &[], "a"),
        route("/a/*/b", &[], "a"),
        route("/a//b", &[], "a"),
        route("/fine", &[], "a"),
        route("/a", &["get"], "a"),
        route("/fine", &[], "b"),
        route("/a?b", &[], "a"),
        route("/a/{b}c", &[], "a"),
        route("/{a}/{a}", &[], "a"),
        route("/t/{a}/u", &["GET", "PUT"], "a"),
        route("/t/{b}/u", &["PUT"], "a"),
        Wire { host: Some("Example.com".into()), ..route("/h", &[], "a") },
        Wire { owner: Some("b".into()), ..route("/o/{a}", &[], "a") },
    ];
    let faults =
        CompiledPolicy::compile(&Policy { fallback: Fallback::Deny, routes, ..Policy::default() }).unwrap_err();
    let found: Vec<_> = faults
        .iter()
        .map(|fault| match fault {
            PolicyFault::Route { index, fault, .. } => (*index, *fault),
            PolicyFault::Limit { .. } => panic!("{fault}"),
        })
        .collect();
    use RouteFault::*;
    assert_eq!(
        found,
        [
            (0, Relative),
            (1, Wildcard),
            (2, Ambiguous),
            (4, HttpMethod),
            (5, Duplicate),
            (6, Ambiguous),
            (7, Wildcard),
            (8, NameTwice),
            (10, Duplicate),
            (11, Host),
            (12, Owner),
        ]
    );
}

#[test]
fn paths_with_two_readings_are_refused() {
    for good in [
        "/",
        "/a",
        "/a/",
        "/a.b/..c/...",
        "/a%20b",
        "/a?b=../..//\\",
        "/%C3%A9",
        "/%e2%82%ac",
        "/%F0%9F%98%80x",
        "/a:b@c,d=e!$&'()*+~",
        "/%21%24%2B%3a%40%5B",
    ] {
        assert!(unambiguous(good.as_bytes()).is_ok(), "{good}");
    }
    let bad: [&[u8]; 46] = [
        b"",
        b"*",
        b"a",
        b"//",
        b"/a//b",
        b"/.",
        b"/..",
        b"/a/./b",
        b"/a/../b",
        b"/a/..",
        b"/%2e%2e/a",
        b"/a%2Fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a;b",
        b"/a%00",
        b"/a%2",
        b"/a%zz",
        b"/a%252e",
        b"/\xc3\xa9",
        b"/%61dmin",
        b"/%7A",
        b"/%5a",
        b"/%30",
        b"/%39",
        b"/%2d",
        b"/%5F",
        b"/%7e",
        b"/%C0%AE%c0%ae/admin",
        b"/a%c0%afb",
        b"/a%c1%9cb",
        b"/%e0%80%af",
        b"/%e0%9f%bf",
        b"/%f0%80%80%af",
        b"/%f0%8f%bf%bf",
        b"/%ed%a0%80",
        b"/%f4%90%80%80",
        b"/%f5%80%80%80",
        b"/%ff",
        b"/%80",
        b"/%e9",
        b"/%c3a",
        b"/%c3",
        b"/%c3%",
        b"/%c3%41",
        b"/%e2%82/",
    ];
    for bad in bad {
        assert_eq!(unambiguous(bad), Err(AmbiguousPath), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn a_path_is_as_long_as_everybody_takes() {
    for (length, query, fine) in [(8_192, 0, true), (8_192, 10_000, true), (8_193, 0, false)] {
        let path = format!("/{}?{}", "a".repeat(length - 1), "q".repeat(query));
        assert_eq!(unambiguous(path.as_bytes()).is_ok(), fine, "{length} and a query of {query}");
    }
}
