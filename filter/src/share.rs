//! How the VMs of one Envoy tell each other what the control plane said: the leader publishes, everyone catches up.
//!
//! In the shared data lie the last settings, a ring of the last changes, the pages of what is revoked
//! (`share/pages.rs`), and a head that names them. Everything is sealed. This module must not know how the leader got its news.

mod pages;

use pages::Lost;
use serde::{Deserialize, Serialize};
use tollgate_core::{
    cache::slot,
    engine::{Engine, Now},
    settings::Compiled,
};
use tollgate_protocol::{
    Cursor,
    edge::{Change, Settings, SyncAnswer},
};

use crate::{
    host::{self, LogLevel},
    world::HostWorld,
};

/// Names one publication. Should two VMs ever publish under one number (a leader that was held up past its lease), the
/// one that lost is recognised by its name, and what it overwrote counts as missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    version: u64,
    by: u64,
}

/// What has been published last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Head {
    last: Mark,
    settings: Mark,
    /// Which pages of what is revoked have been written, one bit each.
    revoked: u16,
    pub(crate) cursor: Option<Cursor>,
    heard_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct News {
    mark: Mark,
    follows: Mark,
    before: Option<Cursor>,
    cursor: Cursor,
    reset: bool,
    changes: Vec<Change>,
}

#[derive(Serialize, Deserialize)]
struct PublishedSettings {
    mark: Mark,
    settings: Settings,
}

/// How far this VM has caught up.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    last: Option<Mark>,
    settings: Mark,
    /// The settings that the head names are not there.
    lacks_settings: bool,
    /// Pages of what is revoked that the head names are not there.
    lacks_pages: bool,
    pub(crate) heard_ms: u64,
}

/// The head and its version for a compare-and-swap.
pub(crate) fn head(engine: &mut Engine, world: &HostWorld) -> (Head, u32) {
    let Some((sealed, cas)) = host::get_shared(&world.slot(slot::HEAD)) else { return (Head::default(), 0) };
    (open(engine, slot::HEAD, &sealed).unwrap_or_default(), cas)
}

/// Publishes an answer of the control plane, if nobody else has published meanwhile; then this answer is void, and asked
/// for again from the place that holds now.
///
/// # Errors
/// [`Lost`]: what the answer adds to is not there, so everything has to be asked for anew.
pub(crate) fn publish(
    engine: &mut Engine,
    world: &HostWorld,
    by: u64,
    answer: SyncAnswer,
    now: Now,
) -> Result<(), Lost> {
    let (mut head, cas) = head(engine, world);
    let is_news = answer.reset
        || answer.settings.is_some()
        || !answer.changes.is_empty()
        || head.cursor.as_ref() != Some(&answer.cursor);
    head.heard_ms = now.0;
    // Before the head: whoever reads a head finds in the pages whatever was revoked up to it. That they may hold more,
    // if this publication turns out to be void, harms nobody.
    if !pages::write(engine, world, &mut head.revoked, &answer, now)? {
        return Ok(());
    }
    if is_news {
        let mark = Mark { version: head.last.version.wrapping_add(1), by };
        if let Some(settings) = answer.settings {
            head.settings = mark;
            put(engine, world, slot::SETTINGS, &PublishedSettings { mark, settings });
        }
        let news = News {
            mark,
            follows: core::mem::replace(&mut head.last, mark),
            before: head.cursor.take(),
            cursor: answer.cursor.clone(),
            reset: answer.reset,
            changes: answer.changes,
        };
        put(engine, world, &slot::log(mark.version), &news);
        head.cursor = Some(answer.cursor);
    }
    let plain = serde_json::to_vec(&head).unwrap_or_default();
    if let Some(sealed) = engine.sealer().seal(slot::HEAD, &plain) {
        // Whoever has published in between has this answer's news as well: its poll began at the same place.
        let _ = host::set_shared(&world.slot(slot::HEAD), &sealed, cas);
    }
    Ok(())
}

