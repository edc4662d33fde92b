//! One Envoy (and one backend) under test: what it does at random, what it was told, and what must be true at the end.
//! It tries everything again until it has an answer, and sends every batch of use twice.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tollgate::domain::UserId;
use tollgate_tests::http::{Answer, Connection, Request};

use super::{SECRET, Signer};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Both listeners of one control plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) api: SocketAddr,
    pub(crate) edge: SocketAddr,
}

/// What all nodes share.
pub(crate) struct Shared {
    pub(crate) planes: [Plane; 2],
    pub(crate) user: UserId,
    pub(crate) signer: Signer,
    /// Operations begun so far, and how many there are to be.
    pub(crate) operations: AtomicU64,
    pub(crate) wanted: u64,
    /// Most operations of one message.
    pub(crate) group: u64,
    /// Requests sent, and how many of them were not answered or with 503.
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// A use that a backend asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was told that it stands.
    Done(i64),
    /// It was told that nothing was taken, at once.
    Refused,
    /// It was told so after a try that was not answered: that one may have come through after all.
    Unclear(i64),
}

/// A lease that the node was given.
struct Lease {
    amount: u64,
    used: u64,
    ended: bool,
}

/// One node, and what it knows.
pub(crate) struct Node {
    name: String,
    shared: Arc<Shared>,
    dice: Dice,
    connections: BTreeMap<SocketAddr, Connection>,
    leases: BTreeMap<String, Lease>,
    number: u64,
    /// Requests that it has counted.
    pub(crate) counted: u64,
    /// What it asked for by idempotency key.
    pub(crate) asked: BTreeMap<String, Asked>,
}

impl Node {
    pub(crate) fn new(name: String, shared: Arc<Shared>, seed: u64) -> Self {
        let dice = Dice::new(seed);
        Self {
            name,
            shared,
            dice,
            connections: BTreeMap::new(),
            leases: BTreeMap::new(),
            number: 0,
            counted: 0,
            asked: BTreeMap::new(),
        }
    }

