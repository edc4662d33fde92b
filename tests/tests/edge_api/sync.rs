//! `sync`: everything first, then news as it happens, by whichever process.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout};
use tollgate::service::{
    ServiceError,
    keys::{self, NewKey},
    users,
};
use tollgate_protocol::{
    Code, Cursor,
    edge::{Change, SyncAnswer},
    policy::{Auth, Fallback},
};
use tollgate_tests::{
    http::{Request, send},
    wait::{PATIENCE, until},
};

use super::{Server, config};

/// The place after everything that the start itself tells.
async fn quiet(server: &Server) -> Cursor {
    let mut cursor = server.sync(None).await.cursor;
    while let Ok(answer) = timeout(Duration::from_millis(600), server.sync(Some(&cursor))).await {
        cursor = answer.cursor;
    }
    cursor
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cursor_everything_is_given() {
    let server = Server::plain().await;
    let answer = server.sync(None).await;
    let settings = answer.settings.expect("settings");
    assert!(answer.reset && answer.changes.is_empty());
    assert_eq!(settings.policy.fallback, Fallback::Authenticate);
    // Tollgate's own API alone; what needs a caller gets an assertion, and administrators have a path of their own.
    for route in &settings.policy.routes {
        let is_open = route.auth == Auth::None;
        assert_eq!(route.assertion.is_none(), is_open, "{}", route.path);
        assert_eq!(route.roles == ["admin"], route.path == "/api/admin/**", "{}", route.path);
    }
    let own: Vec<_> = settings.policy.routes.iter().map(|route| route.path.as_str()).collect();
    assert!(own.contains(&"/api/me") && own.contains(&"/api/keys/**") && own.contains(&"/api/admin/**"), "{own:?}");
    let assertion = settings.assertion.expect("an assertion key");
    assert_eq!(assertion.issuer, "tollgate-edge");
    assert!(assertion.lifetime_seconds <= 60);

    let server = server.restart().await;
    let again = server.sync(None).await.settings.expect("settings").assertion.expect("an assertion key");
    assert_eq!(again, assertion, "the key is kept between runs");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_cursor_is_a_reset() {
    let server = Server::plain().await;
    let head = server.sync(None).await.cursor;
    let unknown = [Cursor::new("another".into(), head.seq), Cursor::new(head.epoch.clone(), head.seq + 1000)];
    for cursor in unknown {
        let answer = server.sync(Some(&cursor)).await;
        assert!(answer.reset && answer.settings.is_some(), "{cursor}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_changes_ends_a_held_poll_within_a_second() {
    let server = Server::plain().await;
    let other = server.other_process().await;
    let mut cursor = quiet(&server).await;

    let write = users::ensure(&other, "Ada@Example.com", true, Some("Ada"));
    let (user, answer) = news(&server, &mut cursor, "a new user", write).await;
    assert!(matches!(&answer.changes[..], [Change::User { id, .. }] if *id == user.id.as_str()), "{answer:?}");

    let new = NewKey { name: "laptop".into(), ..NewKey::default() };
    let (issued, answer) = news(&server, &mut cursor, "a new key", keys::issue(&other, &user.id, &new)).await;
    assert!(matches!(&answer.changes[..], [Change::Key { hash, refused: None, .. }] if *hash == issued.key.hash));

    let write = keys::revoke(&other, &user.id, &issued.key.id);
    let (_, answer) = news(&server, &mut cursor, "a revocation", write).await;
    let revoked = Some(Code::ApiKeyRevoked);
    assert!(
        matches!(&answer.changes[..], [Change::Key { hash, refused, .. }] if *hash == issued.key.hash && *refused == revoked)
    );
    server.stop().await;
}

/// Holds a poll, then writes, and says how long the news took.
async fn news<T: std::fmt::Debug>(
    server: &Server,
    cursor: &mut Cursor,
    what: &str,
    write: impl Future<Output = Result<T, ServiceError>>,
) -> (T, SyncAnswer) {
    let asked = cursor.clone();
    let poll = server.sync(Some(&asked));
    let write = async {
        until("the poll is held", PATIENCE, || held(server.running.edge_addr, 1)).await;
        let began = Instant::now();
        (write.await.expect("written"), began)
    };
    let (answer, (written, began)) = tokio::join!(async { (poll.await, Instant::now()) }, write);
    let (answer, ended) = answer;
    let took = ended.saturating_duration_since(began);
    println!("{what} reached an edge {took:?} after another process had begun to write it");
    assert!(took < Duration::from_secs(1) && !answer.reset && answer.settings.is_none(), "{answer:?}");
    *cursor = answer.cursor.clone();
    (written, answer)
}

/// Whether so many polls are held.
async fn held(edge: SocketAddr, polls: usize) -> Option<()> {
    let text = send(edge, &Request::get("/metrics")).await.ok()?.text();
    text.contains(&format!("tollgate_sync_connections {polls}\n")).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_the_same_settings_is_no_news() {
    let server = Server::plain().await;
    let cursor = quiet(&server).await;
    let server = server.restart().await;
    let held = timeout(Duration::from_secs(1), server.sync(Some(&cursor))).await;
    assert!(held.is_err(), "{held:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_held_polls_at_once() {
    let server = Server::plain().await;
    let cursor = quiet(&server).await;
    let edge = server.running.edge_addr;
    let mut polls = Vec::new();
    for _ in 0..20 {
        let path = format!("/edge/v1/sync?cursor={cursor}");
        polls.push(tokio::spawn(async move {
            let request = Request::get(&path).bearer(super::SECRET);
            send(edge, &request).await
        }));
    }
    until("twenty polls are held", PATIENCE, || held(edge, 20)).await;
    let began = Instant::now();
    server.stop().await;
    let took = began.elapsed();
    for poll in polls {
        let answer = poll.await.expect("the task").expect("an answer, not a broken connection");
        let answer: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
        assert_eq!((answer.cursor, answer.reset), (cursor.clone(), false));
    }
    println!("stop with 20 held polls took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_policy_is_pushed_and_a_faulty_one_is_not() {
    let (mut config, folder) = config();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "default = \"authenticate\"").expect("written");
    config.policy_file = Some(file.clone());
    let server = Server::start(config, folder).await;
    let cursor = quiet(&server).await;

    std::fs::write(&file, "default = \"deny\"\n[[routes]]\npath = \"/a\"\nroles = [\"root\"]").expect("written");
    let refused = || async {
        let request = Request::get("/metrics");
        let text = send(server.running.edge_addr, &request).await.ok()?.text();
        text.contains("tollgate_policy_current 0").then_some(())
    };
    until("the faulty policy is refused", PATIENCE, refused).await;
    let held = timeout(Duration::from_millis(500), server.sync(Some(&cursor))).await;
    assert!(held.is_err(), "{held:?}");
    assert_eq!(server.sync(None).await.settings.expect("settings").policy.fallback, Fallback::Authenticate);

    let began = Instant::now();
    std::fs::write(&file, "[[routes]]\npath = \"/a\"").expect("written");
    let answer = server.sync(Some(&cursor)).await;
    let policy = answer.settings.expect("settings").policy;
    println!("a new policy reached an edge {:?} after it was written", began.elapsed());
    assert_eq!((policy.fallback, policy.routes.len()), (Fallback::Deny, 1));

    // What a file is while somebody begins to write into it is no policy, however long that takes.
    std::fs::write(&file, "\n").expect("written");
    let held = timeout(Duration::from_millis(800), server.sync(Some(&answer.cursor))).await;
    assert!(held.is_err(), "{held:?}");
    server.stop().await;
}
