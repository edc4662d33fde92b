//! Whether something that was true at one place of the control plane's feed is still true: it is, unless the feed has
//! named its user or key since. Bounded: when too many names are remembered the oldest go, and everything from
//! before them counts as outdated, so that forgetting can never make a revoked entry good again.

use std::collections::{HashMap, VecDeque};

/// Keyed hash of a user id or a key hash. Two names with the same one only cost a needless look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Touch(pub u64);

/// What the feed has named lately.
#[derive(Debug)]
pub struct Freshness {
    floor: u64,
    touched: HashMap<Touch, u64, ahash::RandomState>,
    order: VecDeque<(Touch, u64)>,
    capacity: usize,
}

impl Freshness {
    /// Knows nothing yet. `capacity` names are remembered.
    pub fn new(capacity: usize, hasher: ahash::RandomState) -> Self {
        Self { floor: 0, touched: HashMap::with_hasher(hasher), order: VecDeque::new(), capacity }
    }

    /// The feed has named this user or key at `seq`.
    pub fn touch(&mut self, name: Touch, seq: u64) {
        let latest = self.touched.entry(name).or_insert(seq);
        *latest = seq.max(*latest);
        self.order.push_back((name, seq));
        while self.order.len() > self.capacity {
            let Some((name, seq)) = self.order.pop_front() else { break };
            self.floor = self.floor.max(seq);
            if self.touched.get(&name).is_some_and(|latest| *latest <= seq) {
                self.touched.remove(&name);
            }
        }
    }

    /// From here on the feed is seen without gaps; what is older cannot be judged.
    pub fn start_at(&mut self, seq: u64) {
        self.floor = self.floor.max(seq);
    }

    /// Another feed: nothing that was remembered applies to it.
    pub fn restart(&mut self, seq: u64) {
        self.floor = seq;
        self.touched.clear();
        self.order.clear();
    }

    /// Whether what was read at `as_of` about `name` still holds.
    pub fn holds(&self, as_of: u64, name: Touch) -> bool {
        as_of >= self.floor && self.touched.get(&name).is_none_or(|latest| as_of >= *latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outdates_what_is_older_and_forgetting_outdates_more_never_less() {
        let mut fresh = Freshness::new(2, ahash::RandomState::with_seeds(1, 2, 3, 4));
        let (a, b, c) = (Touch(1), Touch(2), Touch(3));
        assert!(fresh.holds(0, a));
        fresh.touch(a, 5);
        assert!(!fresh.holds(4, a) && fresh.holds(5, a) && fresh.holds(4, b));
        fresh.touch(b, 6);
        fresh.touch(c, 7);
        assert!(!fresh.holds(4, a) && !fresh.holds(4, b) && fresh.holds(5, a));
        fresh.touch(c, 6);
        assert!(!fresh.holds(6, c), "a late arrival of an older change takes nothing back");
        fresh.restart(1);
        assert!(fresh.holds(1, c) && !fresh.holds(0, a));
    }

    #[test]
    fn memory_stays_bounded() {
        let mut fresh = Freshness::new(100, ahash::RandomState::with_seeds(1, 2, 3, 4));
        for seq in 0..10_000 {
            fresh.touch(Touch(seq % 1_000), seq);
            assert!(fresh.touched.len() <= 101 && fresh.order.len() <= 100);
        }
    }
}
