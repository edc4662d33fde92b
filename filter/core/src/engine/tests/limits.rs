//! Whom a request counts for, in which order, and what a refusal looks like.

use std::cell::Cell;

use tollgate_protocol::{
    Rate,
    limits::{BucketState, LimitsAnswer},
};

use super::*;

/// The shared memory, and whose request it is.
#[derive(Default)]
struct Host {
    shared: Shared,
    address: Cell<&'static str>,
}

impl NativeVerifier for Host {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl World for Host {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        self.shared.shared_get(slot)
    }
    fn shared_set(&self, slot: &str, value: &[u8]) {
        self.shared.shared_set(slot, value);
    }
    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.shared.shared_read(slot)
    }
    fn shared_swap(&self, slot: &str, value: &[u8], version: u32) -> bool {
        self.shared.shared_swap(slot, value, version)
    }
    fn client_address(&self) -> Option<Vec<u8>> {
        Some(self.address.get().into())
    }
}

/// Two people and a host with these routes.
struct Scene<'a> {
    vm: Vm<'a>,
    host: &'a Host,
}

/// What a request meets: `pass`, or the code; and what the answer tells.
type Told = (String, Vec<(String, String)>);

impl<'a> Scene<'a> {
    fn new(host: &'a Host, routes: &str) -> Self {
        let mut settings = settings();
        settings.policy = serde_json::from_str(&format!(
            r#"{{"limits":{{
                "user":{{"by":"user","rate":{{"requests":2,"seconds":60}},"tiers":{{"pro":{{"requests":4,"seconds":60}}}}}},
                "key":{{"by":"key","rate":{{"requests":2,"seconds":60}}}},
                "all":{{"by":"endpoint","rate":{{"requests":3,"seconds":60}}}},
                "address":{{"by":"address","rate":{{"requests":3,"seconds":60}},"headers":["retry-after"]}}
            }},"routes":[{routes}]}}"#
        ))
        .unwrap();
        let mut vm = Vm::ready(&host.shared);
        vm.engine.use_settings(Compiled::compile(&settings).unwrap().0);
        host.address.set("192.0.2.1:1000");
        Self { vm, host }
    }

    /// Makes somebody known who comes with this key.
    fn knows(&mut self, user: &str, key: &str, change: impl FnOnce(&mut Identity)) {
        let mut identity = holder(user, key);
        identity.key.as_mut().unwrap().id = format!("id of {key}");
        change(&mut identity);
        let subject = SubjectKey::of_key(&hash(key));
        let _ = self.vm.engine.answered(subject, answer(Outcome::Identity(identity), 1), self.vm.now, self.host);
    }

    fn ask(&mut self, path: &str, key: Option<&str>) -> Told {
        let api_key = key.map_or(Field::Absent, |key| Field::One(key.as_bytes()));
        let request = RequestView { method: b"GET", path: path.as_bytes(), api_key, ..RequestView::default() };
        let text = |name: &str, value: &[u8]| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap());
        match self.vm.engine.decide(&request, Turn::First, self.vm.now, self.host) {
            Step::Done(Verdict::Refuse(reply)) => {
                (reply.code.to_string(), reply.headers().map(|(name, value)| text(name, value)).collect())
            }
            Step::Done(Verdict::Forward(plan)) => {
                let watched = plan.shadow.map(|verdict| verdict.err().map_or("would pass", Code::as_str));
                (
                    watched.unwrap_or("pass").to_owned(),
                    plan.answer.iter().map(|(name, value)| text(name, value)).collect(),
                )
            }
            Step::Wait(wait) => panic!("{wait:?}"),
        }
    }

    /// What so many requests meet, one after the other.
    #[track_caller]
    fn check(&mut self, path: &str, key: Option<&str>, expect: &[&str]) {
        let met: Vec<String> = expect.iter().map(|_| self.ask(path, key).0).collect();
        assert_eq!(met, expect, "{path} {key:?}");
    }
}

const LIMITED: &str = "rate_limited";

fn scene<'a>(host: &'a Host, routes: &str) -> (Scene<'a>, [String; 3]) {
    let mut scene = Scene::new(host, routes);
    let keys = [key(1), key(2), key(3)];
    scene.knows("ada", &keys[0], |_| {});
    scene.knows("ada", &keys[1], |_| {});
    scene.knows("grace", &keys[2], |identity| identity.subscription = Some("pro".into()));
    (scene, keys)
}

