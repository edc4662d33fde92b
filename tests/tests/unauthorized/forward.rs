//! A stand-in for the proxy: it puts a fresh assertion of an administrator into each request, and nothing else. One request
//! per connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::World;

pub(crate) struct Forwarder {
    pub(crate) addr: SocketAddr,
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Forwarder {
    pub(crate) async fn start(world: Arc<World>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                // A client that goes away ends its own connection only.
                tokio::spawn(forward(client, Arc::clone(&world)));
            }
        });
        Self { addr, asked, task }
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, world: Arc<World>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 2;
        }
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let body = head.split_off(end);
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let kept: Vec<u8> =
        lines.filter(|line| !line.to_ascii_lowercase().starts_with(b"connection:")).flatten().copied().collect();
    let assertion = world.signer.sign(&world.claims_of(&world.boss));
    let mut server = TcpStream::connect(world.running.api_addr).await?;
    server.write_all(&kept).await?;
    server.write_all(format!("connection: close\r\nx-auth-assertion: {assertion}\r\n").as_bytes()).await?;
    server.write_all(&body).await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
