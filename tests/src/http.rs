//! A plain HTTP/1.1 client that sends exactly the bytes it is told and reads answers strictly: whatever does not
//! belong to the one answer that was asked for is an error. It must not know Tollgate.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::wait::PATIENCE;

/// A request. Header names and values are sent byte by byte as they are given.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST` with a body.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..Self::new("POST", target) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Adds `X-API-Key`.
    #[must_use]
    pub fn api_key(self, key: &str) -> Self {
        self.header("X-API-Key", key)
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nHost: app.test\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name, b": ".as_slice(), value, b"\r\n"].concat());
        }
        if let Some(body) = &self.body {
            out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
        out
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Every header, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header that comes at most once.
    ///
    /// # Panics
    /// If it comes more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} comes more than once: {:?}", self.headers);
        value
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.text()))
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends a request and reads its answer. Nothing may follow it.
    ///
    /// # Errors
    /// If the connection ends, nothing comes in time, or what comes is not exactly one answer.
    pub async fn send(&mut self, request: &Request) -> io::Result<Answer> {
        self.write(&request.bytes()).await?;
        let answer = self.answer().await?;
        match self.unread.is_empty() {
            true => Ok(answer),
            false => Err(invalid(format!("after the answer: {}", String::from_utf8_lossy(&self.unread)))),
        }
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// As the system says.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one answer (to a request other than HEAD).
    ///
    /// # Errors
    /// If the connection ends, nothing comes in time, or what comes is not an answer.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let head = self.up_to(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).map_err(|_| invalid("an answer's head that is not UTF-8"))?;
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("no status line: {head}")))?;
        let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        let chunked = answer.headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        if chunked {
            answer.body = self.chunks().await?;
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length"))?;
            answer.body = self.exactly(length).await?;
        }
        Ok(answer)
    }

    /// Ends our side, and reads everything until the other side ends the connection.
    ///
    /// # Errors
    /// As the system says.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.stream.shutdown().await?;
        while self.more().await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.up_to(b"\r\n").await?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
            let size = size.ok_or_else(|| invalid("a chunk's size"))?;
            let mut chunk = self.exactly(size + 2).await?;
            if size == 0 {
                return Ok(body);
            }
            chunk.truncate(size);
            body.append(&mut chunk);
        }
    }

    async fn up_to(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    async fn more(&mut self) -> io::Result<bool> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(|count| count > 0)
    }
}

fn header(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("no header: {line}")))?;
    let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !fine || value.contains(['\r', '\n', '\0']) {
        return Err(invalid(format!("no header: {line:?}")));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// As [`Connection::send`].
pub async fn send(addr: SocketAddr, request: &Request) -> io::Result<Answer> {
    Connection::open(addr).await?.send(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers(bytes: &'static [u8]) -> io::Result<Answer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(bytes).await?;
            stream.read_u8().await
        });
        let answer = send(addr, &Request::get("/")).await;
        server.await?.map(|_| ())?;
        answer
    }

    #[tokio::test]
    async fn reads_answers_and_notices_split_ones() {
        let answer = answers(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        assert_eq!((answer.status, answer.header("a"), answer.body.as_slice()), (200, Some("b"), b"hi".as_slice()));
        let answer =
            answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n").await;
        assert_eq!(answer.unwrap().body, b"hi!");
        let split = b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert!(answers(split).await.unwrap_err().to_string().contains("after the answer"));
        assert!(answers(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n").await.is_err());
    }
}