    /// What was used of each lease.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&str, u64)> {
        self.leases.iter().map(|(id, lease)| (id.as_str(), lease.used))
    }

    /// Works until enough has been done by all.
    pub(crate) async fn run(mut self) -> Self {
        loop {
            let size = 1 + self.dice.below(self.shared.group);
            if self.shared.operations.fetch_add(size, Ordering::Relaxed) >= self.shared.wanted {
                self.shared.operations.fetch_sub(size, Ordering::Relaxed);
                return self;
            }
            match self.dice.below(10) {
                0..5 => self.call(size).await,
                5..8 => self.report(size).await,
                _ => {
                    for _ in 0..size {
                        self.consume().await;
                    }
                }
            }
        }
    }

    /// One message about leases: what it settles, renews and takes is `size` operations.
    async fn call(&mut self, size: u64) {
        self.number += 1;
        let (mut settle, mut renew, mut take) = (Vec::new(), Vec::new(), Vec::new());
        for place in 0..size {
            let open = self.pick();
            match (open, self.dice.below(4)) {
                (Some(id), 0) => {
                    let used = self.draw(&id);
                    settle.push(json!({"id": id, "used": used}));
                }
                (Some(id), 1) => {
                    let used = self.draw(&id);
                    renew.push(json!({"id": id, "used": used, "extend_seconds": 1 + self.dice.below(3)}));
                }
                _ => take.push(json!({
                    "request": format!("{}-{place}", self.number),
                    "user_id": self.shared.user.as_str(),
                    "wanted": 1 + self.dice.below(60),
                    "least": 1,
                    "seconds": 1 + self.dice.below(3),
                })),
            }
        }
        let body = json!({"node": self.name, "settle": settle, "renew": renew, "take": take});
        for _ in 0..1 + self.dice.below(2) {
            let (answer, _) = self.edge("/edge/v1/leases", &body).await;
            self.heed(&answer);
        }
    }

    fn heed(&mut self, answer: &Value) {
        let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
        for taken in list("taken") {
            match taken["outcome"].as_str() {
                Some("granted") => {
                    let id = taken["id"].as_str().expect("an id").to_owned();
                    let amount = taken["amount"].as_u64().expect("an amount");
                    let known = self.leases.entry(id).or_insert(Lease { amount, used: 0, ended: false });
                    assert_eq!(known.amount, amount, "the same lease");
                }
                Some("exhausted" | "ended") => {}
                other => panic!("{other:?} in {answer}"),
            }
        }
        for state in list("renewed").iter().chain(&list("settled")) {
            let lease = self.leases.get_mut(state["id"].as_str().expect("an id")).expect("it asked for that");
            match state["outcome"].as_str() {
                Some("open") => {}
                Some("ended") => lease.ended = true,
                other => panic!("{other:?}: no lease is ever lost: {answer}"),
            }
        }
    }

    /// A batch of use, always sent twice: one after the other, or to both control planes at once.
    async fn report(&mut self, size: u64) {
        self.number += 1;
        let mut leases = Vec::new();
        for _ in 0..size {
            let Some(id) = self.pick() else { break };
            // Now and then it is an old total that comes late.
            let before = self.leases[&id].used;
            let used = if self.dice.below(4) == 0 { before.saturating_sub(3) } else { self.draw(&id) };
            leases.push(json!({"id": id, "used": used}));
        }
        let requests = 1 + self.dice.below(5);
        self.counted += requests;
        let count = json!({"user_id": self.shared.user.as_str(), "requests": requests, "tokens": 1, "last_used_at": 1});
        let body = json!({"node": self.name, "batch": self.number, "requests": [count], "leases": leases});
        let (first, second) = if self.dice.below(2) == 0 {
            let first = self.edge("/edge/v1/usage", &body).await;
            (first, self.edge("/edge/v1/usage", &body).await)
        } else {
            let mut other = Self::new(self.name.clone(), Arc::clone(&self.shared), self.dice.below(u64::MAX));
            tokio::join!(self.edge("/edge/v1/usage", &body), other.edge("/edge/v1/usage", &body))
        };
        assert_eq!(first.0, second.0, "a batch is answered the same again");
        assert!(first.0["unknown_leases"].is_null() && first.0["unknown_users"].is_null(), "{}", first.0);
        for id in first.0["ended_leases"].as_array().into_iter().flatten() {
            self.leases.get_mut(id.as_str().expect("an id")).expect("it reported that").ended = true;
        }
    }

    async fn consume(&mut self) {
        self.number += 1;
        let (key, amount) = (format!("{}-{}", self.name, self.number), 1 + self.dice.below(20));
        let shared = Arc::clone(&self.shared);
        let body = json!({"amount": amount}).to_string();
        let amount = i64::try_from(amount).expect("small");
        let make = || {
            let assertion = shared.signer.assertion(&shared.user, &["tokens:consume"]);
            let request = Request::post("/api/tokens/consume", body.clone());
            let request = request.header("Content-Type", "application/json").header("x-auth-assertion", assertion);
            request.header("Idempotency-Key", &key)
        };
        let mut told = None;
        for _ in 0..1 + self.dice.below(2) {
            let (answer, was_unclear) = self.until_answered(|plane| plane.api, &make).await;
            let now = match answer.status {
                200 => Asked::Done(amount),
                402 if was_unclear => Asked::Unclear(amount),
                402 => Asked::Refused,
                status => panic!("{status}: {}", answer.text()),
            };
            // What was refused may be there the second time; what stands never goes.
            told = Some(match (told, now) {
                (Some(Asked::Done(_)), now) => {
                    assert_eq!(now, Asked::Done(amount), "the first outcome");
                    now
                }
                (_, Asked::Done(_)) => now,
                (Some(Asked::Unclear(_)), _) => Asked::Unclear(amount),
                (_, now) => now,
            });
        }
        self.asked.insert(key, told.expect("it asked"));
    }

    /// One of its leases; mostly one that is not known to have ended.
    fn pick(&mut self) -> Option<String> {
        let also_ended = self.dice.below(10) == 0;
        let ids: Vec<&String> =
            self.leases.iter().filter(|(_, lease)| also_ended || !lease.ended).map(|(id, _)| id).collect();
        let place = self.dice.below(u64::try_from(ids.len().max(1)).expect("small"));
        ids.get(usize::try_from(place).expect("small")).map(|id| (*id).clone())
    }

    /// Uses some of a lease, now and then more than there is. Says how much in all.
    fn draw(&mut self, id: &str) -> u64 {
        let more = self.dice.below(15);
        let beyond = self.dice.below(20) == 0;
        let lease = self.leases.get_mut(id).expect("it has it");
        let left = lease.amount.saturating_sub(lease.used);
        lease.used += if beyond { left + more } else { more.min(left) };
        lease.used
    }

    async fn edge(&mut self, path: &str, body: &Value) -> (Value, bool) {
        let body = body.to_string();
        let make = || Request::post(path, body.clone()).header("Content-Type", "application/json").bearer(SECRET);
        let (answer, was_unclear) = self.until_answered(|plane| plane.edge, &make).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json(), was_unclear)
    }

    /// Asks one of the two, and again, until one answers. Says whether a try before was not answered.
    async fn until_answered(
        &mut self,
        listener: impl Fn(&Plane) -> SocketAddr,
        make: &impl Fn() -> Request,
    ) -> (Answer, bool) {
        let mut was_unclear = false;
        loop {
            let place = usize::try_from(self.dice.below(2)).expect("small");
            let addr = listener(&self.shared.planes[place]);
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            match self.try_once(addr, &make()).await {
                Some(answer) if answer.status != 503 => return (answer, was_unclear),
                _ => {
                    was_unclear = true;
                    self.shared.failures.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens while a control plane starts again.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    async fn try_once(&mut self, addr: SocketAddr, request: &Request) -> Option<Answer> {
        let mut connection = match self.connections.remove(&addr) {
            Some(connection) => connection,
            None => Connection::open(addr).await.ok()?,
        };
        let answer = connection.send(request).await.ok()?;
        self.connections.insert(addr, connection);
        Some(answer)
    }
}
