//! Each command by itself: output for people and for programs, exit codes, no secret, no panic.

use std::{io::Write as _, process::Stdio};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};
use tollgate_tests::control_plane::program;

use super::{PATIENCE, Shop, ended};

#[tokio::test]
async fn every_command_has_a_help() {
    let shop = Shop::sqlite().await;
    let main = shop.run(&["help"]).await.ended(0).out;
    for said in
        ["Exit codes:", "users", "keys", "tokens", "import", "export", "config", "policy", "explain", "completion"]
    {
        assert!(main.contains(said), "{said}: {main}");
    }
    for (command, inner) in [
        (
            "users",
            vec![
                "list",
                "get",
                "create",
                "set",
                "activate",
                "deactivate",
                "set-role",
                "set-subscription",
                "set-password",
                "sign-out",
            ],
        ),
        ("keys", vec!["list", "issue", "rotate", "revoke", "show", "import"]),
        ("tokens", vec!["balance", "history", "grant", "adjust", "tally"]),
        ("import", vec!["users", "keys"]),
        ("export", vec!["users", "keys"]),
        ("policy", vec!["check", "get", "put"]),
    ] {
        let outer = shop.run(&[command, "--help"]).await.ended(0).out;
        for inner in inner {
            assert!(outer.contains(inner), "{command} {inner}");
            let help = shop.run(&[command, inner, "--help"]).await.ended(0).out;
            assert!(help.contains(&format!("tollgate {command} {inner}")) && help.contains("--json"), "{help}");
        }
    }
    for command in ["serve", "dev", "config", "explain", "completion", "revoke"] {
        assert!(shop.run(&[command, "--help"]).await.ended(0).out.contains("Usage: tollgate"));
    }
    assert!(!shop.dir.path().join("tollgate.db").exists(), "help opens no store");
}

