//! Envoy as a child process: started, waited for, and ended with everything it started. It must not know what its
//! configuration says.

use std::{
    fs::{File, OpenOptions},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::fault::DevFault;

/// How long Envoy may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);
const TAIL_LINES: usize = 15;

/// What to start.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// The program.
    pub program: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where its output goes; begun anew at each start.
    pub log: PathBuf,
    /// Worker threads.
    pub concurrency: u16,
    /// Its admin address, as the configuration says.
    pub admin: SocketAddr,
}

/// A running Envoy. It is killed when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    options: EnvoyOptions,
}

impl Envoy {
    /// Starts Envoy in a process group of its own, so that Ctrl-C in the terminal reaches it through us alone.
    ///
    /// # Errors
    /// [`DevFault`] if its log cannot be written or the program cannot be run.
    pub fn start(options: EnvoyOptions) -> Result<Self, DevFault> {
        let (out, err) = open_log(&options.log)?;
        let child = Command::new(&options.program)
            .arg("-c")
            .arg(&options.config)
            .args(["--concurrency", &options.concurrency.to_string()])
            .args(["--use-dynamic-base-id", "--log-level", "info", "--file-flush-interval-msec", "100"])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(DevFault::file("cannot run", &options.program))?;
        Ok(Self { child, options })
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until its listeners take connections.
    ///
    /// # Errors
    /// [`DevFault::Envoy`] if it ends or is not ready in time.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<(), DevFault> {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.fault(&format!("Envoy has ended ({status}) before it was ready.")));
            }
            if admin_ready(self.options.admin).await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.fault(&format!("Envoy was not ready within {} s.", within.as_secs())));
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until Envoy ends by itself, which it should not.
    pub async fn ended(&mut self) -> DevFault {
        let status = self.child.wait().await;
        let status = status.map_or_else(|fault| fault.to_string(), |status| status.to_string());
        self.fault(&format!("Envoy has ended ({status})."))
    }

    /// Ends Envoy: asks, and kills it if it does not listen.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub async fn stop(mut self) -> std::io::Result<ExitStatus> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            // It may have ended in this moment; what follows finds that out.
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(status) = timeout(PATIENCE, self.child.wait()).await {
            return status;
        }
        self.child.kill().await?;
        self.child.wait().await
    }

    /// A fault with the last lines of the log.
    pub fn fault(&self, what: &str) -> DevFault {
        let log = self.options.log.display().to_string();
        DevFault::Envoy { what: what.to_owned(), log, tail: tail(&self.options.log) }
    }
}

fn open_log(path: &Path) -> Result<(File, File), DevFault> {
    let open = || {
        drop(std::fs::remove_file(path));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok((file.try_clone()?, file))
    };
    open().map_err(DevFault::file("cannot write", path))
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

async fn admin_ready(admin: SocketAddr) -> bool {
    get(admin, "/ready", &[]).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// One plain GET; the whole answer, head included. Only for our own ports on loopback.
///
/// # Errors
/// If there is no answer within three seconds.
pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(Duration::from_secs(3), exchange).await.map_err(|_| std::io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, script: &str) -> EnvoyOptions {
        let program = dir.join("envoy");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        EnvoyOptions { program, config: dir.join("c"), log: dir.join("log"), concurrency: 1, admin }
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_the_last_lines() {
        let temp = tempfile::tempdir().unwrap();
        let mut envoy = Envoy::start(options(temp.path(), "echo first; echo 'no such cluster' >&2; exit 1")).unwrap();
        let fault = envoy.wait_ready(Duration::from_secs(10)).await.unwrap_err().to_string();
        assert!(fault.contains("exit status: 1") && fault.contains("no such cluster"), "{fault}");
    }

    #[tokio::test]
    async fn one_that_does_not_listen_is_killed() {
        let temp = tempfile::tempdir().unwrap();
        let envoy = Envoy::start(options(temp.path(), "trap '' TERM; while :; do sleep 0.1; done")).unwrap();
        assert!(!envoy.stop().await.unwrap().success());
    }

    #[test]
    fn a_missing_program_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let mut options = options(temp.path(), "");
        options.program = "/nowhere/envoy".into();
        assert!(Envoy::start(options).unwrap_err().to_string().contains("/nowhere/envoy"));
    }
}
