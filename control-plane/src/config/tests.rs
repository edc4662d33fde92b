//! Tables of good and faulty settings.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SECRET: (&str, &str) = ("TOLLGATE_EDGE_SECRET", "0123456789abcdef");

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(pairs: &[(&str, &str)], file: Option<&str>) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    Config::load(&environment(pairs), file.map(|_| path.as_path()))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn check(pairs: &[(&str, &str)], file: Option<&str>, parts: &[&str]) {
    let all: Vec<(&str, &str)> = [SECRET].into_iter().chain(pairs.iter().copied()).collect();
    let faults = load(&all, file).err().unwrap_or_default();
    assert_eq!(faults.len(), parts.len(), "{pairs:?} {file:?}: {faults:#?}");
    for part in parts {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part} in {faults:#?}");
    }
}

#[test]
fn the_defaults_hold() {
    let config = load(&[SECRET], None).unwrap();
    assert_eq!(config.store, StoreLocation::Sqlite("tollgate.db".into()));
    assert_eq!(
        (config.api_listen.to_string(), config.edge_listen.to_string()),
        ("127.0.0.1:8080".into(), "127.0.0.1:8081".into())
    );
    assert!(config.clerk.is_none() && config.legacy.is_none() && !config.accept_imported_keys);
}

#[test]
fn the_environment_goes_over_the_file() {
    let file = "store = \"sqlite:///file.db\"\naccept_imported_keys = true\n[clerk]\npublishable_key = \
                \"pk_test_ZXhhbXBsZS5hY2NvdW50cy5kZXYk\"\nauthorized_parties = [\"https://a\", \"https://b\"]\n\
                jwks_refresh = \"200ms\"\n[log]\nformat = \"json\"";
    let config = load(
        &[SECRET, ("TOLLGATE_STORE", "sqlite://env.db"), ("CLERK_AUTHORIZED_PARTIES", "https://c, https://d")],
        Some(file),
    )
    .unwrap();
    assert_eq!(config.store, StoreLocation::Sqlite("env.db".into()));
    assert_eq!((config.accept_imported_keys, config.log_format), (true, LogFormat::Json));
    let clerk = config.clerk.unwrap();
    assert_eq!(clerk.issuer, "https://example.accounts.dev");
    assert_eq!(clerk.authorized_parties, ["https://c", "https://d"]);
    let ClerkKeys::Fetched { url, refresh, .. } = clerk.keys else { panic!("fetched") };
    assert_eq!(url.to_string(), "https://example.accounts.dev/.well-known/jwks.json");
    assert_eq!(refresh.as_millis(), 200);
}

#[test]
fn every_fault_is_listed_at_once() {
    let file = "edge_secrte = \"x\"\napi_listen = \"here\"\n[clerk]\nissuer = \"http://clerk.example.com\"\nlog = 1";
    let faults = load(&[("TOLLGATE_STORE", "mysql://x"), ("TOLLGATE_LOG_FORMAT", "xml")], Some(file)).unwrap_err();
    for part in [
        "'edge_secrte'",
        "'clerk.log'",
        "api_listen",
        "clerk.issuer",
        "store (TOLLGATE_STORE)",
        "log.format",
        "edge_secret (TOLLGATE_EDGE_SECRET) is not set",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), 7, "{faults:#?}");
}

#[test]
fn single_faults_say_what_would_be_right() {
    check(&[], Some("edge-listen = \"127.0.0.1:1\""), &["did you mean 'edge_listen'"]);
    check(&[], Some("publishable_key = \"x\""), &["did you mean 'clerk.publishable_key'"]);
    check(&[], Some("store = ["), &["line 1"]);
    check(
        &[("TOLLGATE_API_LISTEN", "127.0.0.1:9"), ("TOLLGATE_EDGE_LISTEN", "127.0.0.1:9")],
        None,
        &["must not be public"],
    );
    check(&[("TOLLGATE_STORE", "sqlite://")], None, &["names no file"]);
    check(&[("TOLLGATE_LOG_FILTER", "info,=what=")], None, &["log.filter"]);
    check(&[("CLERK_PUBLISHABLE_KEY", "sk_live_x")], None, &["pk_live_"]);
    check(&[("CLERK_ISSUER", "https://c.x"), ("CLERK_JWKS_REFRESH", "5")], None, &["with a unit"]);
    check(&[("CLERK_ISSUER", "https://c.x"), ("CLERK_JWKS_URL", "http://c.x/jwks")], None, &["must be https"]);
    check(&[("CLERK_ISSUER", "https://c.x"), ("CLERK_MISSING_PARTY", "maybe")], None, &["refuse, accept_from_header"]);
    check(&[("CLERK_AUTHORIZED_PARTIES", "https://a")], None, &["clerk.publishable_key"]);
    let mixed = [("CLERK_PUBLISHABLE_KEY", "pk_test_ZXhhbXBsZS5hY2NvdW50cy5kZXYk"), ("CLERK_SECRET_KEY", "sk_live_x")];
    check(&mixed, None, &["another Clerk instance"]);
    check(&[("LEGACY_JWT_SECRET", "short")], None, &["shorter than the 32"]);
    check(&[("LEGACY_JWT_ISSUER", "https://old")], None, &["legacy.secret"]);
    check(&[("LEGACY_JWT_SECRET", LONG), ("LEGACY_JWT_ALGORITHM", "RS256")], None, &["with a shared secret"]);
    check(&[("LEGACY_JWT_SECRET", LONG), ("LEGACY_JWT_ALGORITHM", "none")], None, &["must be one of HS256"]);
    check(&[("LEGACY_JWT_PUBLIC_KEY", "x")], None, &["needs legacy.algorithm"]);
    check(&[("LEGACY_JWT_SECRET", LONG), ("LEGACY_JWT_PUBLIC_KEY", "x")], None, &["set one of them"]);
    let missing = Config::load(&environment(&[SECRET]), Some(Path::new("/nowhere/x.toml"))).unwrap_err();
    assert!(missing[0].to_string().contains("/nowhere/x.toml"), "{missing:?}");
}

