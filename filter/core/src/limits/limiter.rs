//! What one worker has taken of shared buckets and not used yet, and how it takes more: by compare-and-swap, a few requests
//! at once. What it has taken stays its own only as long as the bucket has not filled up behind it
//! ([`Pace::still`]), so all workers together never let through more than one bucket would. It must not know what a
//! limit is named for, and time comes in with each call.

use std::collections::VecDeque;

use ahash::RandomState;

use tollgate_protocol::{
    limits::{LimitsAnswer, LimitsReport},
    policy::Scope,
};

use super::{
    Subject, Tells,
    pace::{Moment, Pace, seconds_until},
    set::{Kind, SETS, Set},
    shares::{Renewal, Shares},
    told::{Exceeded, Standing},
};
use crate::{
    cache::{Bounded, Sealer, slot},
    engine::World,
};

/// How many subjects one worker remembers. Whoever is forgotten loses what was taken for them.
const MAX_PIECES: usize = 16_384;
/// How many requests are taken at once for somebody who comes for the first time.
const FIRST: u64 = 4;
/// Most requests that are taken at once.
const MOST: u64 = 64;
/// At most this part of what is left is taken at once.
const PART: u64 = 8;
/// What is taken falls back into the bucket as time passes. Of a quick one, where much is left, so much is taken that it
/// lasts this long, in nanoseconds: else somebody who comes now and then would have to write each time.
const LASTS: u64 = 500_000_000;
/// Who has used up what was taken within this time gets twice as much, in nanoseconds.
const QUICK: u64 = 100_000_000;
/// What was not used for so long is given back, in nanoseconds.
const IDLE: u64 = 200_000_000;
/// How long a bucket that was found empty is not looked at again, in nanoseconds: others may give back to it.
const CLOSED: u64 = 100_000_000;
/// The same for a lease, which may be renewed at any moment.
const LEASE_CLOSED: u64 = 10_000_000;
/// By how much a bucket has to owe more than it can for its rate to be another one, in nanoseconds.
const OTHER_RATE: u64 = 1_000_000_000;
/// How often a set that others write at the same time is tried.
const TRIES: usize = 32;
/// How many are given back at one time.
const GIVEN_BACK_AT_ONCE: usize = 64;
/// How many are watched for being given back.
const MAX_WATCHED: usize = 4_096;
/// The version that no value has: a write with it makes a slot that does not exist, and changes none that does.
pub const ABSENT: u32 = u32::MAX;

/// Somebody under a limit.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// Name of the limit.
    pub limit: &'a str,
    /// Where it is counted.
    pub scope: Scope,
    /// Who is counted.
    pub subject: Subject<'a>,
    /// How often they may come.
    pub pace: Pace,
    /// What is told about it.
    pub tells: Tells,
}

/// What was taken of one bucket.
#[derive(Debug, Clone, Copy)]
struct Piece {
    pace: Pace,
    held: u64,
    /// When the bucket would be full, as it was when this was taken.
    full_at: Moment,
    size: u64,
    taken_at: Moment,
    used_at: Moment,
    /// Found empty: not looked at before.
    closed_until: Moment,
    watched: bool,
}

impl Piece {
    fn usable(&self, now: Moment) -> u64 {
        self.held.min(self.pace.still(self.full_at, now))
    }
}

/// The pieces of one worker.
#[derive(Debug)]
pub struct Limiter {
    pieces: Bounded<u64, Piece>,
    watched: VecDeque<(u64, Moment)>,
    shares: Shares,
    names: RandomState,
}

/// One bucket that a request is counted in.
#[derive(Clone, Copy)]
struct Bucket {
    name: u64,
    /// As this Envoy counts it.
    pace: Pace,
    closed: u64,
}

impl Limiter {
    /// `names` is keyed alike in all workers of an Envoy; `hasher` is this worker's own.
    pub fn new(names: RandomState, hasher: RandomState) -> Self {
        let pieces = Bounded::new(MAX_PIECES, usize::MAX, hasher.clone());
        Self { pieces, watched: VecDeque::new(), shares: Shares::new(hasher), names }
    }

