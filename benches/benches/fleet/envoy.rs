//! One Envoy as control planes see it: its leader's long poll, with the pauses of `filter/src/sync.rs` and the cluster of
//! the shipped configuration with several endpoints (each call goes to the next one; no health checks). It must not know
//! what is measured.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep_until},
};

use crate::wire::{self, Answer, Fault};

/// The filter looks at everything this often, and polls only then.
const TICK: Duration = Duration::from_millis(100);
/// Pauses after failed polls, in milliseconds: the last one is kept.
const PAUSES_MS: [u64; 4] = [100, 200, 400, 800];
/// How an answer begins.
const CURSOR: &[u8] = br#"{"cursor":""#;

/// What an Envoy tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// An answer came, with more than a cursor in it.
    News { envoy: usize, at: Instant, body: Vec<u8> },
    /// A poll failed.
    Failed(Fault),
    /// No poll was held for so long. Told when the next one has been answered, for only then is it known to have been held.
    Gap(Duration),
}

/// One Envoy.
pub(crate) struct Envoy {
    number: usize,
    node: String,
    endpoints: Arc<[SocketAddr]>,
    next_endpoint: usize,
    connections: Vec<Option<TcpStream>>,
    cursor: Option<String>,
    failures: usize,
    started: Instant,
    events: UnboundedSender<Event>,
}

impl Envoy {
    /// One of this number, that will poll within a tick of now.
    pub(crate) fn new(number: usize, endpoints: Arc<[SocketAddr]>, events: UnboundedSender<Event>) -> Self {
        // As if drawn at random, and the same in each run.
        let seed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let connections = endpoints.iter().map(|_| None).collect();
        let started = Instant::now() + TICK.mul_f64((seed >> 40) as f64 / (1_u64 << 24) as f64);
        let (node, next_endpoint) = (format!("{seed:016x}"), number);
        Self { number, node, endpoints, next_endpoint, connections, cursor: None, failures: 0, started, events }
    }

    /// Polls for ever.
    pub(crate) async fn run(mut self) {
        let mut next = self.started;
        let mut lost: Option<Instant> = None;
        loop {
            sleep_until(self.tick_after(next)).await;
            let asked = Instant::now();
            let polled = self.poll().await;
            let now = Instant::now();
            match polled {
                Ok(answer) => {
                    self.failures = 0;
                    if let Some(lost) = lost.replace(now) {
                        self.tell(Event::Gap(asked - lost));
                    }
                    self.take(answer, now);
                    next = now;
                }
                Err(fault) => {
                    // It was held until it broke; what was refused never was.
                    if let (Some(since), Fault::Broken | Fault::PollTimeout) = (lost, fault) {
                        self.tell(Event::Gap(asked - since));
                        lost = Some(now);
                    }
                    self.tell(Event::Failed(fault));
                    next = now + self.pause();
                }
            }
        }
    }

    fn tick_after(&self, time: Instant) -> Instant {
        let ticks = time.saturating_duration_since(self.started).as_nanos().div_ceil(TICK.as_nanos());
        self.started + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// As `Sync::failed` of the filter.
    fn pause(&mut self) -> Duration {
        let pause = PAUSES_MS[self.failures.min(PAUSES_MS.len() - 1)];
        self.failures += 1;
        let own = (self.number as u64 ^ self.started.elapsed().as_millis() as u64) % 100;
        Duration::from_millis(pause + own)
    }

    async fn poll(&mut self) -> Result<Answer, Fault> {
        let at = self.next_endpoint % self.endpoints.len();
        self.next_endpoint += 1;
        let mut stream = match self.connections[at].take().filter(wire::is_open) {
            Some(stream) => stream,
            None => wire::connect(self.endpoints[at]).await?,
        };
        let answer = wire::ask(&mut stream, &wire::request(self.cursor.as_deref(), &self.node)).await?;
        if !answer.closes {
            self.connections[at] = Some(stream);
        }
        Ok(answer)
    }

    fn take(&mut self, answer: Answer, at: Instant) {
        let rest = answer.body.strip_prefix(CURSOR).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'"').unwrap_or_default();
        let is_news = rest.len() > end + br#"","reset":false}"#.len();
        self.cursor = Some(String::from_utf8_lossy(&rest[..end]).into_owned());
        if is_news {
            self.tell(Event::News { envoy: self.number, at, body: answer.body });
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more when the measurement is over.
        let _ = self.events.send(event);
    }
}