#[test]
fn keys_of_the_older_sign_in() {
    let shared = load(&[SECRET, ("LEGACY_JWT_SECRET", LONG), ("LEGACY_JWT_ALGORITHM", "HS512")], None);
    let legacy = shared.unwrap().legacy.unwrap();
    assert_eq!((legacy.keys[0].kty.as_str(), legacy.keys[0].alg.as_str(), legacy.issuer), ("oct", "HS512", None));
    let key = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
    let pem = load(&[SECRET, ("LEGACY_JWT_PUBLIC_KEY", key), ("LEGACY_JWT_ALGORITHM", "EdDSA")], None).unwrap();
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}]}"#;
    let jwks = load(&[SECRET, ("LEGACY_JWT_PUBLIC_KEY", set), ("LEGACY_JWT_ALGORITHM", "EdDSA")], None).unwrap();
    assert_eq!(pem.legacy.unwrap().keys, jwks.legacy.unwrap().keys);
}

#[test]
fn who_signs_the_tokens_of_the_older_sign_in() {
    let signing = |pairs: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = [SECRET].into_iter().chain(pairs.iter().copied()).collect();
        let legacy = load(&all, None).unwrap().legacy?;
        let keys = legacy.keys.len();
        legacy.sign_in.map(|sign_in| match sign_in.signing {
            Signing::Secret(algorithm, _) => (algorithm.as_str(), keys),
            Signing::OwnKey => ("own", keys),
        })
    };
    let (secret, algorithm) = (("LEGACY_JWT_SECRET", LONG), ("LEGACY_JWT_ALGORITHM", "HS384"));
    let of = |word| ("LEGACY_JWT_SIGNING", word);
    for (pairs, expect) in [
        (&[][..], None),
        (&[secret], Some(("HS256", 1))),
        (&[secret, algorithm], Some(("HS384", 1))),
        (&[secret, of("secret")], Some(("HS256", 1))),
        (&[secret, of("own_key")], Some(("own", 1))),
        (&[of("own_key")], Some(("own", 0))),
        (&[secret, of("off")], None),
    ] {
        assert_eq!(signing(pairs), expect, "{pairs:?}");
    }
    check(&[of("secret")], None, &["needs legacy.secret"]);
    check(&[secret, of("mine")], None, &["must be secret, own_key or off"]);
    check(
        &[
            secret,
            ("TOLLGATE_ACCESS_LIFETIME", "2d"),
            ("TOLLGATE_REFRESH_LIFETIME", "x"),
            ("TOLLGATE_TRUSTED_HOPS", "0"),
        ],
        None,
        &["between 1s and 24h", "whole number with a unit", "between 1 and 16"],
    );
    check(&[secret, ("TOLLGATE_ACCOUNT_ATTEMPTS", "many")], None, &["such as 20/15m"]);
    let lanes = [secret, ("TOLLGATE_PASSWORD_LANES", "16"), ("TOLLGATE_PASSWORD_MEMORY_KIB", "64")];
    check(&lanes, None, &["8 for each lane"]);
    let rfc = [secret, ("TOLLGATE_PASSWORD_LANES", "4"), ("TOLLGATE_PASSWORD_MEMORY_KIB", "65536")];
    check(&rfc, None, &[]);
}

#[test]
fn secrets_do_not_print() {
    let (edge, legacy) = ("edge-secret-edge-secret", "legacy-secret-legacy-secret-legacy");
    let config = load(
        &[("TOLLGATE_EDGE_SECRET", edge), ("LEGACY_JWT_SECRET", legacy), ("CLERK_SECRET_KEY", "sk_live_hidden")],
        None,
    );
    let shown = format!("{:?}", config.unwrap());
    for hidden in [edge, legacy, "sk_live_hidden", STANDARD.encode(legacy).trim_end_matches('=')] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    let faults = load(
        &[("TOLLGATE_EDGE_SECRET", "short but secret"), ("CLERK_SECRET_KEY", "hidden")],
        Some("edge_secret = \"in-the-file"),
    )
    .unwrap_err();
    let shown = faults.join("\n");
    assert!(!shown.contains("but secret") && !shown.contains("hidden") && !shown.contains("in-the-file"), "{shown}");
}