#[test]
fn users_keys_and_routes_have_counts_of_their_own() {
    let host = Host::default();
    let routes = r#"{"path":"/user","limits":["user"]},{"path":"/user2","limits":["user"]},
        {"path":"/key","limits":["key"]},{"path":"/all","limits":["all"]},{"path":"/all/{x}","limits":["all"]}"#;
    let (mut scene, [one, two, grace]) = scene(&host, routes);
    scene.check("/user", Some(&one), &["pass"]);
    scene.check("/user2", Some(&two), &["pass", LIMITED]);
    scene.check("/user", Some(&grace), &["pass", "pass", "pass", "pass", LIMITED]);
    scene.check("/key", Some(&one), &["pass", "pass", LIMITED]);
    scene.check("/key", Some(&two), &["pass", "pass", LIMITED]);
    scene.check("/all", Some(&one), &["pass", "pass"]);
    scene.check("/all", Some(&grace), &["pass", LIMITED]);
    scene.check("/all/a", Some(&one), &["pass", "pass"]);
    scene.check("/all/b", Some(&grace), &["pass", LIMITED]);
    scene.vm.later(30_000);
    scene.check("/user", Some(&one), &["pass", LIMITED]);
}

#[test]
fn the_strictest_decides_and_who_may_not_pass_is_not_counted() {
    let host = Host::default();
    let routes = r#"{"path":"/both","limits":["user","all"]},{"path":"/admin","roles":["admin"],"limits":["all"]},
        {"path":"/only","limits":["user"]}"#;
    let (mut scene, [one, _, grace]) = scene(&host, routes);
    scene.check("/both", Some(&one), &["pass", "pass", LIMITED, LIMITED]);
    scene.check("/both", Some(&grace), &["pass", LIMITED]);
    scene.check("/only", Some(&grace), &["pass", "pass", "pass", LIMITED]);
    scene.check("/admin", Some(&one), &["role_required"; 5]);
}

#[test]
fn addresses_count_before_credentials() {
    let host = Host::default();
    let routes = r#"{"path":"/a","limits":["address"]},{"path":"/open","auth":"none","limits":["address","all"]},
        {"path":"/maybe","auth":"optional","limits":["user","all"]}"#;
    let (mut scene, [one, ..]) = scene(&host, routes);
    scene.check("/a", Some("junk"), &["api_key_malformed"; 3]);
    scene.check("/a", Some(&one), &[LIMITED]);
    let (_, told) = scene.ask("/open", None);
    assert_eq!(told.iter().find(|(name, _)| name == "retry-after").map(|(_, value)| value.as_str()), Some("20"));
    assert!(!told.iter().any(|(name, _)| name.contains("ratelimit")), "{told:?}");
    // Another port is the same client, another address is another one.
    host.address.set("192.0.2.1:2000");
    scene.check("/a", Some(&one), &[LIMITED]);
    host.address.set("192.0.2.2:1000");
    scene.check("/open", None, &["pass", "pass", "pass", LIMITED]);
    // Who is nobody has no count as a user.
    scene.check("/maybe", None, &["pass", "pass", "pass", LIMITED]);
}

