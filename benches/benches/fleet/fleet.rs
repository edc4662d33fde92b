//! All Envoys together, and what they have told. It must not know what control planes are made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tollgate_tests::http::{Connection, Request};

use crate::{
    envoy::{Envoy, Event},
    wire::Fault,
};

/// How often control planes are asked how many polls they hold.
const LOOK: Duration = Duration::from_millis(10);
/// Longest time that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Envoys that run until this is dropped.
pub(crate) struct Fleet {
    /// How many.
    pub(crate) size: usize,
    _envoys: JoinSet<()>,
    events: UnboundedReceiver<Event>,
    /// What went wrong since it was asked last.
    faults: BTreeMap<Fault, usize>,
    /// How long an Envoy held no poll, since it was asked last.
    gaps: Vec<Duration>,
}

impl Fleet {
    /// Starts so many, all at once.
    pub(crate) fn start(size: usize, endpoints: &[SocketAddr]) -> Self {
        let (tell, events) = unbounded_channel();
        let envoys = (0..size).map(|number| Envoy::new(number, endpoints.into(), tell.clone()).run()).collect();
        Self { size, _envoys: envoys, events, faults: BTreeMap::new(), gaps: Vec::new() }
    }

    /// Waits until each has been told of something, and says when.
    ///
    /// # Panics
    /// If one is not told for a long time.
    pub(crate) async fn told(&mut self, of: &str) -> Vec<Instant> {
        let deadline = Instant::now() + PATIENCE;
        let (mut told, mut times) = (BTreeSet::new(), Vec::new());
        while told.len() < self.size {
            let event = timeout_at(deadline, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("{} of {} have heard of {of}", told.len(), self.size));
            match event.expect("Envoys run") {
                Event::News { envoy, at, body } => {
                    let is_it = body.windows(of.len()).any(|window| window == of.as_bytes());
                    if is_it && told.insert(envoy) {
                        times.push(at);
                    }
                }
                other => self.note(other),
            }
        }
        times
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Failed(fault) => *self.faults.entry(fault).or_default() += 1,
            Event::Gap(gap) => self.gaps.push(gap),
            Event::News { .. } => {}
        }
    }

    /// What went wrong, and how long polls were not held, since this was asked last.
    pub(crate) fn took_place(&mut self) -> (BTreeMap<Fault, usize>, Vec<Duration>) {
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
        (std::mem::take(&mut self.faults), std::mem::take(&mut self.gaps))
    }

    /// Waits until control planes say that they hold the polls of all. Says when.
    ///
    /// # Panics
    /// If they do not for a long time.
    pub(crate) async fn hold(&self, control_planes: &[SocketAddr]) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        let mut asked = Vec::new();
        for control_plane in control_planes {
            asked.push(Connection::open(*control_plane).await.expect("a connection"));
        }
        loop {
            let mut held = 0;
            for connection in &mut asked {
                held += self::held(connection).await;
            }
            let now = Instant::now();
            if held >= self.size {
                return now;
            }
            assert!(now < deadline, "{held} of {} polls are held", self.size);
            sleep(LOOK).await;
        }
    }
}

/// How many polls a control plane says that it holds.
pub(crate) async fn held(connection: &mut Connection) -> usize {
    let answer = connection.send(&Request::get("/metrics")).await.expect("an answer");
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix("tollgate_sync_connections "));
    line.and_then(|number| number.parse().ok()).expect("a number of polls")
}
