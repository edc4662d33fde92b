//! Sends requests to one Envoy at a fixed rate, whether it has answered or not, and counts the time of each answer from
//! the moment at which its request was to be sent: a server that stands still for a while makes all those late that
//! should have been sent meanwhile. It must not know which filters that Envoy has.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZero,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::set_current_timer_slack,
};

use crate::load::is_whole;

/// Connections; each request takes one that is free. Many more than are in use at once at half the capacity.
const CONNECTIONS: usize = 64;
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

/// Sends these requests in turn, so many in a second, for so long. One thread does it all, and sleeps when there is nothing to
/// do: many threads would wait for each other on the one core that is left to them.
///
/// # Panics
/// If an answer has another status.
pub(crate) fn run(addr: SocketAddr, requests: &[Vec<u8>], status: u16, rate: f64, length: Duration) -> Latencies {
    // The kernel may wake a thread up 50 µs late, to save power. That would be part of every latency.
    set_current_timer_slack(NonZero::new(1)).expect("a setting of this thread");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(addr)).collect();
    let total = (rate * length.as_secs_f64()) as usize;
    let begin = Instant::now() + START;
    let due = |number: usize| begin + Duration::from_secs_f64(number as f64 / rate);
    let (mut sent, mut latencies) = (0, Vec::with_capacity(total));
    while latencies.len() < total {
        for connection in connections.iter_mut().filter(|connection| connection.asked.is_none()) {
            if sent == total || due(sent) > Instant::now() {
                break;
            }
            connection.send(&requests[sent % requests.len()], due(sent));
            sent += 1;
        }
        let next = (sent < total).then(|| due(sent).saturating_duration_since(Instant::now()));
        for place in readable(&connections, next) {
            latencies.extend(connections[place].take(status));
        }
    }
    latencies.sort_unstable();
    Latencies(latencies)
}

/// Which connections have something to read: waits for it until the next request is to be sent, if there is a free one for it.
fn readable(connections: &[Connection], next: Option<Duration>) -> Vec<usize> {
    let asked = |connection: &&Connection| connection.asked.is_some();
    let next = next.filter(|_| connections.iter().filter(asked).count() < connections.len());
    let next = next.map(|next| Timespec::try_from(next).expect("not centuries"));
    let places: Vec<usize> = (0..connections.len()).filter(|place| connections[*place].asked.is_some()).collect();
    let wanted = places.iter().map(|place| PollFd::new(&connections[*place].stream, PollFlags::IN));
    let mut wanted: Vec<PollFd<'_>> = wanted.collect();
    poll(&mut wanted, next.as_ref()).expect("the kernel tells");
    let ready = |(place, wanted): (usize, &PollFd<'_>)| (!wanted.revents().is_empty()).then_some(place);
    places.iter().copied().zip(&wanted).filter_map(ready).collect()
}

/// A connection, and when what it waits for was to be sent.
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    asked: Option<Instant>,
}

impl Connection {
    fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_nonblocking(true).expect("an option");
        Self { stream, unread: Vec::with_capacity(4096), asked: None }
    }

    fn send(&mut self, request: &[u8], due: Instant) {
        self.stream.write_all(request).expect("it is sent");
        self.asked = Some(due);
    }

    /// Reads what is there. The latency in nanoseconds, once the answer is whole.
    fn take(&mut self, status: u16) -> Option<u64> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the connection was closed"),
            Ok(size) => self.unread.extend_from_slice(&buffer[..size]),
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => return None,
            Err(fault) => panic!("an answer: {fault}"),
        }
        if !is_whole(&self.unread, status) {
            return None;
        }
        self.unread.clear();
        let latency = self.asked.take().expect("it was asked").elapsed();
        Some(u64::try_from(latency.as_nanos()).expect("not centuries"))
    }
}
