//! What is revoked, in a fixed number of pages of a fixed size, so that a page fits a slot that the workers share. When
//! a page is full of what still holds, nothing is forgotten: every token issued up to then is refused for as long as
//! the revocation that found no place would have held. Whoever may, gets a newer token; who was revoked cannot.

use std::collections::HashMap;

use ahash::RandomState;
use sha2::{Digest as _, Sha256};
use tollgate_protocol::{Revocation, Revoked};

/// Number of pages.
pub const PAGES: usize = 16;
/// Most entries of a page.
const PAGE_ENTRIES: usize = 4096;
/// How far the clocks of those who issue tokens may be ahead of ours, in seconds: what an overflow refuses reaches so
/// far beyond the moment.
const SKEW_SECONDS: u64 = 5;
const MARK_BYTES: usize = 16;
const ENTRY_BYTES: usize = MARK_BYTES + 8;
const HEAD_BYTES: usize = 16;

/// The name under which something revoked is kept: the first half of a SHA-256. Two things with one name would only
/// refuse one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; MARK_BYTES]);

impl Mark {
    /// The name of a session, a token or a key, of one issuer or (`None`) of any.
    pub fn of(what: Revoked, issuer: Option<&str>, id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update([what as u8, u8::from(issuer.is_some())]);
        for part in [issuer.unwrap_or_default(), id] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        let whole: [u8; 32] = hash.finalize().into();
        let mut mark = [0; MARK_BYTES];
        mark.iter_mut().zip(whole).for_each(|(mark, byte)| *mark = byte);
        Self(mark)
    }

    /// On which page it stands, if anywhere.
    pub fn page(&self) -> usize {
        let [first, ..] = self.0;
        usize::from(first) % PAGES
    }
}

/// What found no place: tokens issued up to then are refused until then. All zero: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Overflow {
    issued: u64,
    until: u64,
}

impl Overflow {
    fn refuses(self, issued_at: Option<u64>, now: u64) -> bool {
        now < self.until && issued_at.is_none_or(|issued_at| issued_at <= self.issued)
    }

    fn with(self, other: Self) -> Self {
        Self { issued: self.issued.max(other.issued), until: self.until.max(other.until) }
    }
}

/// One page. As bytes it goes into a slot that the workers share.
#[derive(Debug)]
pub struct Page {
    entries: HashMap<Mark, u64, RandomState>,
    overflow: Overflow,
}

impl Page {
    /// An empty page.
    pub fn new(hasher: RandomState) -> Self {
        Self { entries: HashMap::with_hasher(hasher), overflow: Overflow::default() }
    }

    /// Notes a revocation. `now` is in unix seconds.
    pub fn add(&mut self, revocation: &Revocation, now: u64) {
        let mark = Mark::of(revocation.what, revocation.issuer.as_deref(), &revocation.id);
        // A key that is not to be trusted dates its tokens as it likes.
        let is_key = revocation.what == Revoked::Key;
        let issued = if is_key { u64::MAX } else { now.saturating_add(SKEW_SECONDS) };
        self.put(mark, revocation.until, issued, now);
    }

    fn put(&mut self, mark: Mark, until: u64, issued: u64, now: u64) {
        if until <= now {
            return;
        }
        if let Some(known) = self.entries.get_mut(&mark) {
            *known = until.max(*known);
            return;
        }
        if self.entries.len() >= PAGE_ENTRIES {
            self.entries.retain(|_, until| now < *until);
        }
        if self.entries.len() >= PAGE_ENTRIES {
            let former = if self.overflow.until <= now { Overflow::default() } else { self.overflow };
            self.overflow = former.with(Overflow { issued, until });
        } else {
            self.entries.insert(mark, until);
        }
    }

