//! Sends requests to one Envoy as fast as it answers, and reads what that Envoy spent on them. It must not know which
//! filters it has.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Connections that ask at the same time.
const CONNECTIONS: usize = 16;

/// What one turn came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Answers.
    pub(crate) answers: u64,
    /// CPU of Envoy for each, in µs.
    pub(crate) cpu: f64,
}

/// Sends these requests in turn for so long, and looks at the status of every answer.
pub(crate) async fn run(addr: SocketAddr, pid: u32, requests: &[Vec<u8>], status: u16, length: Duration) -> Turn {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        streams.push(stream);
    }
    let line = format!("HTTP/1.1 {status} ");
    let before = cpu(pid);
    let until = Instant::now() + length;
    let asking =
        streams.into_iter().enumerate().map(|(number, stream)| {
            let line = line.as_bytes();
            async move {
                ask(stream, requests.iter().cycle().skip(number * requests.len() / CONNECTIONS), line, until).await
            }
        });
    let answers = futures_util::future::join_all(asking).await.iter().sum::<u64>();
    let spent = cpu(pid) - before;
    Turn { answers, cpu: spent.as_secs_f64() * 1e6 / answers.max(1) as f64 }
}

async fn ask<'r>(
    mut stream: TcpStream,
    requests: impl Iterator<Item = &'r Vec<u8>>,
    line: &[u8],
    until: Instant,
) -> u64 {
    let (mut answers, mut unread) = (0, Vec::with_capacity(4096));
    for request in requests {
        if Instant::now() >= until {
            break;
        }
        stream.write_all(request).await.expect("it is sent");
        loop {
            if let Some(length) = whole(&unread) {
                assert!(unread.starts_with(line), "{}", String::from_utf8_lossy(&unread));
                assert_eq!(length, unread.len(), "one answer for one request");
                unread.clear();
                break;
            }
            assert!(stream.read_buf(&mut unread).await.expect("an answer") > 0, "the connection was closed");
        }
        answers += 1;
    }
    answers
}

/// The length of the answer at the beginning, if it is there to its end.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("headers");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let end = head + length.trim().parse::<usize>().expect("a number");
    (bytes.len() >= end).then_some(end)
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
