//! From the figures of a run to more Envoys on several control planes. It must not know how figures came about.

use std::time::Duration;

use tollgate::descriptors::MAX_EDGE;
use tollgate_benches::spread::Spread;

use crate::{Args, measure::Figures};

/// Envoys that are asked about.
pub(crate) const WANTED: f64 = 100_000.0;
/// A revocation is to be at all Envoys within this time.
pub(crate) const WITHIN: Duration = Duration::from_secs(1);
/// The part of that time, and of a core, that may go into telling Envoys: the rest is for the store, the way, and whatever
/// else is asked at that moment.
pub(crate) const PART: f64 = 0.5;
/// Memory of one control plane, in bytes, of which [`PART`] may hold connections.
pub(crate) const MEMORY: f64 = 1024.0 * 1024.0 * 1024.0;

/// Something of which a control plane has only so much.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// For the table.
    pub(crate) name: &'static str,
    /// What one Envoy takes of it, in words.
    pub(crate) of_one: String,
    /// What there is.
    pub(crate) there_is: String,
    /// So many Envoys fit.
    pub(crate) envoys: f64,
}

/// How many Envoys one control plane on one core of this machine holds.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    pub(crate) bounds: Vec<Bound>,
    /// What the tightest of them lets through.
    pub(crate) envoys: f64,
    /// Control planes for [`WANTED`] Envoys, when one of them may be away.
    pub(crate) replicas: f64,
}

/// Bytes of one connection.
pub(crate) fn bytes(figures: &Figures, args: &Args) -> f64 {
    figures.full.saturating_sub(figures.empty) as f64 / args.envoys as f64
}

/// The median of durations, in seconds.
pub(crate) fn median(times: impl Iterator<Item = Duration>) -> f64 {
    Spread::of(times.map(|time| time.as_secs_f64())).median()
}

/// From what one control plane needed for its Envoys to what it can hold.
pub(crate) fn of(figures: &Figures, args: &Args) -> Capacity {
    let told = median(figures.all.iter().map(|heard| heard.cpu));
    let returned = median(figures.returned.iter().map(|returned| returned.cpu));
    let (bytes, idle) = (bytes(figures, args), figures.idle / args.envoys as f64);
    let (core, micro) = (WITHIN.as_secs_f64() * PART, 1e6);
    let bounds = vec![
        Bound {
            name: "connections",
            of_one: "1".to_owned(),
            there_is: format!("{MAX_EDGE} at most, and as many open files"),
            envoys: MAX_EDGE as f64,
        },
        Bound {
            name: "CPU to tell them one change",
            of_one: format!("{:.0} µs", told * micro),
            there_is: format!("{:.0} % of a core in {WITHIN:?}", PART * 100.0),
            envoys: core / told,
        },
        Bound {
            name: "CPU while nothing happens",
            of_one: format!("{:.2} µs each second", idle * micro),
            there_is: format!("{:.0} % of a core", PART * 100.0),
            envoys: PART / idle,
        },
        Bound {
            name: "memory",
            of_one: format!("{:.1} KiB", bytes / 1024.0),
            there_is: format!("{:.0} MiB", MEMORY * PART / 1024.0 / 1024.0),
            envoys: MEMORY * PART / bytes,
        },
        Bound {
            name: "CPU when they come back at once",
            of_one: format!("{:.0} µs", returned * micro),
            there_is: format!("{:.0} % of a core in {WITHIN:?}", PART * 100.0),
            envoys: core / returned,
        },
    ];
    let envoys = bounds.iter().map(|bound| bound.envoys).fold(f64::INFINITY, f64::min);
    Capacity { bounds, envoys, replicas: (WANTED / envoys).ceil() + 1.0 }
}
