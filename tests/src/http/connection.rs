//! One connection to a server: bytes out, strictly read answers in. It must not know what is asked.

use std::{fmt::Debug, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, Request};
use crate::wait::PATIENCE;

/// What a connection goes over: TCP, or TLS on it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Debug> Stream for S {}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: Box<dyn Stream>,
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
        Ok(Self::over(stream))
    }

    /// Goes on over what is connected already.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new() }
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

    /// Reads up to the end of these bytes.
    ///
    /// # Errors
    /// If the connection ends, or nothing comes in time.
    pub async fn up_to(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
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