    /// The page without what is over, as bytes.
    pub fn to_bytes(&self, now: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len().saturating_mul(ENTRY_BYTES).saturating_add(HEAD_BYTES));
        bytes.extend_from_slice(&self.overflow.issued.to_le_bytes());
        bytes.extend_from_slice(&self.overflow.until.to_le_bytes());
        for (mark, until) in self.entries.iter().filter(|(_, until)| now < **until) {
            bytes.extend_from_slice(&mark.0);
            bytes.extend_from_slice(&until.to_le_bytes());
        }
        bytes
    }

    /// Takes in what [`Self::to_bytes`] gave, beside what is there. `false` for anything else: then nothing is taken.
    pub fn take_in(&mut self, bytes: &[u8], now: u64) -> bool {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return false };
        let (entries, []) = rest.as_chunks::<ENTRY_BYTES>() else { return false };
        let Some((issued, until)) = numbers(head) else { return false };
        self.overflow = self.overflow.with(Overflow { issued, until });
        for entry in entries {
            if let Some((mark, until)) = entry.split_first_chunk::<MARK_BYTES>()
                && let Ok(until) = until.try_into().map(u64::from_le_bytes)
            {
                // Pages are of one size everywhere, but this one may hold others already.
                self.put(Mark(*mark), until, u64::MAX, now);
            }
        }
        true
    }
}

fn numbers(head: &[u8; HEAD_BYTES]) -> Option<(u64, u64)> {
    let (issued, until) = head.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*issued), u64::from_le_bytes(until.try_into().ok()?)))
}

/// Everything that is revoked, as far as this VM knows.
#[derive(Debug)]
pub struct RevokedSet {
    pages: [Page; PAGES],
    doubt: Option<u64>,
    /// Whether there ever was anything to look for: nearly always there was not, and every request asks.
    noted: bool,
}

impl RevokedSet {
    /// Nothing is revoked. `hasher` is seeded by the host's randomness.
    pub fn new(hasher: &RandomState) -> Self {
        Self { pages: core::array::from_fn(|_| Page::new(hasher.clone())), doubt: None, noted: false }
    }

    /// Notes a revocation. `now` is in unix seconds.
    pub fn add(&mut self, revocation: &Revocation, now: u64) {
        let mark = Mark::of(revocation.what, revocation.issuer.as_deref(), &revocation.id);
        if let Some(page) = self.pages.get_mut(mark.page()) {
            page.add(revocation, now);
            self.noted = true;
        }
    }

    /// Takes in a page from elsewhere. `false`: it is none.
    pub fn take_in(&mut self, page: usize, bytes: &[u8], now: u64) -> bool {
        self.noted = true;
        self.pages.get_mut(page).is_some_and(|page| page.take_in(bytes, now))
    }

    /// Something may be missing: until [`Self::is_whole`] is told, what was issued up to now is refused.
    pub fn may_lack(&mut self, now: u64) {
        self.noted = true;
        self.doubt = Some(now.saturating_add(SKEW_SECONDS));
    }

    /// Nothing is missing any more.
    pub fn is_whole(&mut self) {
        self.doubt = None;
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        !self.noted
    }