#[test]
fn several_instances_of_clerk() {
    let whsec = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let file = format!(
        "[clerk]\nissuer = \"https://clerk.a\"\nwebhook_secrets = [\"{whsec}\", \"{whsec}\"]\n\
         api_url = \"http://127.0.0.1:9\"\n[[clerk.instances]]\nname = \"eu\"\nissuer = \"https://clerk.eu\"\n\
         authorized_parties = [\"https://app.eu\"]\nmissing_party = \"accept\"\nsecret_key = \"sk_live_eu\"\n\
         webhook_secrets = \"{whsec}\"\n[[clerk.instances]]\nname = \"test\"\npublishable_key = \
         \"pk_test_ZXhhbXBsZS5hY2NvdW50cy5kZXYk\"\n"
    );
    let config = load(&[SECRET], Some(&file)).unwrap();
    let shown: Vec<_> = config
        .clerks()
        .map(|clerk| {
            (clerk.name.as_str(), clerk.issuer.as_str(), clerk.api_url.to_string(), clerk.webhook_secrets.len())
        })
        .collect();
    let default = "https://api.clerk.com/".to_owned();
    assert_eq!(
        shown,
        [
            ("", "https://clerk.a", "http://127.0.0.1:9/".to_owned(), 2),
            ("eu", "https://clerk.eu", default.clone(), 1),
            ("test", "https://example.accounts.dev", default, 0),
        ]
    );
    let eu = &config.more_clerk[0];
    assert_eq!(
        (eu.authorized_parties.as_slice(), eu.secret_key.is_some()),
        (["https://app.eu".to_owned()].as_slice(), true)
    );
    assert_eq!(config.clerk_names().collect::<Vec<_>>(), ["eu", "test"]);
    assert!(!format!("{config:?}").contains("AAECAw"), "a secret is not printed");

    let inline = ("TOLLGATE_CLERK_INSTANCES", "[{name = \"eu\", issuer = \"https://clerk.eu\"}]");
    assert_eq!(load(&[SECRET, inline], Some(&file)).unwrap().more_clerk.len(), 1, "the environment goes over the file");

    let one = |rest: &str| format!("[[clerk.instances]]\n{rest}");
    for (file, parts) in [
        (one("name = \"eu\""), &["instance eu: publishable_key is not set"][..]),
        (one("issuer = \"https://a.eu\""), &["instance 1: name must have"]),
        (one("name = \"E U\"\nissuer = \"https://a.eu\""), &["name must have 1 to 32"]),
        (one("name = \"eu\"\nissuer = \"https://a.eu\"\nsecrets = 1"), &["instance eu: secrets means nothing here"]),
        (
            one("name = \"eu\"\nissuer = \"http://a.eu\"\nmissing_party = 1"),
            &["issuer must be https", "must be a text"],
        ),
        (one("name = \"eu\"\nissuer = \"https://a.eu\"\nwebhook_secrets = [\"x\"]"), &["must begin with whsec_"]),
        (
            format!(
                "{}\n{}",
                one("name = \"eu\"\nissuer = \"https://a.eu\""),
                one("name = \"eu\"\nissuer = \"https://a.eu\"")
            ),
            &["name is there already", "is the one of another instance"],
        ),
        ("[clerk]\ninstances = 1".to_owned(), &["must be an array of tables"]),
        ("[clerk]\nissuer = \"https://a\"\napi_url = \"http://api.clerk.com\"".to_owned(), &["clerk.api_url"]),
        ("[clerk]\nwebhook_secrets = [\"whsec_AAAA\"]\nissuer = \"https://a\"".to_owned(), &["shorter than any"]),
        (format!("[clerk]\nwebhook_secrets = [\"{whsec}\"]"), &["clerk.publishable_key"]),
    ] {
        check(&[], Some(&file), parts);
    }
    check(&[("TOLLGATE_CLERK_INSTANCES", "[{")], None, &["must be an array of inline tables"]);
}

#[test]
fn certificate_and_key_go_together() {
    let (certificate, key, authorities) =
        (("TOLLGATE_TLS_CERTIFICATE", "a.pem"), ("TOLLGATE_TLS_KEY", "b.pem"), ("TOLLGATE_TLS_CLIENT_CA", "c.pem"));
    assert_eq!(load(&[SECRET], None).unwrap().tls, None);
    let files = load(&[SECRET, certificate, key], None).unwrap().tls.unwrap();
    assert_eq!((files.certificate, files.key, files.client_ca), ("a.pem".into(), "b.pem".into(), None));
    let files = load(&[SECRET], Some("[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\nclient_ca = \"c.pem\""));
    assert_eq!(files.unwrap().tls.unwrap().client_ca, Some("c.pem".into()));
    check(&[certificate], None, &["tls.key (TOLLGATE_TLS_KEY) is not set"]);
    check(&[key], None, &["tls.certificate (TOLLGATE_TLS_CERTIFICATE) is not set"]);
    check(&[authorities], None, &["tls.certificate", "tls.key"]);
}
