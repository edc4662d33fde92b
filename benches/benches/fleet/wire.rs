//! One HTTP/1.1 connection to a control plane, as Envoy keeps it: what is asked, and answers read whole. It must not know
//! when anything is asked.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tollgate_protocol::edge::SYNC_PATH;

use crate::world::SECRET;

/// How long a connection may take: `connect_timeout` of the shipped cluster.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Bound on the whole poll, as the filter sets it.
const POLL_TIMEOUT: Duration = Duration::from_secs(40);
/// Answers without settings are smaller: most are read at once.
const PIECE: usize = 2048;

/// Why a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke.
    Broken,
    /// No answer in time.
    PollTimeout,
    /// An answer with another status than 200.
    Status(u16),
    /// Something that is no answer.
    Strange,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("no connection within 0.5 s"),
            Self::Broken => f.write_str("connection broken"),
            Self::PollTimeout => f.write_str("no answer within 40 s"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Strange => f.write_str("no HTTP"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::Broken,
        }
    }
}

/// An answer with status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// Whether the server ends the connection with it.
    pub(crate) closes: bool,
}

/// The bytes of a poll, with the headers that the filter and Envoy set.
pub(crate) fn request(cursor: Option<&str>, node: &str) -> Vec<u8> {
    let cursor = cursor.map(|cursor| format!("cursor={cursor}&")).unwrap_or_default();
    format!(
        "GET {SYNC_PATH}?{cursor}node={node} HTTP/1.1\r\nhost: tollgate\r\nauthorization: Bearer {SECRET}\r\n\
         content-type: application/json\r\nx-envoy-internal: true\r\nx-forwarded-for: 127.0.0.1\r\n\
         x-envoy-expected-rq-timeout-ms: {}\r\n\r\n",
        POLL_TIMEOUT.as_millis()
    )
    .into_bytes()
}

/// Connects.
pub(crate) async fn connect(server: SocketAddr) -> Result<TcpStream, Fault> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await.map_err(|_| Fault::ConnectTimeout)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a connection that nobody used is still there.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends a request and waits for its answer.
pub(crate) async fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<Answer, Fault> {
    let asking = async {
        stream.write_all(request).await?;
        answer(stream).await
    };
    timeout(POLL_TIMEOUT, asking).await.map_err(|_| Fault::PollTimeout)?
}

async fn answer(stream: &TcpStream) -> Result<Answer, Fault> {
    let mut read = Vec::new();
    loop {
        // Thousands wait here: none of them holds a buffer meanwhile.
        stream.readable().await?;
        let mut piece = [0; PIECE];
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(Fault::Broken),
            Ok(length) => read.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(answer) = whole(&read)? {
            return Ok(answer);
        }
    }
}

/// The answer, once all of it has been read.
fn whole(read: &[u8]) -> Result<Option<Answer>, Fault> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&read[..end]).map_err(|_| Fault::Strange)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or(Fault::Strange)?;
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).ok_or(Fault::Strange)?;
    let body = &read[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    if status != 200 {
        return Err(Fault::Status(status));
    }
    Ok(Some(Answer { body: body.to_vec(), closes: header("connection") == Some("close") }))
}
