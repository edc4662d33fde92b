//! Free ports for servers that a test starts. It must not know what runs on them.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up on Linux): a port
/// that was free a moment ago is not lost to one of the hundred thousand connections of another test.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on which nothing listens, given to nobody else in this process.
///
/// # Panics
/// If every port of the range is taken.
pub fn free() -> u16 {
    // Other test processes begin elsewhere.
    let start = u16::try_from(std::process::id() % u32::from(COUNT / 64)).unwrap_or_default() * 64;
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}