    /// Counts one request under all of these, or, where one of them does not allow it, under none. Gives how it stands
    /// under those of which answers tell.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn pass(
        &mut self,
        wanted: &[Want<'_>],
        now: Moment,
        sealer: &Sealer,
        world: &dyn World,
    ) -> Result<Vec<Standing>, Exceeded> {
        let buckets: Vec<Bucket> = wanted.iter().map(|want| self.bucket(want)).collect();
        let mut waits = Vec::with_capacity(wanted.len());
        for bucket in &buckets {
            waits.push(self.ensure(*bucket, now, sealer, world));
        }
        let passes = waits.iter().all(|wait| *wait == 0);
        if passes {
            for (want, bucket) in wanted.iter().zip(&buckets) {
                self.use_one(bucket.name, now);
                if want.scope == Scope::Global {
                    self.shares.use_one(bucket.name, want.limit, want.subject, want.pace);
                }
            }
        }
        // Who passes is told of some limits, and often of none; a refusal looks at all of them.
        let standings =
            wanted.iter().zip(&buckets).zip(waits).filter(|((want, _), _)| !passes || want.tells.of_passing());
        let standings = standings.map(|((want, bucket), wait)| self.standing(want, *bucket, wait, now)).collect();
        if passes { Ok(standings) } else { Err(Exceeded { standings }) }
    }

    /// The name of a bucket. Nobody who does not know the edge secret can choose two that are the same.
    fn bucket(&self, want: &Want<'_>) -> Bucket {
        let name = self.names.hash_one((want.limit, want.subject));
        match want.scope {
            Scope::Envoy => Bucket { name, pace: want.pace, closed: CLOSED },
            Scope::Global => Bucket { name, pace: want.pace.share(self.shares.envoys()), closed: LEASE_CLOSED },
        }
    }

    fn use_one(&mut self, name: u64, now: Moment) {
        if let Some(piece) = self.pieces.get_mut(&name) {
            piece.held = piece.usable(now).saturating_sub(1);
            piece.used_at = now;
        }
    }

    fn standing(&mut self, want: &Want<'_>, Bucket { name, pace, .. }: Bucket, wait: u64, now: Moment) -> Standing {
        let piece = self.pieces.get(&name);
        let shared = piece.map_or(0, |piece| pace.left(piece.full_at, now));
        let here = shared.saturating_add(piece.map_or(0, |piece| piece.usable(now)));
        let reset = piece.map_or(0, |piece| seconds_until(piece.full_at, now));
        let left = match want.scope {
            _ if wait > 0 => 0,
            Scope::Envoy => here,
            // Until the control plane has said how much there is, what the other Envoys have is taken to be as much.
            Scope::Global => {
                let all = self.shares.left(name).unwrap_or(here.saturating_mul(self.shares.envoys().into()));
                all.min(want.pace.burst())
            }
        };
        Standing { name: want.limit.into(), pace: want.pace, tells: want.tells, left, reset, wait }
    }

    /// Makes sure that there is a request to use. Returns for how many nanoseconds there is none; 0: there is.
    fn ensure(&mut self, bucket: Bucket, now: Moment, sealer: &Sealer, world: &dyn World) -> u64 {
        let Bucket { name, pace, .. } = bucket;
        let former = self.pieces.get(&name).copied().filter(|piece| piece.pace == pace);
        if let Some(piece) = former {
            if piece.usable(now) > 0 {
                return 0;
            }
            if now < piece.closed_until {
                return pace.wait(piece.full_at, now).max(1);
            }
        }
        let since = |piece: &Piece| now.0.saturating_sub(piece.taken_at.0);
        let aim = match former {
            Some(piece) if since(&piece) < QUICK => piece.size.saturating_mul(2).clamp(1, MOST),
            _ => FIRST,
        };
        self.draw(bucket, aim, now, sealer, world)
    }

    fn draw(&mut self, bucket: Bucket, aim: u64, now: Moment, sealer: &Sealer, world: &dyn World) -> u64 {
        let Bucket { name, pace, closed } = bucket;
        let (slot, kind) = (slot::limit(name % SETS), Kind::of(pace.span()));
        for _ in 0..TRIES {
            let Shared { mut set, version, is_damaged } = read(&slot, now, sealer, world);
            let (full_at, is_known) = set.full_at(name, kind);
            let left = pace.left(full_at, now);
            let owed = pace.after(full_at, 0, now);
            let aim = aim.max(pace.gains_in(LASTS));
            let number = if left == 0 { 0 } else { aim.min(left.checked_div(PART).unwrap_or(0)).max(1) };
            let after = pace.after(full_at, number, now);
            // An empty bucket is written only where it owed more under another rate than it can under this one. Another
            // worker's clock was read a little later than ours: that is no other rate.
            let changes = number > 0 || (is_known && owed.0.saturating_add(OTHER_RATE) < full_at.0);
            if changes {
                set.put(name, kind, after, now);
            }
            if changes || is_damaged {
                let marked = sealer.mark(&slot, &set.to_bytes(now));
                if !world.shared_swap(&slot, &marked, version) {
                    continue;
                }
            }
            let wait = if number == 0 { pace.wait(owed, now).max(1) } else { 0 };
            let closed_until = if number == 0 { now.0.saturating_add(wait.min(closed)) } else { 0 };
            // What falls back by itself so soon need not be given back.
            let watched = number > pace.gains_in(LASTS) && self.watch(name, number, now);
            let piece = Piece {
                pace,
                held: number,
                full_at: after,
                size: number,
                taken_at: now,
                used_at: now,
                closed_until: Moment(closed_until),
                watched,
            };
            self.pieces.put(name, piece, 0);
            return wait;
        }
        // A host that refuses every write, or a crowd of workers: nobody passes uncounted.
        1
    }

