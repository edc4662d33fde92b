//! Lines of files: good ones in every form that programs write, and bad ones with what is said about them.

use serde_json::{Value, json};

/// A line, whose it is, and members that must be found.
type Good = (&'static str, &'static str, Vec<(&'static str, Value)>);

/// Good lines of users, each with the e-mail address by which it is looked up, and what must be found.
pub(crate) fn good() -> Vec<Good> {
    vec![
        (r#"{"email": "Plain@X.y"}"#, "plain@x.y", vec![("tokens_remaining", json!(10_000)), ("role", json!("user"))]),
        (
            r#"{"_id": {"$oid": "65541f0c8f1b2a0012345678"}, "email": "mongo@x.y", "created_at": {"$date": "2023-11-14T22:13:20.5Z"},
                "last_login_at": {"$date": {"$numberLong": "1700000000500"}}, "last_logout_at": {"$date": 500},
                "tokens_remaining": {"$numberLong": "70"}, "tokens_used": {"$numberInt": "30"}, "monthly_limit": {"$numberDouble": "5.0"},
                "__v": 0, "meta": {"at": {"$date": "2023-11-14T22:13:20Z"}, "n": {"$numberLong": "5"}}}"#,
            "mongo@x.y",
            vec![
                ("_id", json!("65541f0c8f1b2a0012345678")),
                ("created_at", json!("2023-11-14T22:13:20.5Z")),
                ("last_login_at", json!("2023-11-14T22:13:20.5Z")),
                ("last_logout_at", json!("1970-01-01T00:00:00.5Z")),
                ("tokens_remaining", json!(70)),
                ("tokens_used", json!(30)),
                ("monthly_limit", json!(5)),
                ("__v", json!(0)),
                ("meta", json!({"at": "2023-11-14T22:13:20Z", "n": 5})),
            ],
        ),
        (
            r#"{"_id": 7, "email": "number@x.y", "created_at": 1700000000, "updated_at": 1700000000500, "is_active": 0}"#,
            "number@x.y",
            vec![
                ("_id", json!("7")),
                ("created_at", json!("2023-11-14T22:13:20Z")),
                ("updated_at", json!("2023-11-14T22:13:20.5Z")),
                ("is_active", json!(false)),
            ],
        ),
        (
            r#"{"email": "texts@x.y", "created_at": "2023-11-14 22:13:20.500000", "name": "", "role": null, "clerk_id": "user_1", "social_links": {"github": "https://github.test/a"}}"#,
            "texts@x.y",
            vec![
                ("created_at", json!("2023-11-14T22:13:20.5Z")),
                ("clerk_id", json!("user_1")),
                ("clerk_issuer", json!("https://clerk.test")),
            ],
        ),
        (
            r#"{"email": "bcrypt@x.y", "password_hash": "$2y$10$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie", "tokens_seq": 9}"#,
            "bcrypt@x.y",
            vec![("has_password", json!(true))],
        ),
        (
            r#"{"email": "argon@x.y", "password_hash": "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"}"#,
            "argon@x.y",
            vec![("has_password", json!(true))],
        ),
    ]
}

/// Bad lines of users, and what is said.
pub(crate) fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let long = format!(r#"{{"email": "long@x.y", "bio": "{}"}}"#, "x".repeat(1024 * 1024));
    let texts: [(&str, &str); 22] = [
        ("not json", "is not JSON"),
        (r#"{"email": "cut@x.y""#, "is not JSON"),
        ("[{\"email\": \"list@x.y\"}]", "mongoexport without --jsonArray"),
        ("\"text\"", "is no JSON object"),
        (r#"{"name": "Nobody"}"#, "names nobody"),
        (r#"{"email": "no address"}"#, "email is not an e-mail address"),
        (r#"{"email": 7}"#, "email must be a text"),
        (r#"{"email": "PLAIN@x.y"}"#, "email stands in line 1 already"),
        (r#"{"_id": "7", "email": "seven@x.y"}"#, "_id stands in line 3 already"),
        (r#"{"_id": "", "email": "e@x.y"}"#, "_id must be a text of 1 to 128 bytes"),
        (r#"{"email": "root@x.y", "role": "root"}"#, "role must be user, developer or admin"),
        (r#"{"email": "gold@x.y", "subscription": "gold"}"#, "subscription must be free, pro or enterprise"),
        (r#"{"email": "less@x.y", "tokens_remaining": -1}"#, "tokens_remaining must be a whole number from 0"),
        (r#"{"email": "half@x.y", "tokens_used": 0.5}"#, "tokens_used must be a whole number from 0"),
        (
            r#"{"email": "much@x.y", "tokens_remaining": {"$numberLong": "9007199254740992"}}"#,
            "tokens_remaining must be",
        ),
        (r#"{"email": "when@x.y", "created_at": "yesterday"}"#, "created_at must be a moment"),
        (r#"{"email": "date@x.y", "created_at": {"$date": "yesterday"}}"#, "created_at must be a moment"),
        (r#"{"email": "plain-text@x.y", "password_hash": "hunter2"}"#, "password_hash is no bcrypt or Argon2 hash"),
        (r#"{"email": "active@x.y", "is_active": "yes"}"#, "is_active must be true or false"),
        (r#"{"email": "site@x.y", "website": "javascript:alert(1)"}"#, "website must be an address"),
        (
            r#"{"email": "two@x.y", "role": "root", "monthly_limit": "x"}"#,
            "role must be user, developer or admin; monthly_limit must be",
        ),
        (r#"{"email": "taken@x.y", "_id": "another"}"#, "the e-mail address is taken"),
    ];
    let mut all: Vec<(Vec<u8>, &'static str)> =
        texts.iter().map(|(line, said)| (line.as_bytes().to_vec(), *said)).collect();
    all.push((b"{\"email\": \"\xFF@x.y\"}".to_vec(), "is not UTF-8"));
    all.push((long.into_bytes(), "is longer than 1048576 bytes"));
    all
}
