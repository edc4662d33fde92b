//! What this process remembers of the feed: the newest entries in order, bounded, and how far the stream was read. It
//! must not know where they come from.

use std::collections::VecDeque;

use crate::domain::{FeedEntry, Happening, Timestamp};

/// Most entries that are remembered.
pub(super) const CAPACITY: usize = 100_000;

/// The newest part of the feed. Entries that belong together (of one transaction) have one number and are never parted.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<FeedEntry>,
    /// Every entry after this place, up to `position`, is here.
    floor: u64,
    position: u64,
    capacity: usize,
}

/// What follows a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Entries, and the place after them.
    Entries(Vec<FeedEntry>, u64),
    /// What followed it has been forgotten.
    Lost,
}

impl Ring {
    /// Knows nothing from before `place`.
    pub(super) const fn beginning_at(place: u64, capacity: usize) -> Self {
        Self { entries: VecDeque::new(), floor: place, position: place, capacity }
    }

    /// How far the stream was read.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Adds what happened at `seq`, all of it. More that happened at a place that was passed already cannot be told to
    /// those who have been there: they are lost, and this says so. What is here already has only been read again: the
    /// driver begins a stream at its old place where opening it anew takes two tries.
    pub(super) fn push(
        &mut self,
        seq: u64,
        at: Option<Timestamp>,
        happened: impl IntoIterator<Item = Happening>,
    ) -> bool {
        let mut happened = happened.into_iter();
        if seq <= self.position {
            let start = self.entries.partition_point(|entry| entry.seq < seq);
            let here = || self.entries.range(start..).take_while(|entry| entry.seq == seq);
            let is_late = happened.any(|new| !here().any(|entry| entry.happening == new));
            if is_late {
                self.lose(seq);
            }
            return is_late;
        }
        self.entries.extend(happened.map(|happening| FeedEntry { seq, at, happening }));
        self.position = seq;
        while self.entries.len() > self.capacity {
            let Some(oldest) = self.entries.front().map(|entry| entry.seq) else { break };
            self.forget_before(oldest.saturating_add(1));
        }
        false
    }

    /// Nothing more will come up to `place`.
    pub(super) const fn advance(&mut self, place: u64) {
        if place > self.position {
            self.position = place;
        }
    }

    /// Forgets everything: what happened up to `place` may have been missed.
    pub(super) fn lose(&mut self, place: u64) {
        // Also who stands at the very newest place has missed something.
        let place = place.max(self.position.saturating_add(1));
        self.entries.clear();
        (self.floor, self.position) = (place, place);
    }

    /// Forgets entries from before `place`, as far as `at_least` of the newest remain. Says how many went.
    pub(super) fn prune(&mut self, place: u64, at_least: usize) -> usize {
        let old = self.entries.partition_point(|entry| entry.seq < place);
        let gone = old.min(self.entries.len().saturating_sub(at_least));
        // A place whose entries are forgotten in part is forgotten whole, or kept whole.
        let last_gone = gone.checked_sub(1).and_then(|last| self.entries.get(last)).map(|entry| entry.seq);
        match (last_gone, self.entries.get(gone).map(|entry| entry.seq)) {
            (Some(last), next) if next != Some(last) => self.forget_before(last.saturating_add(1)),
            (Some(last), _) => self.forget_before(last),
            (None, _) => 0,
        }
    }

    fn forget_before(&mut self, place: u64) -> usize {
        let gone = self.entries.partition_point(|entry| entry.seq < place);
        self.entries.drain(..gone);
        self.floor = self.floor.max(place.saturating_sub(1));
        self.position = self.position.max(self.floor);
        gone
    }

