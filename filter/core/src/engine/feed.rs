//! How news from the control plane changes what the engine remembers. It must not know how news travels.

use std::rc::Rc;

use tollgate_protocol::{Cursor, Revoked, edge::Change};

use super::{Engine, Now};
use crate::{
    cache::{RevokedSet, Sealer},
    settings::Compiled,
};

impl Engine {
    /// Puts new settings in force, for every request from now on.
    pub fn use_settings(&mut self, settings: Compiled) {
        self.settings = Some(Rc::new(settings));
    }

    /// The control plane was heard at this moment: what it has not taken back holds.
    pub fn heard(&mut self, at: Now) {
        self.heard = self.heard.max(at);
    }

    /// Users and keys have changed, up to this place of the feed; nothing before it was missed.
    pub fn changed(&mut self, changes: &[Change], cursor: &Cursor, now: Now) {
        self.people.follow(cursor);
        for change in changes {
            match change {
                Change::User { id, seq } => {
                    self.people.user_changed(id, *seq);
                    self.wallet.changed(id);
                }
                Change::Recall { id, .. } => self.wallet.recalled(id, now.0),
                Change::Key { hash, seq, refused } => self.people.key_changed(hash, *seq, *refused, now),
                // Which tokens a kind of a newer control plane concerns cannot be known; who holds them is asked anew.
                Change::Revoked { revocation, .. } if revocation.what == Revoked::Unknown => {
                    self.people.lost(cursor, now);
                }
                Change::Revoked { revocation, .. } => self.revoked.add(revocation, now.seconds()),
                Change::Unknown => self.people.lost(cursor, now),
            }
        }
    }

    /// The feed goes on at this place, and changes before it may be missing: what is cached is stale.
    pub fn lost(&mut self, cursor: &Cursor, now: Now) {
        self.wallet.all_changed();
        self.people.lost(cursor, now);
    }

    /// This VM starts to follow the feed at this place.
    pub fn start_at(&mut self, cursor: &Cursor) {
        self.people.start_at(cursor);
    }

    /// Changes were missed that cannot be had again from this Envoy: everybody has to be asked for anew.
    pub fn forget(&mut self, cursor: &Cursor, now: Now) {
        self.people.clear();
        self.lost(cursor, now);
    }

    /// What is revoked, to be filled from what the workers share.
    pub fn revoked(&mut self) -> &mut RevokedSet {
        &mut self.revoked
    }

    /// Keyed hashing for maps of this VM, so that nobody can choose entries that collide.
    pub fn hasher(&self) -> ahash::RandomState {
        self.hasher.clone()
    }

    /// What seals and opens the values that the workers share.
    pub fn sealer(&mut self) -> &mut Sealer {
        &mut self.sealer
    }
}
