//! The pages of what is revoked, in slots of a fixed number and size: a VM that starts, or has fallen behind the ring of
//! changes, finds there whatever still is. The leader adds to a page by compare-and-swap, so that a leader that was held
//! up past its lease takes nothing away. This module must not know who asks whether something is revoked.

use tollgate_core::{
    cache::{Mark, PAGES, Page, slot},
    engine::{Engine, Now},
};
use tollgate_protocol::{
    Revocation,
    edge::{Change, SyncAnswer},
};

use crate::{
    host::{self, LogLevel},
    world::HostWorld,
};

/// How often a page that others write at the same time is tried.
const TRIES: usize = 4;

/// A page that the head names is not there, or not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// Adds what an answer revokes. `written` says which pages there are. `false`: it could not be added, and the answer must
/// not be published.
///
/// # Errors
/// [`Lost`].
pub(super) fn write(
    engine: &mut Engine,
    world: &HostWorld,
    written: &mut u16,
    answer: &SyncAnswer,
    now: Now,
) -> Result<bool, Lost> {
    let told = answer.changes.iter().filter_map(|change| match change {
        Change::Revoked { revocation, .. } => Some(revocation),
        Change::User { .. } | Change::Key { .. } | Change::Recall { .. } | Change::Unknown => None,
    });
    let all: Vec<&Revocation> = answer.revocations.iter().chain(told).collect();
    for page in 0..PAGES {
        let mark = |one: &Revocation| Mark::of(one.what, one.issuer.as_deref(), &one.id);
        let ours: Vec<&Revocation> = all.iter().filter(|one| mark(one).page() == page).copied().collect();
        let is_there = *written & bit(page) != 0;
        // A reset brings everything: a page that is not readable any more is made anew.
        if ours.is_empty() && !(answer.reset && is_there) {
            continue;
        }
        if !add(engine, world, page, &ours, is_there && !answer.reset, now)? {
            return Ok(false);
        }
        *written |= bit(page);
    }
    Ok(true)
}

fn add(
    engine: &mut Engine,
    world: &HostWorld,
    page: usize,
    new: &[&Revocation],
    has_to_be_there: bool,
    now: Now,
) -> Result<bool, Lost> {
    let slot = slot::revoked(page);
    for _ in 0..TRIES {
        let mut content = Page::new(engine.hasher());
        let found = host::get_shared(&world.slot(&slot));
        let cas = found.as_ref().map_or(0, |(_, cas)| *cas);
        let plain = found.and_then(|(sealed, _)| engine.sealer().open(&slot, &sealed));
        let is_ours = plain.is_some_and(|plain| content.take_in(&plain, now.seconds()));
        if !is_ours && has_to_be_there {
            host::log(LogLevel::Warn, "tollgate: the shared list of what is revoked is damaged; it is asked for anew");
            return Err(Lost);
        }
        for revocation in new {
            content.add(revocation, now.seconds());
        }
        let Some(sealed) = engine.sealer().seal(&slot, &content.to_bytes(now.seconds())) else { return Ok(false) };
        if host::set_shared(&world.slot(&slot), &sealed, cas) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes in every page that the head names. `false`: one is not there, and what was issued before now is refused until
/// it is.
pub(super) fn read(engine: &mut Engine, world: &HostWorld, written: u16, now: Now) -> bool {
    let mut is_whole = true;
    for page in (0..PAGES).filter(|page| written & bit(*page) != 0) {
        let slot = slot::revoked(page);
        let sealed = host::get_shared(&world.slot(&slot));
        let plain = sealed.and_then(|(sealed, _)| engine.sealer().open(&slot, &sealed));
        is_whole &= plain.is_some_and(|plain| engine.revoked().take_in(page, &plain, now.seconds()));
    }
    if is_whole {
        engine.revoked().is_whole();
    } else {
        host::log(LogLevel::Warn, "tollgate: the shared list of what is revoked is damaged; older tokens are refused");
        engine.revoked().may_lack(now.seconds());
    }
    is_whole
}

const fn bit(page: usize) -> u16 {
    1 << (page % PAGES)
}