    /// Whether one of these names is revoked, or something that may be one of them. Times are in unix seconds.
    pub fn refuses(&self, marks: &[Mark], issued_at: Option<u64>, now: u64) -> bool {
        let is_revoked = |mark: &Mark| {
            let until = self.pages.get(mark.page()).and_then(|page| page.entries.get(mark));
            until.is_some_and(|until| now < *until)
        };
        self.doubt.is_some_and(|doubt| issued_at.is_none_or(|issued_at| issued_at <= doubt))
            || marks.iter().any(is_revoked)
            || self.pages.iter().any(|page| page.overflow.refuses(issued_at, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn set() -> RevokedSet {
        RevokedSet::new(&RandomState::with_seeds(1, 2, 3, 4))
    }

    fn session(id: &str, until: u64) -> Revocation {
        Revocation { what: Revoked::Session, issuer: None, id: id.into(), until }
    }

    #[track_caller]
    fn check(set: &RevokedSet, id: &str, issued_at: Option<u64>, now: u64, refused: bool) {
        let marks = [Mark::of(Revoked::Session, None, id)];
        assert_eq!(set.refuses(&marks, issued_at, now), refused, "{id} {issued_at:?} {now}");
    }

    #[test]
    fn kind_issuer_and_id_all_count() {
        let names = [
            Mark::of(Revoked::Session, None, "ab"),
            Mark::of(Revoked::Token, None, "ab"),
            Mark::of(Revoked::Key, None, "ab"),
            Mark::of(Revoked::Session, Some(""), "ab"),
            Mark::of(Revoked::Session, Some("a"), "b"),
        ];
        for (place, one) in names.iter().enumerate() {
            assert!(names[place + 1..].iter().all(|other| one != other), "{place}");
        }
    }

    #[test]
    fn what_is_revoked_is_refused_until_its_time_is_over() {
        let mut set = set();
        assert!(set.is_empty());
        set.add(&session("s", NOW + 10), NOW);
        set.add(&session("s", NOW + 5), NOW);
        check(&set, "s", Some(NOW), NOW + 9, true);
        check(&set, "s", Some(NOW), NOW + 10, false);
        check(&set, "other", Some(NOW), NOW, false);
        set.add(&session("over", NOW), NOW);
        check(&set, "over", None, NOW, false);
    }

    #[test]
    fn a_full_set_refuses_more_never_less() {
        let mut set = set();
        let most = PAGES * PAGE_ENTRIES * 2;
        for number in 0..most {
            set.add(&session(&format!("s{number}"), NOW + 100), NOW);
        }
        assert!(set.pages.iter().all(|page| page.entries.len() == PAGE_ENTRIES));
        for number in 0..most {
            check(&set, &format!("s{number}"), Some(NOW), NOW + 99, true);
        }
        check(&set, "somebody", Some(NOW + SKEW_SECONDS), NOW, true);
        check(&set, "somebody", None, NOW, true);
        check(&set, "somebody who has signed in since", Some(NOW + SKEW_SECONDS + 1), NOW + 6, false);
        check(&set, "somebody", Some(NOW), NOW + 100, false);
        // What is over makes room.
        set.add(&session("later", NOW + 300), NOW + 200);
        check(&set, "later", Some(NOW + 200), NOW + 200, true);
        check(&set, "somebody", Some(NOW), NOW + 200, false);
    }

    #[test]
    fn a_key_that_finds_no_place_is_refused_whatever_its_tokens_say() {
        let mut page = Page::new(RandomState::with_seeds(1, 2, 3, 4));
        for number in 0..PAGE_ENTRIES {
            page.add(&session(&format!("s{number}"), NOW + 100), NOW);
        }
        page.add(&Revocation { what: Revoked::Key, ..session("k", NOW + 100) }, NOW);
        assert!(page.overflow.refuses(Some(u64::MAX), NOW));
    }

    #[test]
    fn a_page_comes_back_from_bytes_and_nothing_else_does() {
        let (mut one, mut two) = (set(), set());
        for number in 0..100 {
            one.add(&session(&format!("s{number}"), NOW + number), NOW);
        }
        for (place, page) in one.pages.iter().enumerate() {
            let bytes = page.to_bytes(NOW + 50);
            assert!(two.take_in(place, &bytes, NOW + 50));
            for bad in [&bytes[1..], &[], &bytes[..15]] {
                assert!(!set().take_in(place, bad, NOW), "{place}");
            }
        }
        assert!(!two.take_in(PAGES, &[0; 16], NOW));
        check(&two, "s51", None, NOW + 50, true);
        check(&two, "s50", None, NOW, false);
        let full = Overflow { issued: NOW, until: NOW + 9 };
        one.pages[0].overflow = full;
        assert!(two.take_in(0, &one.pages[0].to_bytes(NOW), NOW));
        assert_eq!(two.pages[0].overflow, full);
    }

    #[test]
    fn while_something_may_be_missing_what_was_issued_before_is_refused() {
        let mut set = set();
        set.may_lack(NOW);
        check(&set, "s", Some(NOW), NOW + 1_000_000, true);
        check(&set, "s", None, NOW, true);
        check(&set, "s", Some(NOW + 6), NOW + 6, false);
        set.is_whole();
        check(&set, "s", Some(NOW), NOW, false);
    }
}
