//! Importing: every bad line is reported, the rest is there; what was interrupted goes on; nothing is doubled.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tollgate_tests::wait::until;

use super::{PATIENCE, Shop, everybody, lines, read};

pub(crate) async fn every_bad_line_is_reported_and_the_rest_is_taken_over(shop: Shop) {
    let shop = shop.with("CLERK_ISSUER", "https://clerk.test");
    let taken = shop.user("taken@x.y").await;
    let (good, bad) = (lines::good(), lines::bad());
    let mut text: Vec<u8> = Vec::new();
    let one_line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (line, _, _) in &good {
        text.extend_from_slice(one_line(line).as_bytes());
        text.push(b'\n');
    }
    let mut expected = BTreeMap::new();
    for (number, (line, said)) in (good.len() + 1..).zip(&bad) {
        text.extend_from_slice(line);
        text.push(b'\n');
        expected.insert(number, *said);
    }
    // The last line has no end.
    text.extend_from_slice(b"{\"email\": \"last@x.y\"}");
    let (file, rejects) = (shop.file("users.jsonl", &text), shop.path("rejects.jsonl"));
    let ran = shop.run(&["import", "users", &file, "--rejects", &rejects, "--json"]).await.ended(4);
    let counts = ran.json();
    let count = |name: &str| counts[name].as_u64().expect(name);
    assert_eq!(count("added"), good.len() as u64 + 1, "{counts}");
    assert_eq!((count("bad"), count("updated"), count("unchanged")), (bad.len() as u64, 0, 0), "{counts}");
    assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"), "no value is quoted");
    for (number, said) in &expected {
        let line = format!("line {number}: ");
        let told =
            ran.err.lines().find(|told| told.starts_with(&line)).unwrap_or_else(|| panic!("{line}: {}", ran.err));
        assert!(told.contains(said), "{told}, but {said}");
    }
    let kept: Vec<Value> = read(&rejects).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(kept.len(), bad.len());
    let numbers: BTreeSet<usize> = kept.iter().map(|line| line["line"].as_u64().expect("a number") as usize).collect();
    assert_eq!(numbers, expected.keys().copied().collect());
    let mode = std::fs::metadata(&rejects).expect("a file").permissions().mode();
    assert_eq!(mode & 0o077, 0, "bad lines may hold hashes");
    for (line, email, facts) in &good {
        let user = shop.run(&["users", "get", email, "--json"]).await.ended(0).json();
        for (name, value) in facts {
            assert_eq!(user.get(name), Some(value), "{name} of {line}");
        }
        let tally = shop.run(&["tokens", "tally", email, "--json"]).await.ended(0).json();
        assert_eq!(tally["adds_up"], true, "{email}: {tally}");
    }
    assert_eq!(shop.users().await.len(), good.len() + 2);
    // Again: everybody is there, the same lines are bad, and who was there before is who they were.
    let again = shop.run(&["import", "users", &file, "--json"]).await.ended(4).json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &counts["added"]));
    assert_eq!(shop.run(&["users", "get", "taken@x.y", "--json"]).await.ended(0).json()["_id"], json!(taken));
    // With --update the file wins where it says something, but for balances.
    let line = r#"{"email": "plain@x.y", "role": "developer", "tokens_remaining": 5}"#;
    let updated = shop.given(line, &["import", "users", "-", "--update", "--json"]).await.ended(0).json();
    assert_eq!(updated["updated"], 1);
    let user = shop.run(&["users", "get", "plain@x.y", "--json"]).await.ended(0).json();
    assert_eq!((&user["role"], &user["tokens_remaining"]), (&json!("developer"), &json!(10_000)));
}

/// Ten thousand lines, of which a hundred are bad.
fn crowd() -> (String, usize) {
    let line = |n: usize| match n % 100 {
        42 => format!("{{\"email\": \"u{n}@x.y\", \"role\": \"king\"}}\n"),
        // Some name no id: they are found by their addresses.
        n if n % 2 == 0 => format!("{{\"email\": \"u{n}x@x.y\", \"tokens_remaining\": {n}}}\n"),
        _ => format!("{{\"_id\": \"id{n}\", \"email\": \"u{n}@x.y\", \"tokens_used\": {n}}}\n"),
    };
    let lines: String = (0..10_000).map(|n| line(n).replace("x@x.y", &format!("-{n}@x.y"))).collect();
    (lines, 10_000 - 100)
}

