//! Every kind of secret is used, rightly and wrongly, at the most talkative level of the log; then everything that leaves
//! the program is searched for it.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use mongodb::bson::doc;
use serde_json::{Value, json};
use tollgate::{
    clerk::{
        svix::SigningSecret,
        url::{ApiUrl, JwksUrl},
    },
    clock::{Clock as _, SystemClock},
    config::{ClerkConfig, ClerkKeys, MongoUrl, Secret, StoreLocation},
    dev::issuer::Issuer,
    random,
};
use tollgate_tests::{
    http::{Answer, Request},
    mongod::Cluster,
    redis::{self, Redis},
    stack::{ISSUER, LEGACY_SECRET, WEBHOOK_SECRET, new_key, user_with_password},
    svix::Delivery,
    wait::{PATIENCE, until},
};

use super::{EDGE_SECRET, Program, collector::Collector, post};

/// Whatever left the program, by where it was seen.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: &str, answer: Answer) -> Answer {
        let headers: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        self.0.push((place.to_owned(), [headers.as_bytes(), &answer.body].concat()));
        answer
    }
}

/// The forms in which a secret may not be seen.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), secret[secret.len() - 8..].to_owned(), hex.to_uppercase(), hex];
    // In a longer text it may begin at any of three places of a group; the ends depend on what stands beside it.
    for skipped in 0..3 {
        let inside = &secret.as_bytes()[skipped..];
        let whole = &inside[..inside.len() / 3 * 3];
        forms.extend([STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole)]);
    }
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_the_program() {
    let own = |name: &str| format!("{name}-{}", random::id("").expect("randomness"));
    let (mongo_password, right, wrong) = (own("mongo"), own("right"), own("wrong"));
    let cluster = Cluster::set(1).await;
    let admin = cluster.database("admin").await;
    let make = doc! { "createUser": "tollgate", "pwd": &mongo_password, "roles": ["root"] };
    admin.run_command(make).await.expect("a user of MongoDB");
    let url = cluster.url("people").replace("mongodb://", &format!("mongodb://tollgate:{mongo_password}@"));
    let url = MongoUrl::parse(&format!("{url}&authSource=admin")).expect("an address");
    let mut redis = Redis::start().await;
    let collector = Collector::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let issuer = Issuer::start(listener, ISSUER, new_key(), None).expect("an issuer");
    let clerk_key = format!("sk_test_{}", own("clerk").replace('-', ""));
    let mut clerk = ClerkConfig::of_issuer(ISSUER).expect("an issuer");
    clerk.secret_key = Some(Secret::new(clerk_key.clone()));
    // Where nobody answers.
    clerk.api_url = ApiUrl::parse("http://127.0.0.1:1").expect("an address");
    clerk.webhook_secrets = vec![SigningSecret::parse(WEBHOOK_SECRET).expect("a secret")];
    clerk.keys = ClerkKeys::Fetched {
        url: JwksUrl::parse(issuer.jwks_url()).expect("an address"),
        refresh: Duration::from_millis(500),
        min_interval: Duration::from_millis(100),
    };
    let program = Program::start(|config| {
        config.clerk = Some(clerk);
        config.store = StoreLocation::Mongo(url);
        config.redis = Some(redis.config());
        config.otlp = Some(collector.endpoint());
        config.log_filter = "trace".to_owned();
    })
    .await;
    let ada = user_with_password(&program.config, "ada@example.com", Some(&right)).await;
    let mut seen = Seen::default();
    let mut secrets = vec![
        EDGE_SECRET.to_owned(),
        LEGACY_SECRET.to_owned(),
        mongo_password,
        right.clone(),
        wrong.clone(),
        redis::PASSWORD.to_owned(),
        clerk_key,
        WEBHOOK_SECRET.to_owned(),
    ];

    // Rightly. What these answer with is the client's own.
    let login = json!({"email": "ada@example.com", "password": right});
    let tokens = program.api(post("/auth/login", &login)).await.json();
    let token = |name: &str| tokens[name].as_str().expect(name).to_owned();
    let (access, refresh) = (token("access_token"), token("refresh_token"));
    let again = program.api(post("/auth/refresh", &json!({"refresh_token": refresh}))).await.json();
    let newer = again["refresh_token"].as_str().expect("a token").to_owned();
    let assertion = program.assertion(&ada).await;
    let new_key = post("/api/keys", &json!({"name": "ci", "scopes": []})).header("x-auth-assertion", &assertion);
    let key = program.api(new_key).await.json()["key"].as_str().expect("a key").to_owned();
    let hash = tollgate::service::keys::hash(&key);
    for _ in 0..3 {
        let answer = program.resolve(json!({"credential": "api_key", "hash": hash})).await;
        assert_eq!(answer.json()["outcome"]["identity"]["user_id"], json!(ada.id.as_str()), "{}", answer.text());
    }
    // Whoever is new is looked up at Clerk, which does not answer.
    let new = json!({"credential": "clerk", "issuer": ISSUER, "subject": "user_1", "email_verified": false});
    assert_eq!(program.resolve(new).await.status, 200);
    let now = SystemClock.now().unix_seconds();
    let gone = json!({"type": "user.deleted", "data": {"id": "user_1", "object": "user", "deleted": true}});
    let signed = Delivery::new("msg_1", now, &gone).signed("/webhooks/clerk", WEBHOOK_SECRET);
    let answer = seen.add("webhook", program.api(signed).await);
    assert!(answer.status < 300, "{}", answer.text());
    let settings = program.edge(Request::get("/edge/v1/sync?node=n1").bearer(EDGE_SECRET)).await.json();
    let seed = settings["settings"]["assertion"]["seed"].as_str().expect("a seed").to_owned();
    secrets.extend([access, refresh.clone(), newer, assertion.clone(), key, seed, hash.to_string()]);

    // Wrongly, in every place where somebody may put one.
    for secret in secrets.clone() {
        for (place, request) in [
            ("login", post("/auth/login", &json!({"email": "ada@example.com", "password": secret}))),
            ("login, e-mail", post("/auth/login", &json!({"email": secret, "password": secret}))),
            (
                "login, torn",
                Request::post("/auth/login", format!("{{\"password\": \"{secret}"))
                    .header("Content-Type", "application/json"),
            ),
            ("login, media type", Request::post("/auth/login", secret.clone()).header("Content-Type", &secret)),
            ("login, large", post("/auth/login", &json!({"password": secret.repeat(2_000)}))),
            ("refresh", post("/auth/refresh", &json!({"refresh_token": format!("{secret}x")}))),
            ("assertion", Request::get("/api/me").header("x-auth-assertion", format!("{secret}x"))),
            ("assertion, changed", Request::get("/api/me").header("x-auth-assertion", format!("{assertion}{secret}"))),
            ("authorization", Request::get("/api/me").bearer(&secret).api_key(&secret)),
            ("path", Request::get(&format!("/api/{secret}"))),
            ("query", Request::get(&format!("/api/keys?key={secret}"))),
            (
                "path of a key",
                Request::new("DELETE", &format!("/api/keys/{secret}")).header("x-auth-assertion", &assertion),
            ),
            ("webhook", Delivery::new(&secret, now, &gone).request("/webhooks/clerk", &format!("v1,{secret}"))),
            ("webhook, torn", Delivery::new("msg_2", now, &secret).signed("/webhooks/clerk", WEBHOOK_SECRET)),
            ("cookie", Request::get("/api/me").header("Cookie", format!("__session={secret}"))),
            (
                "trace",
                Request::get("/api/me").header("traceparent", &secret).header("tracestate", format!("a={secret}")),
            ),
        ] {
            seen.add(place, program.api(request).await);
        }
        // A member that is not known is named to whoever has sent it, and to nobody else.
        program.api(post("/auth/login", &json!({ secret.as_str(): secret }))).await;
        for (place, request) in [
            ("edge secret", Request::get("/edge/v1/sync").bearer(&format!("{secret}x"))),
            ("cursor", Request::get(&format!("/edge/v1/sync?cursor={secret}&node=n1")).bearer(&format!("x{secret}"))),
            (
                "resolve, torn",
                Request::post("/edge/v1/resolve", format!("{{\"credential\": \"{secret}\""))
                    .bearer(EDGE_SECRET)
                    .header("Content-Type", "application/json"),
            ),
            ("resolve, kind", post("/edge/v1/resolve", &json!({"credential": secret})).bearer(EDGE_SECRET)),
            (
                "resolve, subject",
                post("/edge/v1/resolve", &json!({"credential": "legacy", "subject": secret})).bearer(EDGE_SECRET),
            ),
            ("edge path", Request::get(&format!("/{secret}"))),
        ] {
            seen.add(place, program.edge(request).await);
        }
    }
    // Used up: the session ends.
    seen.add("refresh, used up", program.api(post("/auth/refresh", &json!({"refresh_token": refresh}))).await);

    // While what it needs is away.
    redis.kill();
    let primary = cluster.freeze_primary().await;
    let asks = [
        program.api(post("/auth/login", &login)),
        program.api(Request::get("/api/me").header("x-auth-assertion", &assertion)),
    ];
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(seen.add("store away", answer).status, 503);
    }
    seen.add("not ready", program.edge(Request::get("/readyz")).await);
    cluster.thaw(primary);
    let ready = || async { (program.edge(Request::get("/readyz")).await.status == 200).then_some(()) };
    until("it is ready again", PATIENCE, ready).await;
    seen.add("readyz", program.edge(Request::get("/readyz")).await);
    seen.add("metrics", program.edge(Request::get("/metrics")).await);
    let Program { control_plane, log, _folder: folder, .. } = program;
    control_plane.terminate().await;

    let text = std::fs::read(&log).expect("a log");
    println!("searched: {} bytes of log, {} of traces, {} answers", text.len(), collector.bytes().len(), seen.0.len());
    let lines = String::from_utf8_lossy(&text);
    let count = |part: &str| lines.lines().filter(|line| line.contains(part)).count();
    let [trace, debug, error] = ["TRACE", "DEBUG", "ERROR"].map(|level| count(&format!("\"level\":\"{level}\"")));
    println!(
        "lines: {trace} TRACE, {debug} DEBUG, {error} ERROR, {} of them in a call to the store",
        count("\"store\"")
    );
    assert!(debug > 50 && error > 0, "the log is not talkative");
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "a line that is no JSON");
    assert!(collector.spans().len() > 100, "traces are sent");
    seen.0.push(("log".to_owned(), text));
    seen.0.push(("traces".to_owned(), collector.bytes()));
    let mut found = Vec::new();
    for secret in &secrets {
        for form in forms(secret) {
            for (place, bytes) in &seen.0 {
                if let Some(at) = bytes.windows(form.len()).position(|part| part == form.as_bytes()) {
                    let around = &bytes[at.saturating_sub(150)..(at + 100).min(bytes.len())];
                    found.push(format!("{place}: {form} in …{}…", String::from_utf8_lossy(around)));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} times:\n{}", found.len(), found[..found.len().min(8)].join("\n"));
    drop(folder);
}