    /// Notes that something was taken that may have to be given back. Returns whether it is noted.
    fn watch(&mut self, name: u64, number: u64, now: Moment) -> bool {
        let already = self.pieces.get(&name).is_some_and(|piece| piece.watched);
        if !already && number > 1 && self.watched.len() < MAX_WATCHED {
            self.watched.push_back((name, now));
            return true;
        }
        already
    }

    /// Gives back what was taken and is not used, so that other workers can have it. Called now and then, beside requests.
    pub fn give_back(&mut self, now: Moment, sealer: &Sealer, world: &dyn World) {
        for _ in 0..GIVEN_BACK_AT_ONCE {
            let is_due = |(_, since): &mut (u64, Moment)| since.0.saturating_add(IDLE) <= now.0;
            let Some((name, _)) = self.watched.pop_front_if(is_due) else { return };
            let Some(mut piece) = self.pieces.get(&name).copied().filter(|piece| piece.watched) else { continue };
            if piece.used_at.0.saturating_add(IDLE) > now.0 {
                self.watched.push_back((name, now));
                continue;
            }
            let number = piece.usable(now);
            if number > 0 {
                return_to(name, &piece, number, now, sealer, world);
            }
            (piece.held, piece.watched) = (0, false);
            self.pieces.put(name, piece, 0);
        }
    }
}

impl Limiter {
    /// What has to be told about limits over all Envoys, if it is time. `counts`: there are such limits.
    pub fn report(&mut self, node: &str, counts: bool, now: Moment) -> Option<LimitsReport> {
        self.shares.report(node, counts, now)
    }

    /// Takes in the answer to a report; `None`: there is none.
    pub fn answered(&mut self, answer: Option<LimitsAnswer>, now: Moment, sealer: &Sealer, world: &dyn World) {
        for renewal in self.shares.answered(answer, now) {
            renew(&renewal, self.shares.envoys(), now, sealer, world);
            if let Some(piece) = self.pieces.get_mut(&renewal.name) {
                piece.closed_until = Moment(0);
            }
        }
    }
}

/// Renews a lease. Where others write all the time it stays as it is, which is stricter.
fn renew(renewal: &Renewal, envoys: u32, now: Moment, sealer: &Sealer, world: &dyn World) {
    let (name, kind) = (renewal.name, Kind::of(renewal.share.span()));
    let slot = slot::limit(name % SETS);
    for _ in 0..TRIES {
        let Shared { mut set, version, .. } = read(&slot, now, sealer, world);
        let (before, _) = set.full_at(name, kind);
        let full_at = renewal.full_at(before, envoys, now);
        if full_at == before {
            return;
        }
        set.put(name, kind, full_at, now);
        let marked = sealer.mark(&slot, &set.to_bytes(now));
        if world.shared_swap(&slot, &marked, version) {
            return;
        }
    }
}

/// Gives back to a bucket of which nobody has taken since; else what was taken falls back into it with time.
fn return_to(name: u64, piece: &Piece, number: u64, now: Moment, sealer: &Sealer, world: &dyn World) {
    let (slot, kind) = (slot::limit(name % SETS), Kind::of(piece.pace.span()));
    let Shared { mut set, version, .. } = read(&slot, now, sealer, world);
    if set.full_at(name, kind) != (piece.full_at, true) {
        return;
    }
    set.put(name, kind, piece.pace.before(piece.full_at, number), now);
    // If somebody else has written, it is as if they had taken: see above.
    let _ = world.shared_swap(&slot, &sealer.mark(&slot, &set.to_bytes(now)), version);
}

/// A set as it lies in the shared memory.
struct Shared {
    set: Set,
    version: u32,
    /// It could not be read, and has to be made anew.
    is_damaged: bool,
}

fn read(slot: &str, now: Moment, sealer: &Sealer, world: &dyn World) -> Shared {
    let Some((marked, version)) = world.shared_read(slot) else {
        return Shared { set: Set::default(), version: ABSENT, is_damaged: false };
    };
    let set = sealer.marked(slot, &marked).and_then(Set::read);
    let is_damaged = set.is_none();
    Shared { set: set.unwrap_or_else(|| Set::unreadable(now)), version, is_damaged }
}
