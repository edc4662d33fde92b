//! Many Envoys at once: they are told the same, wherever they stand, and there is room for thousands of them.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tollgate::service::users;
use tollgate_protocol::{
    Cursor,
    edge::{Change, SyncAnswer},
};
use tollgate_tests::{
    http::{Connection, Request, send},
    wait::{PATIENCE, until},
};

use super::{SECRET, Server};

/// More than the listener of clients has places.
const THOUSANDS: usize = 4_200;

fn poll(cursor: &Cursor) -> Request {
    Request::get(&format!("/edge/v1/sync?cursor={cursor}&node=n1")).bearer(SECRET)
}

/// So many polls, each on a connection of its own, once all of them are held.
async fn polls(server: &Server, cursor: &Cursor, number: usize) -> JoinSet<Vec<u8>> {
    let edge = server.running.edge_addr;
    let mut polls = JoinSet::new();
    for _ in 0..number {
        let mut connection = Connection::open(edge).await.expect("a connection");
        connection.write(&poll(cursor).bytes()).await.expect("it is sent");
        let cursor = cursor.clone();
        polls.spawn(async move {
            loop {
                let answer = connection.answer().await.expect("an answer");
                assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
                let told: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
                if !told.changes.is_empty() {
                    return answer.body;
                }
                // It has been held as long as it may be, while the others were on their way.
                connection.write(&poll(&cursor).bytes()).await.expect("it is sent");
            }
        });
    }
    let wanted = format!("tollgate_sync_connections {number}\n");
    let held = || async { send(edge, &Request::get("/metrics")).await.ok()?.text().contains(&wanted).then_some(()) };
    until("the polls are held", PATIENCE, held).await;
    polls
}

/// The users that an answer names.
fn named(body: &[u8]) -> (Cursor, Vec<String>) {
    let answer: SyncAnswer = serde_json::from_slice(body).expect("a sync answer");
    assert!(!answer.reset && answer.settings.is_none(), "{answer:?}");
    let user = |change| match change {
        Change::User { id, .. } => id,
        other => panic!("{other:?}"),
    };
    (answer.cursor, answer.changes.into_iter().map(user).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_at_one_place_is_told_the_same_and_who_is_behind_is_told_more() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    let first = server.sync(None).await.cursor;

    let waiting = polls(&server, &first, 200).await;
    let ada = users::ensure(&app, "ada@example.com", true, None).await.expect("a user").id;
    let told: BTreeSet<Vec<u8>> = waiting.join_all().await.into_iter().collect();
    assert_eq!(told.len(), 1, "all are told in the same words");
    let (second, users) = named(told.first().expect("one"));
    assert_eq!(users, [ada.as_str()]);

    let waiting = polls(&server, &second, 200).await;
    let bob = users::ensure(&app, "bob@example.com", true, None).await.expect("a user").id;
    for told in waiting.join_all().await {
        assert_eq!(named(&told).1, [bob.as_str()]);
    }
    // What was told to those does not stand in the way of whoever was away meanwhile.
    for _ in 0..2 {
        let behind = send(server.running.edge_addr, &poll(&first)).await.expect("an answer");
        assert_eq!(named(&behind.body).1, [ada.as_str(), bob.as_str()]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_envoys_hold_a_poll_and_hear_of_a_change() {
    let server = Server::plain().await;
    let app = server.other_process().await;
    let cursor = server.sync(None).await.cursor;
    let waiting = polls(&server, &cursor, THOUSANDS).await;
    let user = users::ensure(&app, "ada@example.com", true, None).await.expect("a user").id;
    let told = waiting.join_all().await;
    assert!(told.len() == THOUSANDS && told.iter().all(|body| named(body).1 == [user.as_str()]));
    server.stop().await;
}
