//! A real `redis-server` on a port and in a folder of its own, and a client that reads and writes as anybody could.
//! Dropping it ends it. It must not know what is kept in it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::TcpStream,
};
use tollgate::config::{RedisConfig, RedisUrl};

use crate::{
    ports,
    wait::{PATIENCE, until},
};

/// The password of the server.
pub const PASSWORD: &str = "redis-password-of-the-tests";

/// The program `redis-server`: `REDIS_SERVER_BIN`, or the one on the path.
pub fn program() -> PathBuf {
    std::env::var_os("REDIS_SERVER_BIN").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// A running server.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    child: Option<Child>,
    // The last one: the folder goes when nobody writes into it any more.
    dir: TempDir,
}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A number.
    Number(i64),
    /// A word, such as `OK`.
    Word(String),
    /// A value; `None`: there is none.
    Bytes(Option<Vec<u8>>),
    /// Several of them.
    List(Vec<Reply>),
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let mut redis = Self { port: ports::free(), child: None, dir: tempfile::tempdir().expect("a folder") };
        redis.restart().await;
        redis
    }

    /// Starts it again after [`Self::kill`], empty, on its port.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        let child = Command::new(program())
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--requirepass", PASSWORD, "--dir"])
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|fault| {
            panic!("{}: {fault}. REDIS_SERVER_BIN names redis-server: `make setup` brings it", program().display())
        });
        self.child = Some(child);
        until("redis-server answers", PATIENCE, || async { self.try_ask(&[b"PING"]).await.ok() }).await;
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The settings by which a control plane uses it.
    ///
    /// # Panics
    /// Never: the address is one.
    pub fn config(&self) -> RedisConfig {
        config_of(&format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port))
    }

    /// The same, for tests of what is kept: a machine that is busy for a moment does not make Redis look away.
    pub fn patient(&self) -> RedisConfig {
        RedisConfig { timeout: Duration::from_secs(5), ..self.config() }
    }

    /// Makes it stand still, or go on: it is there and does not answer.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self, frozen: bool) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        kill_process(pid.expect("it runs"), if frozen { Signal::STOP } else { Signal::CONT }).expect("a signal");
    }

    /// Ends it with SIGKILL, with everything in it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks something.
    ///
    /// # Panics
    /// If there is no answer, or an error.
    pub async fn ask(&self, command: &[&[u8]]) -> Reply {
        self.try_ask(command).await.unwrap_or_else(|fault| panic!("{command:?}: {fault}"))
    }

    /// Every key and its value, where that is a text.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn everything(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Reply::List(keys) = self.ask(&[b"KEYS", b"*"]).await else { panic!("no list") };
        let mut all = Vec::new();
        for key in keys {
            let Reply::Bytes(Some(key)) = key else { panic!("no key: {key:?}") };
            if let Reply::Bytes(Some(value)) = self.ask(&[b"GET", &key]).await {
                all.push((key, value));
            }
        }
        all.sort();
        all
    }

    async fn try_ask(&self, command: &[&[u8]]) -> std::io::Result<Reply> {
        let mut stream = BufStream::new(TcpStream::connect(self.addr()).await?);
        for command in [&[b"AUTH".as_slice(), PASSWORD.as_bytes()], command] {
            stream.write_all(format!("*{}\r\n", command.len()).as_bytes()).await?;
            for part in command {
                stream.write_all(format!("${}\r\n", part.len()).as_bytes()).await?;
                stream.write_all(part).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        stream.flush().await?;
        reply(&mut stream).await?;
        reply(&mut stream).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The settings by which a control plane uses a Redis elsewhere.
///
/// # Panics
/// If the address is none.
pub fn config_of(url: &str) -> RedisConfig {
    RedisConfig::new(RedisUrl::parse(url).expect("an address"))
}

/// Reads one answer (RESP 2).
async fn reply(stream: &mut BufStream<TcpStream>) -> std::io::Result<Reply> {
    let other = |what: &str| std::io::Error::other(what.to_owned());
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    let number = || line.get(1..).and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| other(line));
    match line.chars().next() {
        Some('+') => Ok(Reply::Word(line[1..].to_owned())),
        Some(':') => Ok(Reply::Number(number()?)),
        Some('$') => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Bytes(None)) };
            let mut value = vec![0; length + 2];
            stream.read_exact(&mut value).await?;
            value.truncate(length);
            Ok(Reply::Bytes(Some(value)))
        }
        Some('*') => {
            let mut list = Vec::new();
            for _ in 0..number()? {
                list.push(Box::pin(reply(stream)).await?);
            }
            Ok(Reply::List(list))
        }
        _ => Err(other(line)),
    }
}
