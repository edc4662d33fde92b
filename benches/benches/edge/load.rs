//! Sends requests to one Envoy as fast as it answers, and reads what that Envoy spent on them. It must not know which
//! filters it has.

use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Connections that ask at the same time.
pub(crate) const CONNECTIONS: usize = 16;

/// A request, and the status that its answer must have.
pub(crate) type Asked<'r> = (Cow<'r, [u8]>, u16);

/// What one turn came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Answers.
    pub(crate) answers: u64,
    /// CPU of Envoy for each, in µs.
    pub(crate) cpu: f64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Sends these requests in turn for so long, and looks at the status of every answer.
pub(crate) async fn run(addr: SocketAddr, pid: u32, requests: &[Vec<u8>], status: u16, length: Duration) -> Turn {
    let until = Instant::now() + length;
    each(addr, pid, |number| {
        let requests = requests.iter().cycle().skip(number * requests.len() / CONNECTIONS);
        requests.map_while(move |request| (Instant::now() < until).then(|| (Cow::from(request), status)))
    })
    .await
}

/// Sends what is made for each connection, until nothing is left.
pub(crate) async fn each<'r, I: Iterator<Item = Asked<'r>>>(
    addr: SocketAddr,
    pid: u32,
    requests: impl Fn(usize) -> I,
) -> Turn {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        streams.push(stream);
    }
    let (before, began) = (cpu(pid), Instant::now());
    let asking = streams.into_iter().enumerate().map(|(number, stream)| ask(stream, requests(number)));
    let answers = futures_util::future::join_all(asking).await.iter().sum::<u64>();
    let (spent, took) = (cpu(pid) - before, began.elapsed());
    Turn { answers, cpu: spent.as_secs_f64() * 1e6 / answers.max(1) as f64, took }
}

async fn ask<'r>(mut stream: TcpStream, requests: impl Iterator<Item = Asked<'r>>) -> u64 {
    let (mut answers, mut unread) = (0, Vec::with_capacity(4096));
    for (request, status) in requests {
        stream.write_all(&request).await.expect("it is sent");
        while !is_whole(&unread, status) {
            assert!(stream.read_buf(&mut unread).await.expect("an answer") > 0, "the connection was closed");
        }
        unread.clear();
        answers += 1;
    }
    answers
}

/// Whether an answer is there to its end.
///
/// # Panics
/// If it has another status, or something follows it.
pub(crate) fn is_whole(bytes: &[u8], status: u16) -> bool {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&bytes[..head + 2]).expect("headers");
    assert!(text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()) == Some(status), "{text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let end = head + 4 + length.trim().parse::<usize>().expect("a number");
    assert!(bytes.len() <= end, "one answer for one request");
    bytes.len() == end
}

/// CPU time that all threads of a process have used so far. `schedstat` counts in nanoseconds.
fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("Envoy runs");
    let used = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}