impl Follower {
    /// What the head names is not there: everything has to be asked for anew.
    pub(crate) fn is_broken(&self) -> bool {
        self.lacks_settings || self.lacks_pages
    }

    /// Takes in everything that was published since the last time. Returns whether new settings came in force.
    pub(crate) fn catch_up(&mut self, engine: &mut Engine, world: &HostWorld, now: Now) -> bool {
        let (head, _) = head(engine, world);
        let Some(cursor) = head.cursor else { return false };
        engine.heard(Now(head.heard_ms));
        self.heard_ms = head.heard_ms;
        if self.last == Some(head.last) {
            return false;
        }
        if self.news(engine, world, head.last, &cursor, now) {
            self.lacks_pages = !pages::read(engine, world, head.revoked, now);
        }
        self.last = Some(head.last);
        self.settings != head.settings && self.settings(engine, world, head.settings)
    }

    /// Applies the changes up to `last`, oldest first: follows the chain back to what this VM has seen. Returns whether
    /// something may have been revoked that these changes do not tell.
    fn news(&self, engine: &mut Engine, world: &HostWorld, last: Mark, cursor: &Cursor, now: Now) -> bool {
        let (mut found, mut wanted): (Vec<News>, _) = (Vec::new(), last);
        for _ in 0..slot::LOG_SLOTS {
            if Some(wanted) == self.last {
                break;
            }
            match log(engine, world, wanted) {
                Some(news) => {
                    wanted = news.follows;
                    found.push(news);
                }
                None => break,
            }
        }
        match (self.last, found.last()) {
            (Some(mine), _) if wanted == mine => {}
            // A VM that starts: what it may find in shared memory is judged from the oldest change it can see.
            (None, Some(oldest)) => engine.start_at(oldest.before.as_ref().unwrap_or(&oldest.cursor)),
            _ => {
                engine.forget(cursor, now);
                return true;
            }
        }
        for news in found.iter().rev() {
            if news.reset {
                engine.lost(&news.cursor, now);
            }
            engine.changed(&news.changes, &news.cursor, now);
        }
        self.last.is_none() || found.iter().any(|news| news.reset)
    }

    fn settings(&mut self, engine: &mut Engine, world: &HostWorld, wanted: Mark) -> bool {
        let sealed = host::get_shared(&world.slot(slot::SETTINGS));
        let published: Option<PublishedSettings> = sealed.and_then(|(sealed, _)| open(engine, slot::SETTINGS, &sealed));
        let Some(published) = published.filter(|published| published.mark == wanted) else {
            host::log(LogLevel::Warn, "tollgate: the shared settings are not those announced; they are asked for anew");
            self.lacks_settings = true;
            return false;
        };
        self.lacks_settings = false;
        self.settings = wanted;
        match Compiled::compile(&published.settings) {
            Ok((compiled, faults)) => {
                for fault in faults {
                    host::log(LogLevel::Warn, &format!("tollgate: a key is left out: {fault}"));
                }
                engine.use_settings(compiled);
                true
            }
            Err(fault) => {
                host::log(LogLevel::Error, &format!("tollgate: {fault}; the last settings stay in force"));
                false
            }
        }
    }
}

fn log(engine: &mut Engine, world: &HostWorld, mark: Mark) -> Option<News> {
    let slot = slot::log(mark.version);
    let (sealed, _) = host::get_shared(&world.slot(&slot))?;
    open::<News>(engine, &slot, &sealed).filter(|news| news.mark == mark)
}

fn open<T: for<'de> Deserialize<'de>>(engine: &mut Engine, slot: &str, sealed: &[u8]) -> Option<T> {
    serde_json::from_slice(&engine.sealer().open(slot, sealed)?).ok()
}

fn put(engine: &mut Engine, world: &HostWorld, slot: &str, value: &impl Serialize) {
    let plain = serde_json::to_vec(value).unwrap_or_default();
    if let Some(sealed) = engine.sealer().seal(slot, &plain)
        && !host::set_shared(&world.slot(slot), &sealed, 0)
    {
        host::log(LogLevel::Error, "tollgate: the host refused to share data");
    }
}
