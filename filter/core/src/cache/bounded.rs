//! A least-recently-used map with two bounds: number of entries, and their weight. The hash is keyed, so that nobody
//! can choose entries that collide.

use core::{borrow::Borrow, hash::Hash};

use ahash::RandomState;
use lru::LruCache;

/// A bounded map.
#[derive(Debug)]
pub struct Bounded<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize), RandomState>,
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
        self.entries.get(key).map(|(value, _)| value)
    }

    /// The same, to be changed in its place; its weight stays.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|(value, _)| value)
    }

    /// Puts an entry in and throws out the least recently used ones that no longer fit. One that alone exceeds the
    /// bound is not kept. Returns the entry that was thrown out last, if any.
    pub fn put(&mut self, key: K, value: V, weight: usize) -> Option<(K, V)> {
        if weight > self.max_weight || self.max_entries == 0 {
            return None;
        }
        if let Some((_, former)) = self.entries.put(key, (value, weight)) {
            self.weight = self.weight.saturating_sub(former);
        }
        self.weight = self.weight.saturating_add(weight);
        let mut thrown_out = None;
        while self.entries.len() > self.max_entries || self.weight > self.max_weight {
            let Some((key, (value, weight))) = self.entries.pop_lru() else { break };
            self.weight = self.weight.saturating_sub(weight);
            thrown_out = Some((key, value));
        }
        thrown_out
    }

    /// Takes an entry out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some((_, weight)) = self.entries.pop(key) {
            self.weight = self.weight.saturating_sub(weight);
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
    fn both_bounds_hold_and_the_oldest_goes_first() {
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
}
