//! What the system says of a process and of its connections. It must not know what is measured.

use std::{fs::read_to_string, net::SocketAddr, time::Duration};

/// CPU time that a process has used so far.
pub fn cpu(process: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in brackets, may hold spaces. Fields 14 and 15 are user and system time, counted from 1.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    // Linux counts in hundredths of a second for every program (USER_HZ).
    Duration::from_millis((field(11) + field(12)) * 10)
}

/// Memory that a process has resident, in bytes.
///
/// # Panics
/// If there is no such process.
pub fn resident(process: u32) -> u64 {
    let status = read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// Connections of this machine whose server side is at an IPv4 address, and that are established.
pub fn connections(server: SocketAddr) -> usize {
    let SocketAddr::V4(server) = server else { return 0 };
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(server.ip().octets()), server.port());
    let table = read_to_string("/proc/net/tcp").unwrap_or_default();
    // Fields: number, local address, remote address, state (1 is established).
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&local) && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_one).count()
}