#[tokio::test]
async fn exit_codes_say_what_was_wrong() {
    let shop = Shop::sqlite().await;
    shop.user("ada@x.y").await;
    for (args, code, said) in [
        (vec!["users", "get", "ada@x.y"], 0, ""),
        (vec!["users", "get", "ADA@x.y"], 0, ""),
        (vec!["users", "lst"], 2, "unrecognized subcommand"),
        (vec!["users", "set", "ada@x.y"], 2, "nothing to change"),
        (vec!["users", "set", "ada@x.y", "--monthly-limit", "x"], 2, "whole number"),
        (vec!["users", "set-role", "ada@x.y", "root"], 2, "must be user, developer or admin"),
        (vec!["users", "set-password", "ada@x.y"], 2, "--password-stdin"),
        (vec!["users", "list", "--all", "--limit", "3"], 2, "cannot be used with"),
        (vec!["explain", "--path", "/", "--bearer", "a.b.c"], 2, "never from the command line"),
        (vec!["explain", "--path", "/", "--bearer", "env:NOTHING"], 2, "NOTHING is not set"),
        (vec!["config"], 2, "edge_secret"),
        (vec!["users", "get", "bob@x.y"], 3, "there is no user 'bob@x.y'"),
        (vec!["tokens", "balance", "nobody"], 3, "there is no user 'nobody'"),
        (vec!["keys", "show", "key_none"], 3, "there is no key 'key_none'"),
        (vec!["import", "users", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (vec!["policy", "check", "nowhere.toml"], 3, "nowhere.toml"),
        (vec!["users", "create", "nobody"], 4, "email is not an e-mail address"),
        (vec!["users", "create", "ada@x.y"], 4, "the e-mail address is taken"),
        (vec!["users", "set", "ada@x.y", "--website", "javascript:1"], 4, "website must be"),
        (vec!["keys", "issue", "ada@x.y", "--name", "x", "--scope", "a b"], 4, "scopes must"),
        (vec!["keys", "issue", "ada@x.y", "--name", "x", "--expires", "2001-01-01T00:00:00Z"], 4, "in the future"),
        (vec!["tokens", "adjust", "ada@x.y", "-10001"], 4, "less is left"),
        (vec!["tokens", "grant", "ada@x.y", "0"], 4, "amount must be"),
    ] {
        let ran = shop.run(&args).await;
        assert!(ran.code == code && ran.err.contains(said), "{args:?}: {ran:?}");
        assert!(code == 0 || !ran.err.is_empty(), "{args:?}");
    }
    let store = |url: &str| Shop { environment: vec![("TOLLGATE_STORE".into(), url.into())], ..new_shop() };
    for (url, code, said) in [
        ("mysql://x/y", 2, "store (TOLLGATE_STORE)"),
        ("sqlite:///proc/nowhere/t.db", 5, "unavailable"),
        ("mongodb://u:hunter2@127.0.0.1:1/d?serverSelectionTimeoutMS=300", 5, "unavailable"),
    ] {
        let ran = store(url).run(&["users", "list"]).await;
        assert!(ran.code == code && ran.err.contains(said) && !ran.err.contains("hunter2"), "{url}: {ran:?}");
    }
}

fn new_shop() -> Shop {
    let dir = tempfile::tempdir().expect("a folder");
    let location = tollgate::config::StoreLocation::Sqlite(dir.path().join("t.db"));
    Shop { location, dir, environment: Vec::new(), _cluster: None }
}

pub(crate) async fn users_from_making_to_signing_out(shop: Shop) {
    let made = shop
        .run(&["users", "create", "Ada@X.y", "--name", "Ada \u{1b}[31m", "--role", "admin", "--verified", "--json"])
        .await
        .ended(0);
    let id = made.json()["_id"].as_str().expect("an id").to_owned();
    let table = shop.run(&["users", "list"]).await.ended(0).out;
    let mut lines = table.lines();
    assert!(lines.next().expect("a header").starts_with("id "), "{table}");
    let row = lines.next().expect("a row");
    assert!(row.starts_with(&id) && row.contains("ada@x.y") && row.contains("admin"), "{table}");
    assert!(!table.contains('\u{1b}') && table.contains("\\u{1b}[31m"), "a name steers no terminal: {table:?}");
    // The last administrator stays one; another one may take over.
    assert!(shop.run(&["users", "set-role", &id, "user"]).await.ended(4).err.contains("last administrator"));
    shop.user("bob@x.y").await;
    shop.run(&["users", "set-role", "bob@x.y", "admin"]).await.ended(0);
    shop.run(&["users", "set-role", &id, "developer"]).await.ended(0);
    shop.run(&["users", "set-subscription", &id, "pro"]).await.ended(0);
    shop.run(&["users", "deactivate", &id]).await.ended(0);
    shop.run(&["users", "set", &id, "--name", "", "--bio", "b", "--monthly-limit", "7"]).await.ended(0);
    let user = shop.run(&["users", "get", "ADA@x.y", "--json"]).await.ended(0).json();
    let facts = ["role", "subscription", "is_active", "bio", "monthly_limit", "has_password"].map(|name| &user[name]);
    assert_eq!(facts, [&json!("developer"), &json!("pro"), &json!(false), &json!("b"), &json!(7), &json!(false)]);
    assert!(user.get("name").is_none());
    shop.run(&["users", "activate", &id]).await.ended(0);
    // A password: never an argument, never shown, and everybody who was signed in is out.
    assert!(
        shop.given("short\n", &["users", "set-password", &id, "--password-stdin"]).await.ended(4).err.contains("8 to")
    );
    let set = shop.given("correct horse\n", &["users", "set-password", &id, "--password-stdin"]).await.ended(0);
    assert!(!format!("{set:?}").contains("horse"));
    let user = shop.run(&["users", "get", &id, "--json"]).await.ended(0).json();
    assert!(user["has_password"] == true && user["last_logout_at"].is_string() && user.get("password_hash").is_none());
    let signed_out = user["last_logout_at"].as_str().expect("a time").to_owned();
    shop.run(&["users", "sign-out", &id]).await.ended(0);
    let user = shop.run(&["users", "get", &id, "--json"]).await.ended(0).json();
    assert!(user["last_logout_at"].as_str().expect("a time") > signed_out.as_str());
    for (args, expected) in [
        (vec!["--role", "admin"], 1),
        (vec!["--active"], 2),
        (vec!["--inactive"], 0),
        (vec!["--subscription", "pro"], 1),
        (vec!["ADA@"], 1),
        (vec!["zoe"], 0),
    ] {
        let args = [vec!["users", "list", "--json"], args].concat();
        assert_eq!(shop.run(&args).await.ended(0).lines().len(), expected, "{args:?}");
    }
    // The log says who it was.
    let filter = tollgate::store::AuditFilter { subject: Some(id), actor: Some("command".into()) };
    let log = shop.store().await.audit(&filter, None, 100).await.expect("read");
    assert!(log.len() >= 7, "{log:?}");
}

pub(crate) async fn keys_are_shown_once(shop: Shop) {
    shop.user("ada@x.y").await;
    let issued = shop
        .run(&[
            "keys",
            "issue",
            "ada@x.y",
            "--name",
            "laptop",
            "--scope",
            "a:read",
            "--expires",
            "30d",
            "--rate",
            "60/min",
            "--json",
        ])
        .await
        .ended(0)
        .json();
    let (id, key) = (issued["_id"].as_str().expect("an id"), issued["key"].as_str().expect("a key"));
    assert!(key.starts_with("sk_") && key.len() == 49, "{key}");
    let shown = shop.run(&["keys", "show", id]).await.ended(0).out;
    assert!(shown.contains("laptop") && shown.contains("a:read") && shown.contains("good"), "{shown}");
    let table = shop.run(&["keys", "issue", "ada@x.y", "--name", "other"]).await.ended(0);
    assert!(table.out.contains("sk_") && table.err.contains("not kept"));
    let rotated = shop.run(&["keys", "rotate", id, "--overlap", "90s", "--json"]).await.ended(0).json();
    assert!(rotated["key"] != key && rotated["name"] == "laptop" && rotated["scopes"] == json!(["a:read"]));
    let revoked = shop.run(&["keys", "revoke", id, "--json"]).await.ended(0).json();
    assert_eq!(revoked["standing"], "revoked");
    let all = shop.run(&["keys", "list", "--user", "ada@x.y", "--json"]).await.ended(0);
    assert_eq!(all.lines().len(), 3);
    let rotated_key = rotated["key"].as_str().expect("a key");
    for output in [&all.out, &shown, &shop.run(&["keys", "list"]).await.ended(0).out] {
        assert!(!output.contains(key) && !output.contains(rotated_key), "a key is shown once: {output}");
    }
}

pub(crate) async fn tokens_add_up(shop: Shop) {
    let id = shop.user("ada@x.y").await;
    let granted = shop.run(&["tokens", "grant", &id, "500", "--note", "gift", "--json"]).await.ended(0).json();
    let key = granted["idempotency_key"].as_str().expect("a key").to_owned();
    assert_eq!((&granted["balance"], &granted["replayed"]), (&json!(10_500), &json!(false)));
    // The key that was made up and told makes it safe to try again.
    let again =
        shop.run(&["tokens", "grant", &id, "500", "--note", "gift", "--key", &key, "--json"]).await.ended(0).json();
    assert_eq!((&again["balance"], &again["replayed"]), (&json!(10_500), &json!(true)));
    assert!(
        shop.run(&["tokens", "grant", &id, "7", "--key", &key])
            .await
            .ended(4)
            .err
            .contains("stands for something else")
    );
    let said = shop.run(&["tokens", "adjust", &id, "-300"]).await.ended(0).out;
    assert!(said.starts_with("-300 tokens") && said.contains("10200 left; --key cli_"), "{said}");
    let balance = shop.run(&["tokens", "balance", "ada@x.y", "--json"]).await.ended(0).json();
    assert_eq!((&balance["remaining"], &balance["used"]), (&json!(10_200), &json!(0)));
    let history = shop.run(&["tokens", "history", &id, "--json"]).await.ended(0).lines();
    assert_eq!(
        history.iter().map(|entry| entry["kind"].as_str().expect("a kind")).collect::<Vec<_>>(),
        ["adjust", "grant"]
    );
    assert_eq!(shop.run(&["tokens", "history", &id, "--limit", "1"]).await.ended(0).out.lines().count(), 2);
    let tally = shop.run(&["tokens", "tally", &id, "--json"]).await.ended(0).json();
    assert_eq!(
        (&tally["adds_up"], &tally["first_balance"], &tally["given"]),
        (&json!(true), &json!(10_000), &json!(200))
    );
}

pub(crate) async fn lists_come_in_pages_and_all_at_once(shop: Shop) {
    let people: String = (0..450).map(|n| format!("{{\"email\": \"u{n}@x.y\"}}\n")).collect();
    shop.given(&people, &["import", "users", "-"]).await.ended(0);
    let some = shop.run(&["users", "list"]).await.ended(0);
    assert!(some.out.lines().count() == 51 && some.err.contains("there are more"), "{some:?}");
    let many = shop.run(&["users", "list", "--limit", "420", "--json"]).await.ended(0).lines();
    let all = shop.run(&["users", "list", "--all", "--json"]).await.ended(0).lines();
    assert_eq!((many.len(), all.len()), (420, 450));
    let ids: std::collections::BTreeSet<&str> = all.iter().filter_map(|user| user["_id"].as_str()).collect();
    assert_eq!(ids.len(), 450, "nobody twice");
}

#[tokio::test]
async fn a_reader_who_goes_away_is_no_fault() {
    let shop = Shop::sqlite().await;
    let people: String = (0..2_000).map(|n| format!("{{\"email\": \"user-number-{n}@example.com\"}}\n")).collect();
    shop.given(&people, &["import", "users", "-"]).await.ended(0);
    for args in [vec!["users", "list", "--all", "--json"], vec!["users", "list", "--all"], vec!["export", "users"]] {
        let mut child = shop.command(&args).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.next_line().await.expect("read").is_some());
        drop(lines);
        let ran = ended(child).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
    let closed = shop.command(&["users", "list"]).stdout(Stdio::null()).spawn().expect("it starts");
    ended(closed).await.ended(0);
}

#[tokio::test]
async fn no_secret_is_shown_of_the_settings() {
    let file = tempfile::tempdir().expect("a folder");
    let path = file.path().join("tollgate.toml");
    let mut written = std::fs::File::create(&path).expect("a file");
    writeln!(written, "log.format = \"json\"\n[clerk]\nsecret_key = \"sk_test_hunter2-in-the-file\"").expect("written");
    let mut shop = Shop::sqlite().await;
    for setting in tollgate::config::settings::ALL.iter().filter(|setting| setting.is_secret()) {
        if setting.key != "clerk.secret_key" {
            shop = shop.with(setting.env, "hunter2-hunter2-hunter2-hunter2-hunter2");
        }
    }
    let shop = shop
        .with("TOLLGATE_STORE", "mongodb://ada:hunter2@h.test/people")
        .with("TOLLGATE_CONFIG", path.display().to_string());
    // Not each of these secrets has the form that it should have: that is told, too, and no value with it.
    let (table, json) = (shop.run(&["config"]).await, shop.run(&["config", "--json"]).await);
    for ran in [&table, &json] {
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    for said in [
        "<hidden, 39 characters>",
        "mongodb://<hidden>@h.test/people",
        "environment TOLLGATE_EDGE_SECRET",
        "tollgate.toml",
        "default",
    ] {
        assert!(table.out.contains(said), "{said}: {}", table.out);
    }
    let settings = json.json();
    let of = |key: &str| {
        let mut all = settings["settings"].as_array().expect("a list").iter();
        all.find(|setting| setting["key"] == key).expect(key).clone()
    };
    assert_eq!(of("log.format")["value"], "json");
    assert_eq!((&of("log.format")["origin"], &of("api_listen")["origin"]), (&json!("file"), &json!("default")));
    assert_eq!(settings["settings"].as_array().map(Vec::len), Some(tollgate::config::settings::ALL.len()));
    let good = Shop::sqlite().await.with("TOLLGATE_EDGE_SECRET", "hunter2-hunter2-hunter2");
    assert!(!format!("{:?}", good.run(&["config"]).await.ended(0)).contains("hunter2"));
    // What is wrong is told, and still shows no value.
    let faulty = shop.with("TOLLGATE_EDGE_SECRET", "hunter2").with("TOLLGATE_API_LISTEN", "nowhere");
    let ran = faulty.run(&["config"]).await.ended(2);
    assert!(ran.err.contains("edge_secret") && ran.err.contains("api_listen") && ran.out.contains("log.format"));
    assert!(!format!("{ran:?}").contains("hunter2"));
}

/// `script` gives the command a terminal, and shows everything that a person would see.
#[tokio::test]
async fn a_password_that_is_typed_is_not_seen() {
    let shop = Shop::sqlite().await;
    let id = shop.user("ada@x.y").await;
    for (second, end, has_password) in
        [("correct hearse", "the two passwords differ", false), ("correct horse", "has a new password", true)]
    {
        let line = format!("{} users set-password {id}", program().display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let given = shop.command(&[]);
        for (name, value) in given.as_std().get_envs() {
            command.env(name, value.expect("a value"));
        }
        let mut child = command.spawn().expect("script starts");
        let (mut keys, mut screen) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut seen = String::new();
        for (prompt, password) in [("New password: ", "correct horse"), ("Again: ", second)] {
            read_until(&mut screen, &mut seen, prompt).await;
            keys.write_all(format!("{password}\n").as_bytes()).await.expect("typed");
        }
        read_until(&mut screen, &mut seen, end).await;
        assert!(!seen.contains("correct"), "{seen}");
        child.wait().await.expect("ended");
        let user = shop.run(&["users", "get", &id, "--json"]).await.ended(0).json();
        assert_eq!(user["has_password"], has_password);
    }
}

/// Reads until a text is seen.
async fn read_until(screen: &mut (impl AsyncReadExt + Unpin), seen: &mut String, text: &str) {
    let reading = async {
        let mut buffer = [0; 1024];
        while !seen.contains(text) {
            match screen.read(&mut buffer).await.expect("read") {
                0 => panic!("it has ended: {seen}"),
                count => seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
}

#[tokio::test]
async fn shells_complete_every_command() {
    let shop = Shop::sqlite().await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = shop.run(&["completion", shell]).await.ended(0).out;
        for word in ["users", "set-subscription", "tally", "explain", "--json"] {
            assert!(script.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
    }
    let bash = shop.run(&["completion", "bash"]).await.ended(0).out;
    let path = shop.file("completion.bash", bash);
    let asked = format!(
        "source {path}; COMP_WORDS=(tollgate tok); COMP_CWORD=1; _tollgate tollgate tok tollgate; echo \"${{COMPREPLY[@]}}\""
    );
    let output = std::process::Command::new("bash").args(["-c", &asked]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "tokens", "{output:?}");
}