    /// What follows `place`: about `limit` entries, and always all of one number.
    pub(super) fn after(&self, place: u64, limit: usize) -> Page {
        if place < self.floor {
            return Page::Lost;
        }
        let start = self.entries.partition_point(|entry| entry.seq <= place);
        let left = self.entries.len().saturating_sub(start);
        if left <= limit {
            return Page::Entries(self.entries.range(start..).cloned().collect(), self.position.max(place));
        }
        // The entry at `limit` is the first that does not fit: its number begins the next page, unless it began this.
        let number = |at: usize| self.entries.get(start.saturating_add(at)).map_or(u64::MAX, |entry| entry.seq);
        let first_left_out = number(limit);
        let end = match number(0) == first_left_out {
            true => self.entries.partition_point(|entry| entry.seq <= first_left_out),
            false => self.entries.partition_point(|entry| entry.seq < first_left_out),
        };
        let page: Vec<FeedEntry> = self.entries.range(start..end).cloned().collect();
        let next = page.last().map_or(place, |entry| entry.seq);
        Page::Entries(page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    fn users(names: &[&str]) -> Vec<Happening> {
        names.iter().map(|name| Happening::User(UserId::new(*name))).collect()
    }

    fn page(ring: &Ring, place: u64, limit: usize) -> (Vec<u64>, u64) {
        match ring.after(place, limit) {
            Page::Entries(entries, next) => (entries.into_iter().map(|entry| entry.seq).collect(), next),
            Page::Lost => panic!("lost"),
        }
    }

    #[test]
    fn pages_never_part_what_has_one_number() {
        let mut ring = Ring::beginning_at(10, 100);
        ring.push(11, None, users(&["a"]));
        ring.push(12, None, users(&["b", "c", "d"]));
        ring.push(13, None, users(&["e"]));
        ring.advance(20);
        assert_eq!(page(&ring, 10, 9), (vec![11, 12, 12, 12, 13], 20));
        assert_eq!(page(&ring, 10, 2), (vec![11], 11));
        assert_eq!(page(&ring, 11, 2), (vec![12, 12, 12], 12));
        assert_eq!(page(&ring, 12, 2), (vec![13], 20));
        assert_eq!(page(&ring, 20, 2), (vec![], 20));
        assert_eq!(page(&ring, 25, 2), (vec![], 25), "another process was ahead of this one");
        assert_eq!(ring.after(9, 2), Page::Lost);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_never_skipped() {
        let mut ring = Ring::beginning_at(0, 3);
        for seq in 1..=3 {
            ring.push(seq, None, users(&["a"]));
        }
        ring.push(4, None, users(&["b", "c"]));
        assert_eq!(ring.after(1, 9), Page::Lost);
        assert_eq!(page(&ring, 2, 9), (vec![3, 4, 4], 4));
        ring.push(5, None, users(&["d", "e", "f", "g"]));
        assert_eq!(ring.after(4, 9), Page::Lost, "more than fits: nobody is told a part of it");
        assert_eq!(page(&ring, 5, 9), (vec![], 5));
    }

    #[test]
    fn what_comes_late_or_was_missed_loses_everyone() {
        let mut ring = Ring::beginning_at(0, 9);
        ring.push(1, None, users(&["a"]));
        ring.push(1, None, users(&["more of the same number"]));
        assert_eq!(ring.after(1, 9), Page::Lost);
        let before = ring.position();
        ring.lose(7);
        assert_eq!((ring.after(before, 9), ring.position()), (Page::Lost, 7));
        ring.lose(3);
        assert_eq!((ring.after(7, 9), ring.position()), (Page::Lost, 8));
    }

    #[test]
    fn what_is_read_again_is_told_once_and_loses_nobody() {
        let mut ring = Ring::beginning_at(0, 9);
        ring.push(1, None, users(&["a"]));
        ring.push(2, None, users(&["b", "c"]));
        ring.push(4, None, users(&["d"]));
        ring.advance(6);
        for (seq, again) in [(1, vec!["a"]), (2, vec!["c", "b"]), (2, vec!["c"]), (3, vec![]), (4, vec!["d"])] {
            assert!(!ring.push(seq, None, users(&again)), "{seq}");
            assert_eq!(page(&ring, 0, 9), (vec![1, 2, 2, 4], 6), "{seq}");
        }
        assert!(ring.push(3, None, users(&["d"])), "another place");
        assert_eq!(ring.after(6, 9), Page::Lost);
        assert!(ring.push(4, None, users(&["d"])), "not known any more");
    }

    #[test]
    fn pruning_keeps_the_newest_and_whole_numbers() {
        let filled = || {
            let mut ring = Ring::beginning_at(0, 99);
            ring.push(1, None, users(&["a"]));
            ring.push(2, None, users(&["b", "c"]));
            ring.push(3, None, users(&["d"]));
            ring
        };
        for (before, at_least, gone, floor) in
            [(1, 0, 0, 0), (2, 0, 1, 1), (9, 2, 1, 1), (9, 1, 3, 2), (9, 0, 4, 3), (9, 9, 0, 0)]
        {
            let mut ring = filled();
            assert_eq!(ring.prune(before, at_least), gone, "{before} {at_least}");
            assert_eq!((ring.floor, ring.position), (floor, 3), "{before} {at_least}");
        }
    }
}