pub(crate) async fn what_is_killed_goes_on_and_doubles_nothing(shop: Shop) {
    let (text, good) = crowd();
    let store = shop.store().await;
    // It gets half of the file, and is killed while it waits for more.
    let (half, _) = text.split_at(text.len() / 2);
    let mut child = shop.command(&["import", "users", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(half.as_bytes()).await.expect("read");
    let half_way = || async { (everybody(&*store).await.len() >= 4_000).then_some(()) };
    until("four thousand are there", PATIENCE, half_way).await;
    child.kill().await.expect("killed");
    let there = everybody(&*store).await;
    assert!(there.len() < good, "it was not done yet");
    let file = shop.file("crowd.jsonl", &text);
    let ran = shop.run(&["import", "users", &file, "--json"]).await.ended(4);
    let counts = ran.json();
    let count = |name: &str| counts[name].as_u64().expect(name) as usize;
    assert_eq!((count("lines"), count("bad")), (10_000, 100), "{counts}");
    assert_eq!((count("unchanged"), count("added")), (there.len(), good - there.len()), "{counts}");
    println!("import of {} lines after a kill at {}: {counts}", count("lines"), there.len());
    let all = everybody(&*store).await;
    let emails: BTreeSet<String> =
        all.iter().filter_map(|user| Some(user.email.as_ref()?.as_str().to_owned())).collect();
    assert_eq!((all.len(), emails.len()), (good, good), "nothing is lost, nothing doubled");
    let before: BTreeSet<&str> = there.iter().map(|user| user.id.as_str()).collect();
    let after: BTreeSet<&str> = all.iter().map(|user| user.id.as_str()).collect();
    assert!(before.is_subset(&after), "whoever was there is who they were");
}

pub(crate) async fn keys_come_by_their_hash(shop: Shop) {
    let id = shop.user("ada@x.y").await;
    let hash = |n: u8| format!("{n:02x}").repeat(32);
    let text = [
        json!({"user": "ADA@x.y", "name": "old laptop", "sha256": hash(1), "scopes": ["a:read"], "expires_at": {"$date": "2090-01-01T00:00:00Z"}}).to_string(),
        json!({"user": id, "name": "other", "sha256": hash(0xAB).to_uppercase()}).to_string(),
        json!({"user": "nobody@x.y", "name": "x", "sha256": hash(2)}).to_string(),
        json!({"user": "nobody", "name": "x", "sha256": hash(3)}).to_string(),
        json!({"user": id, "name": "x", "sha256": hash(1)}).to_string(),
        json!({"user": id, "name": "x", "sha256": "12"}).to_string(),
        json!({"user": id, "name": "x"}).to_string(),
        json!({"name": "x", "sha256": hash(4)}).to_string(),
        json!({"user": id, "name": "x", "sha256": hash(5), "scopes": "a"}).to_string(),
        json!({"user": id, "name": "x", "sha256": hash(6), "scopes": ["a b"]}).to_string(),
    ];
    let file = shop.file("keys.jsonl", text.join("\n"));
    let ran = shop.run(&["keys", "import", &file, "--json"]).await.ended(4);
    let counts = ran.json();
    assert_eq!((&counts["added"], &counts["bad"]), (&json!(2), &json!(8)), "{ran:?}");
    for said in [
        "line 3: its user does not exist",
        "line 4: its user does not exist",
        "line 5: sha256 stands in line 1 already",
        "line 6: sha256 must be",
        "line 7: sha256 is missing",
        "line 8: user is missing",
        "line 9: scopes must be a list of texts",
        "line 10: scopes must each have",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    let keys = shop.run(&["keys", "list", "--json"]).await.ended(0).lines();
    let key = keys.iter().find(|key| key["sha256"] == hash(1)).expect("the key");
    assert_eq!(
        (&key["user_id"], &key["expires_at"], &key["standing"]),
        (&json!(id), &json!("2090-01-01T00:00:00Z"), &json!("good"))
    );
    let again = shop.run(&["import", "keys", &file, "--json"]).await.ended(4).json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &json!(2)));
}
