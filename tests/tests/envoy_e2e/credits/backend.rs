//! A backend that says what a request costs, in each of the ways there are, and keeps its own account. It must not know
//! what is charged.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What was told to have been used, by user.
pub(super) type Counts = BTreeMap<String, u64>;

/// A running backend.
pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let counts = Arc::new(Mutex::new(Counts::new()));
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { addr, counts, task }
    }

    /// What it has told so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers requests without a body, one after the other. `/cost/WAY/NUMBER` costs that many tokens.
async fn serve(mut stream: TcpStream, counts: Arc<Mutex<Counts>>) -> Option<()> {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut unread).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(unread.drain(..end).collect()).ok()?;
        let user = head.lines().find_map(|line| line.strip_prefix("x-auth-user-id: ")).unwrap_or_default().to_owned();
        let mut path = head.split(' ').nth(1)?.split('/').skip(2);
        let (way, tokens) = (path.next()?, path.next()?.parse().ok()?);
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default() += tokens;
        for piece in answer(way, tokens) {
            stream.write_all(piece.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            // So that pieces arrive as pieces.
            tokio::task::yield_now().await;
        }
    }
}

fn answer(way: &str, tokens: u64) -> Vec<String> {
    let whole = |headers: &str, body: &str| {
        vec![format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())]
    };
    match way {
        "header" => whole(&format!("x-tokens-used: {tokens}\r\n"), "ok"),
        "trailer" => vec![
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-tokens-used\r\n\r\n2\r\nok\r\n".to_owned(),
            format!("0\r\nx-tokens-used: {tokens}\r\n\r\n"),
        ],
        "fixed" => whole("", "ok"),
        "json" => whole("content-type: application/json\r\n", &usage(tokens)),
        _ => {
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let text = format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", usage(tokens / 2), usage(tokens));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            // Byte for byte: there is a border everywhere.
            let bytes = text.chars().map(|character| chunk(&character.to_string()));
            [head.to_owned()].into_iter().chain(bytes).chain(["0\r\n\r\n".to_owned()]).collect()
        }
    }
}

fn usage(tokens: u64) -> String {
    format!("{{\"text\":\"\\\"total_tokens\\\":1\",\"usage\":{{\"total_tokens\":{tokens}}}}}")
}
