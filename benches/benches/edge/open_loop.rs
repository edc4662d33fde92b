//! Sends requests to one Envoy at a fixed rate, whether it has answered or not, and counts the time of each answer from
//! the moment at which its request was to be sent: a server that stands still for a while makes all those late that
//! should have been sent meanwhile. It must not know which filters that Envoy has.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use rustix::thread::set_current_timer_slack;

use crate::load::is_whole;

/// Connections with a thread each, which send by turns. Many more than are in use at once at half the capacity. Each thread
/// sleeps until it has something to do: a loop that asks all the time would take the machine's power from Envoy.
const CONNECTIONS: usize = 32;
/// How long it takes until everything has begun.
const START: Duration = Duration::from_millis(20);

/// Latencies of one turn in nanoseconds, in order of size.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// The latency that this share of all requests does not exceed, in µs.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0[place.clamp(1, self.0.len()) - 1] as f64 / 1e3
    }
}

/// Sends these requests in turn, so many in a second, for so long.
///
/// # Panics
/// If an answer has another status.
pub(crate) fn run(addr: SocketAddr, requests: &[Vec<u8>], status: u16, rate: f64, length: Duration) -> Latencies {
    let total = (rate * length.as_secs_f64()) as usize;
    let begin = Instant::now() + START;
    let mut latencies: Vec<u64> = thread::scope(|scope| {
        let send = |first: usize| {
            move || {
                let mine = (first..total).step_by(CONNECTIONS);
                one(addr, status, mine.map(|number| (begin + at(number, rate), &requests[number % requests.len()])))
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(send(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("every answer has the status")).collect()
    });
    latencies.sort_unstable();
    Latencies(latencies)
}

/// When a request is to be sent.
fn at(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// What is sent over one connection, each at its time, or as soon after it as the answer before is there.
fn one<'r>(addr: SocketAddr, status: u16, requests: impl Iterator<Item = (Instant, &'r Vec<u8>)>) -> Vec<u64> {
    // The kernel may wake a thread up 50 µs late, to save power. That would be part of every latency.
    set_current_timer_slack(NonZero::new(1)).expect("a setting of this thread");
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let (mut latencies, mut unread, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    for (due, request) in requests {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request).expect("it is sent");
        while !is_whole(&unread, status) {
            let size = stream.read(&mut buffer).expect("an answer");
            assert!(size > 0, "the connection was closed");
            unread.extend_from_slice(&buffer[..size]);
        }
        latencies.push(u64::try_from(due.elapsed().as_nanos()).expect("not centuries"));
        unread.clear();
    }
    latencies
}
