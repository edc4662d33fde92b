//! Everything that can be revoked, while Envoy is under load: how long after the call the last request was let through. It
//! must not know how a revocation travels.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tollgate::service::{
    keys,
    revocations::{self, Order},
    sign_in,
};
use tollgate_protocol::{Code, Revoked};
use tollgate_tests::{
    http::{Connection, Request},
    stack::{Options, Stack},
    wait::until,
};

use crate::changes::SECOND;

const CLIENTS: usize = 4;

/// What clients have seen of the requests of one credential.
#[derive(Debug, Default)]
struct Seen {
    last_passed: Option<Instant>,
    passed: u64,
    refused: u64,
}

/// Clients that send one request again and again, each over one connection, which keeps to its worker.
struct Load {
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(stack: &Stack, request: &Request, code: Code) -> Self {
        let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (over, seen, request, addr) = (Arc::clone(&over), Arc::clone(&seen), request.clone(), stack.envoy.addr);
            clients.spawn(async move {
                let mut connection = Connection::open(addr).await.expect("a connection");
                while !over.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    let answer = connection.send(&request).await.expect("an answer");
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer.status {
                        200 => {
                            seen.passed += 1;
                            seen.last_passed = seen.last_passed.max(Some(sent));
                        }
                        _ => {
                            assert_eq!(answer.json()["code"], code.as_str(), "{}", answer.text());
                            seen.refused += 1;
                        }
                    }
                }
            });
        }
        Self { over, seen, clients }
    }

    fn counts(&self) -> (u64, u64) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.passed, seen.refused)
    }

    async fn reach(&self, what: &str, is_there: impl Fn((u64, u64)) -> bool) {
        let look = || async { is_there(self.counts()).then_some(()) };
        until(what, Duration::from_secs(10), look).await;
    }

    /// Ends it, and says when the last request was sent that was let through.
    async fn end(self) -> Option<Instant> {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last_passed
    }
}

/// Revokes something while its credential is in use.
async fn revoked(stack: &Stack, what: &str, request: &Request, code: Code, revoke: impl AsyncFnOnce(&Stack)) {
    let load = Load::start(stack, request, code);
    load.reach("everybody is let through", |(passed, _)| passed > 200).await;
    let called = Instant::now();
    revoke(stack).await;
    // Long enough that every connection, and with them every worker, has told its mind many times.
    load.reach("everybody is refused", |(_, refused)| refused > 400).await;
    let (passed, refused) = load.counts();
    let last = load.end().await.map_or(Duration::ZERO, |last| last.saturating_duration_since(called));
    println!(
        "{what}: the last request that was let through was sent {last:?} after the call ({passed} passed, {refused} refused)"
    );
    assert!(last < SECOND, "{what}: {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_revoked_is_refused_within_a_second_under_load() {
    let stack = Stack::start(Options::default()).await;
    let order = |what, id: &str, issuer: Option<&str>| Order {
        what,
        id: id.to_owned(),
        issuer: issuer.map(str::to_owned),
        until: None,
    };
    let user = stack.user("ada@example.com").await;
    let get = || Request::get("/web/a");

    let token = get().bearer(&stack.sign_legacy(&stack.legacy(user.id.as_str()).claim("jti", "jti_1")));
    let other = get().bearer(&stack.sign_legacy(&stack.legacy(user.id.as_str()).claim("jti", "jti_2")));
    revoked(&stack, "a token (jti)", &token, Code::TokenRevoked, async |stack: &Stack| {
        revocations::revoke(stack.app(), order(Revoked::Token, "jti_1", None)).await.expect("revoked");
    })
    .await;
    assert_eq!(stack.send(&other).await.status, 200, "another token of the same user is as good as before");

    let session = get().bearer(&stack.sign(&stack.clerk("bob@example.com").claim("sid", "sess_bob")));
    revoked(&stack, "a session (sid)", &session, Code::TokenRevoked, async |stack: &Stack| {
        revocations::revoke(stack.app(), order(Revoked::Session, "sess_bob", None)).await.expect("revoked");
    })
    .await;

    revoked(&stack, "a user's tokens issued so far", &other, Code::TokenRevoked, async |stack: &Stack| {
        sign_in::sign_out(stack.app(), &user.id).await.expect("signed out");
    })
    .await;

    let key = stack.api_key(&user, &[]).await;
    let by_key = Request::get("/extension/a").api_key(key.plain.expose());
    revoked(&stack, "an API key", &by_key, Code::ApiKeyRevoked, async |stack: &Stack| {
        keys::revoke(stack.app(), &user.id, &key.key.id).await.expect("revoked");
    })
    .await;

    let signed = get().bearer(&stack.clerk_jwt("eve@example.com"));
    let kid = stack.issuer.key().expect("a key").kid().to_owned();
    revoked(&stack, "every token of a signing key (kid)", &signed, Code::TokenRevoked, async |stack: &Stack| {
        revocations::revoke(stack.app(), order(Revoked::Key, &kid, Some(tollgate_tests::stack::ISSUER)))
            .await
            .expect("revoked");
    })
    .await;
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}
