//! What is exported comes back as it was, also in another kind of store.

use std::os::unix::fs::PermissionsExt as _;

use super::{Shop, lines, read};

/// Exports everything.
async fn exported(shop: &Shop, name: &str) -> (String, String) {
    let (users, keys) = (shop.path(&format!("{name}-users")), shop.path(&format!("{name}-keys")));
    shop.run(&["export", "users", &users, "--with-secrets"]).await.ended(0);
    shop.run(&["export", "keys", &keys]).await.ended(0);
    assert_eq!(std::fs::metadata(&users).expect("a file").permissions().mode() & 0o077, 0);
    (read(users), read(keys))
}

pub(crate) async fn what_is_exported_comes_back(shop: Shop) {
    let shop = shop.with("CLERK_ISSUER", "https://clerk.test");
    let good: Vec<String> =
        lines::good().iter().map(|(line, _, _)| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let crowd: Vec<String> = (0..1_200).map(|n| format!("{{\"email\": \"u{n}@x.y\"}}")).collect();
    shop.given(&[good, crowd].concat().join("\n"), &["import", "users", "-"]).await.ended(0);
    for n in 0..3 {
        let issued =
            shop.run(&["keys", "issue", "plain@x.y", "--name", &format!("k{n}"), "--rate", "5/s", "--json"]).await;
        let id = issued.ended(0).json()["_id"].as_str().expect("an id").to_owned();
        if n == 1 {
            shop.run(&["keys", "revoke", &id]).await.ended(0);
        }
    }
    shop.run(&["tokens", "adjust", "plain@x.y", "-77"]).await.ended(0);
    let first = exported(&shop, "first").await;
    assert_eq!((first.0.lines().count(), first.1.lines().count()), (1_206, 3));
    assert!(first.0.contains("$argon2id$"));
    let without = shop.run(&["export", "users"]).await.ended(0).out;
    assert!(!without.contains("password_hash") && without.lines().count() == 1_206, "no hash unless it is asked for");
    for (place, other) in [("sqlite", Shop::sqlite().await), ("mongo", Shop::mongo().await)] {
        let (users, keys) = (other.file("users", &first.0), other.file("keys", &first.1));
        other.run(&["import", "users", &users]).await.ended(0);
        other.run(&["import", "keys", &keys]).await.ended(0);
        let second = exported(&other, "second").await;
        for (one, two) in first.0.lines().zip(second.0.lines()).chain(first.1.lines().zip(second.1.lines())) {
            assert_eq!(one, two, "into {place}");
        }
        assert_eq!(first, second, "into {place}");
        let tally = other.run(&["tokens", "tally", "plain@x.y", "--json"]).await.ended(0).json();
        assert_eq!((&tally["adds_up"], &tally["remaining"]), (&true.into(), &9_923.into()));
    }
}
