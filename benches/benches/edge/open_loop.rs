//! Sends requests to one Envoy at a fixed rate, whether it has answered or not, and counts the time of each answer from
//! the moment at which its request was to be sent: a server that stands still for a while makes all those late that
//! should have been sent meanwhile. It must not know which filters that Envoy has.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::load::is_whole;

/// Connections, of which the one that has been free longest is used. Many more than are in use at half the capacity.
const CONNECTIONS: usize = 64;
/// An Envoy that takes so many times as long as it was given cannot bear the rate.
const PATIENCE: u32 = 4;

struct Busy {
    stream: TcpStream,
    due: Duration,
    unread: Vec<u8>,
}

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

/// Sends these requests in turn, so many in a second, for so long. It looks for answers all the time, because a timer
/// that wakes it up would be later than the answers are: its core is busy with it.
///
/// # Panics
/// If an answer has another status, or the rate cannot be borne.
pub(crate) fn run(addr: SocketAddr, requests: &[Vec<u8>], status: u16, rate: f64, length: Duration) -> Latencies {
    let mut free: VecDeque<_> = (0..CONNECTIONS).map(|_| connect(addr)).collect();
    let mut busy: Vec<Busy> = Vec::new();
    let total = (rate * length.as_secs_f64()) as usize;
    let mut latencies = Vec::with_capacity(total);
    let (mut sent, began) = (0, Instant::now());
    while latencies.len() < total {
        while sent < total {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            if due > began.elapsed() {
                break;
            }
            let Some((mut stream, unread)) = free.pop_front() else { break };
            let request = &requests[sent % requests.len()];
            assert_eq!(stream.write(request).expect("it is sent"), request.len(), "a request fits into the socket");
            busy.push(Busy { stream, due, unread });
            sent += 1;
        }
        let mut index = 0;
        while index < busy.len() {
            if !answered(&mut busy[index], status) {
                index += 1;
                continue;
            }
            let Busy { stream, due, mut unread } = busy.swap_remove(index);
            latencies.push(u64::try_from((began.elapsed() - due).as_nanos()).expect("not centuries"));
            unread.clear();
            free.push_back((stream, unread));
        }
        assert!(
            began.elapsed() < length * PATIENCE,
            "{rate:.0} requests a second are too many: {sent} of {total} sent"
        );
    }
    latencies.sort_unstable();
    Latencies(latencies)
}

fn connect(addr: SocketAddr) -> (TcpStream, Vec<u8>) {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream.set_nonblocking(true).expect("an option");
    (stream, Vec::with_capacity(4096))
}

/// Whether the answer is there to its end.
fn answered(busy: &mut Busy, status: u16) -> bool {
    let mut buffer = [0; 4096];
    match busy.stream.read(&mut buffer) {
        Ok(0) => panic!("the connection was closed"),
        Ok(size) => {
            busy.unread.extend_from_slice(&buffer[..size]);
            is_whole(&busy.unread, status)
        }
        Err(fault) if fault.kind() == ErrorKind::WouldBlock => false,
        Err(fault) => panic!("no answer: {fault}"),
    }
}
