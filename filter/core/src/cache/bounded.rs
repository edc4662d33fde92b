//! A map with two bounds: number of entries, and their weight. The hash is keyed, so that nobody can choose entries that
//! collide.
//!
//! Who has been used since it was looked at last gets a second chance when room is needed. To move each entry to the front
//! at each use, as LRU does, costs nearly the same hits, and writes to four places of memory that are not used otherwise.

use core::{borrow::Borrow, hash::Hash};

use ahash::RandomState;
use lru::LruCache;

/// So many entries get a second chance before one is thrown out whatever it is: what one insertion costs is bounded.
const CHANCES: usize = 32;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    is_used: bool,
}

/// A bounded map.
#[derive(Debug)]
pub struct Bounded<K: Hash + Eq, V> {
    /// Only its order of insertion is used.
    entries: LruCache<K, Entry<V>, RandomState>,
    weight: usize,
    max_entries: usize,
    max_weight: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// An empty map. `hasher` is seeded by the host's randomness.
    pub fn new(max_entries: usize, max_weight: usize, hasher: RandomState) -> Self {
        Self { entries: LruCache::unbounded_with_hasher(hasher), weight: 0, max_entries, max_weight }
    }

    /// Looks up an entry and marks it as used.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_mut(key).map(|value| &*value)
    }

    /// The same, to be changed in its place; its weight stays.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.peek_mut(key)?;
        entry.is_used = true;
        Some(&mut entry.value)
    }

    /// Puts an entry in, and throws out the oldest unused ones for which no room is left. One that alone exceeds the
    /// bound is not kept. Returns the entry that was thrown out last, if any.
    pub fn put(&mut self, key: K, value: V, weight: usize) -> Option<(K, V)> {
        if weight > self.max_weight || self.max_entries == 0 {
            return None;
        }
        self.remove(&key);
        let (mut thrown_out, mut chances) = (None, CHANCES);
        let room = self.max_weight.saturating_sub(weight);
        while self.entries.len() >= self.max_entries || self.weight > room {
            let Some((key, mut entry)) = self.entries.pop_lru() else { break };
            if entry.is_used && chances > 0 {
                chances = chances.saturating_sub(1);
                entry.is_used = false;
                self.entries.put(key, entry);
                continue;
            }
            self.weight = self.weight.saturating_sub(entry.weight);
            thrown_out = Some((key, entry.value));
        }
        self.entries.put(key, Entry { value, weight, is_used: false });
        self.weight = self.weight.saturating_add(weight);
        thrown_out
    }

    /// Takes an entry out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(entry) = self.entries.pop(key) {
            self.weight = self.weight.saturating_sub(entry.weight);
        }
    }

    /// Takes every entry out.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: usize, weight: usize) -> Bounded<u32, &'static str> {
        Bounded::new(entries, weight, RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn both_bounds_hold_and_the_oldest_unused_goes_first() {
        let mut map = map(2, 10);
        map.put(1, "a", 3);
        map.put(2, "b", 3);
        assert_eq!(map.get(&1), Some(&"a"));
        assert_eq!(map.put(3, "c", 3), Some((2, "b")));
        assert_eq!((map.len(), map.weight), (2, 6));
        map.put(4, "d", 9);
        assert_eq!((map.len(), map.weight), (1, 9));
        map.put(5, "too heavy", 11);
        assert_eq!(map.get(&5), None);
        map.put(4, "again", 2);
        assert_eq!(map.weight, 2);
        map.remove(&4);
        assert_eq!((map.is_empty(), map.weight), (true, 0));
    }

    #[test]
    fn one_that_is_used_again_and_again_stays_while_others_come_and_go() {
        let mut map = map(8, usize::MAX);
        map.put(0, "kept", 1);
        for key in 1..1_000 {
            assert_eq!(map.get(&0), Some(&"kept"), "before {key}");
            map.put(key, "passing", 1);
            assert_eq!(
                (map.len(), map.entries.contains(&key)),
                (8.min(key as usize + 1), true),
                "the new one is there"
            );
        }
    }

    #[test]
    fn where_all_are_used_one_goes_all_the_same() {
        let mut map = map(100, usize::MAX);
        for key in 0..1_000 {
            map.put(key, "used", 1);
            for key in 0..=key {
                let _ = map.get(&key);
            }
            assert_eq!(map.len(), 100.min(key as usize + 1));
        }
    }
}
