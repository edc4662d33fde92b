//! How many files this process may have open: each connection is one, so that bounds how many Envoys it can hold. The
//! only module that asks the system for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections of the public listener.
const MAX_API: u64 = 4_096;
/// Most connections of the edge listener, which only Envoys reach: one each for their long poll, and some for moments.
pub const MAX_EDGE: u64 = 65_536;
/// Files for everything else: the store, key sets, Redis, traces.
const OTHERS: u64 = 256;
/// Fewer connections of Envoys than these are worth a warning.
const FEW: usize = 4_096;

/// How many connections each listener may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// The public listener.
    pub api: usize,
    /// The edge listener.
    pub edge: usize,
}

/// Raises the limit of this process to the highest that it may give itself, and parts what it has. Shells and service
/// managers commonly start programs with a soft limit of 1024 and a hard one that is much higher.
pub fn raise() -> Connections {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    let connections = part(limit.unwrap_or(u64::MAX));
    if connections.edge < FEW {
        tracing::warn!(
            open_files = limit,
            envoys = connections.edge,
            "the limit of open files of this process is low (ulimit -Hn): more Envoys than these get no connection"
        );
    }
    connections
}

/// Parts so many open files: a quarter at most for the public listener, so that clients cannot keep Envoys out.
fn part(limit: u64) -> Connections {
    let free = limit.saturating_sub(OTHERS);
    let api = MAX_API.min(free / 4).max(1);
    let edge = MAX_EDGE.min(free.saturating_sub(api)).max(1);
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Connections { api: count(api), edge: count(edge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_parted_between_the_listeners() {
        for (limit, api, edge) in [
            (u64::MAX, 4_096, 65_536),
            (1_048_576, 4_096, 65_536),
            (20_000, 4_096, 15_648),
            (1_024, 192, 576),
            (256, 1, 1),
            (0, 1, 1),
        ] {
            assert_eq!(part(limit), Connections { api, edge }, "{limit}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lower = Rlimit { current: before.maximum.map(|most| most.min(512)), maximum: before.maximum };
        setrlimit(Resource::Nofile, lower).expect("less is always allowed");
        let connections = raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
        assert_eq!(connections, part(before.maximum.unwrap_or(u64::MAX)));
    }
}
