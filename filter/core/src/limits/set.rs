//! Times of buckets in sets of a fixed size, so that memory does not grow with the number of subjects. A time that has
//! passed says nothing, and its place is free. Where every place is taken, the time that passes first goes, and becomes
//! the *floor* of its kind: a subject that is not found starts there, never with a full bucket. So throwing out can make
//! somebody wait; it never gives anybody more. This module must not know what a subject is.

use super::pace::Moment;

/// Number of sets. Each lies in a slot of the memory that the workers share, and the host never frees one.
pub const SETS: u64 = 8_192;
/// Places of a set.
pub const PLACES: usize = 8;
/// Kinds of buckets, by how long they take to fill: a floor that a slow bucket leaves must not close a quick one.
const KINDS: usize = 8;
/// Their longest spans.
const LONGEST_SECONDS: [u64; KINDS] = [1, 8, 64, 512, 4_096, 32_768, 262_144, 2_097_152];
const NANOS_PER_SECOND: u64 = 1_000_000_000;
const PLACE_BYTES: usize = 17;
const HEAD_BYTES: usize = KINDS * 8;

/// How long a bucket takes to fill: up to 1 s, 8 s, 64 s and so on; the last kind is of all that are slower than three days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(u8);

impl Kind {
    /// Of a bucket that takes so many nanoseconds to fill.
    pub fn of(span: u64) -> Self {
        let mut kind = 0;
        while usize::from(kind).saturating_add(1) < KINDS && Self(kind).longest() < span {
            kind = kind.saturating_add(1);
        }
        Self(kind)
    }

    /// The longest span of the kind, in nanoseconds.
    fn longest(self) -> u64 {
        LONGEST_SECONDS.get(usize::from(self.0)).map_or(u64::MAX, |seconds| seconds.saturating_mul(NANOS_PER_SECOND))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    name: u64,
    kind: Kind,
    full_at: Moment,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    floors: [u64; KINDS],
    places: Vec<Place>,
}

impl Set {
    /// A set in place of one that cannot be read: who was in it is not known, so all buckets are empty.
    pub fn unreadable(now: Moment) -> Self {
        let mut floors = [0; KINDS];
        for (kind, floor) in (0..).zip(floors.iter_mut()) {
            *floor = now.0.saturating_add(Kind(kind).longest());
        }
        Self { floors, places: Vec::new() }
    }

    /// When the bucket of a subject will be full, and whether it is known: else it is the floor.
    pub fn full_at(&self, name: u64, kind: Kind) -> (Moment, bool) {
        let found = self.places.iter().find(|place| place.name == name);
        found.map_or((Moment(self.floor(kind)), false), |place| (place.full_at, true))
    }

    fn floor(&self, kind: Kind) -> u64 {
        self.floors.get(usize::from(kind.0)).copied().unwrap_or(0)
    }

    /// Notes when the bucket of a subject will be full.
    pub fn put(&mut self, name: u64, kind: Kind, full_at: Moment, now: Moment) {
        self.places.retain(|place| place.full_at > now && place.name != name);
        self.places.push(Place { name, kind, full_at });
        // It may be the new one itself: whoever passes first leaves the lowest floor.
        if self.places.len() > PLACES
            && let Some((at, first)) = self.places.iter().enumerate().min_by_key(|(_, place)| place.full_at)
        {
            let first = *first;
            self.places.swap_remove(at);
            if let Some(floor) = self.floors.get_mut(usize::from(first.kind.0)) {
                *floor = first.full_at.0.max(*floor);
            }
        }
    }

    /// The set without what has passed, as bytes.
    pub fn to_bytes(&self, now: Moment) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.places.len().saturating_mul(PLACE_BYTES).saturating_add(HEAD_BYTES));
        for floor in self.floors {
            bytes.extend_from_slice(&floor.to_le_bytes());
        }
        for place in self.places.iter().filter(|place| place.full_at > now) {
            bytes.extend_from_slice(&place.name.to_le_bytes());
            bytes.extend_from_slice(&place.full_at.0.to_le_bytes());
            bytes.push(place.kind.0);
        }
        bytes
    }

    /// What [`Self::to_bytes`] gave; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (places, []) = rest.as_chunks::<PLACE_BYTES>() else { return None };
        let (floors, []) = head.as_chunks::<8>() else { return None };
        let mut set = Self::default();
        for (floor, bytes) in set.floors.iter_mut().zip(floors) {
            *floor = u64::from_le_bytes(*bytes);
        }
        for place in places.iter().take(PLACES) {
            let (name, rest) = place.split_first_chunk::<8>()?;
            let (full_at, rest) = rest.split_first_chunk::<8>()?;
            let [kind] = rest else { return None };
            set.places.push(Place {
                name: u64::from_le_bytes(*name),
                kind: Kind(*kind),
                full_at: Moment(u64::from_le_bytes(*full_at)),
            });
        }
        Some(set)
    }
}