#[test]
fn a_key_brings_a_limit_of_its_own() {
    let host = Host::default();
    let (mut scene, [one, ..]) = scene(&host, r#"{"path":"/a"},{"path":"/b","limits":["user"]}"#);
    let slow = key(9);
    scene.knows("ada", &slow, |identity| {
        identity.key.as_mut().unwrap().rate = Some(Rate { requests: 1, seconds: 60, burst: Some(1) });
    });
    scene.check("/a", Some(&slow), &["pass", LIMITED]);
    scene.check("/b", Some(&slow), &[LIMITED]);
    scene.check("/b", Some(&one), &["pass", "pass", LIMITED]);
    let (_, told) = scene.ask("/a", Some(&slow));
    assert!(told.contains(&("ratelimit-policy".into(), "\"api key\";q=1;w=60".into())), "{told:?}");
}

#[test]
fn what_is_only_watched_passes_and_tells_the_client_nothing() {
    let host = Host::default();
    let (mut scene, [one, ..]) = scene(&host, r#"{"path":"/a","limits":["user"],"mode":"shadow"}"#);
    scene.check("/a", Some(&one), &["would pass", "would pass", LIMITED, LIMITED]);
    assert!(scene.ask("/a", Some(&one)).1.is_empty());
}

#[test]
fn answers_tell_how_it_stands() {
    let host = Host::default();
    let (mut scene, [one, ..]) = scene(&host, r#"{"path":"/a","limits":["user","all"]}"#);
    let (_, told) = scene.ask("/a", Some(&one));
    let expected = [
        ("ratelimit-policy", "\"user\";q=2;w=60, \"all\";q=3;w=60"),
        ("ratelimit", "\"user\";r=1;t=30, \"all\";r=2;t=20"),
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "1"),
        ("x-ratelimit-reset", "30"),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let _ = scene.ask("/a", Some(&one));
    let (code, told) = scene.ask("/a", Some(&one));
    assert_eq!(code, LIMITED);
    for expected in [("retry-after", "30"), ("x-ratelimit-remaining", "0"), ("cache-control", "no-store")] {
        assert!(told.contains(&(expected.0.into(), expected.1.into())), "{expected:?} in {told:?}");
    }
}

#[test]
fn what_is_counted_over_all_envoys_is_reported_beside_the_requests() {
    let host = Host::default();
    let mut settings = settings();
    let limit = r#"{"by":"user","scope":"global","rate":{"requests":16,"seconds":60}}"#;
    let policy = format!(r#"{{"limits":{{"shared":{limit}}},"routes":[{{"path":"/a","limits":["shared"]}}]}}"#);
    settings.policy = serde_json::from_str(&policy).unwrap();
    let (mut scene, [one, ..]) = scene(&host, r#"{"path":"/a"}"#);
    scene.vm.engine.tick(scene.vm.now, &host);
    assert!(scene.vm.engine.take_beside().is_empty(), "nothing is counted over all");
    scene.vm.engine.use_settings(Compiled::compile(&settings).unwrap().0);
    let report = |scene: &mut Scene<'_>| match scene.vm.engine.take_beside().as_slice() {
        [Call::Limits(report)] => report.clone(),
        other => panic!("{other:?}"),
    };
    // The control plane hears of this Envoy before there is anything to count.
    scene.vm.engine.tick(scene.vm.now, &host);
    let first = report(&mut scene);
    assert!(first.used.is_empty() && (1..=64).contains(&first.node.len()), "{first:?}");
    let answer = |envoys, left: &[(u64, u64)]| {
        let buckets = left.iter().map(|(left, wait_us)| BucketState { left: *left, wait_us: *wait_us }).collect();
        Some(LimitsAnswer { envoys, buckets })
    };
    scene.vm.engine.limits_answered(answer(2, &[]), scene.vm.now, &host);
    // Half of it is this Envoy's own.
    scene.vm.later(30);
    scene.check("/a", Some(&one), &["pass"; 8]);
    scene.check("/a", Some(&one), &[LIMITED]);
    let used = report(&mut scene).used;
    assert_eq!(used.iter().map(|one| (one.rate.requests, one.used)).collect::<Vec<_>>(), [(16, 1)], "sent at once");
    assert!(!used[0].bucket.contains("ada"));
    // The one that was told is given back; of what is left for all, half.
    scene.vm.engine.limits_answered(answer(2, &[(15, 0)]), scene.vm.now, &host);
    scene.vm.later(30);
    scene.check("/a", Some(&one), &["pass", LIMITED]);
    let again = report(&mut scene);
    assert_eq!((again.used[0].used, &again.used[0].bucket, &again.node), (8, &used[0].bucket, &first.node));
    // No answer: nothing is given back, and for a second nothing is sent.
    scene.vm.engine.limits_answered(None, scene.vm.now, &host);
    scene.vm.later(500);
    scene.check("/a", Some(&one), &[LIMITED]);
    assert!(scene.vm.engine.take_beside().is_empty());
    scene.vm.later(600);
    scene.vm.engine.tick(scene.vm.now, &host);
    assert_eq!(report(&mut scene).used[0].used, 8, "told again");
    // Nothing is left for all: shut until there is.
    scene.vm.engine.limits_answered(answer(2, &[(0, 5_000_000)]), scene.vm.now, &host);
    scene.check("/a", Some(&one), &[LIMITED]);
    let (_, told) = scene.ask("/a", Some(&one));
    assert!(told.contains(&("retry-after".into(), "5".into())), "{told:?}");
    scene.vm.later(5_000);
    scene.check("/a", Some(&one), &["pass", LIMITED]);
}
