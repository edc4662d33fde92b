//! Which VM of this Envoy speaks with the control plane, and when. One leads: it holds a lease in the shared data and
//! keeps the one long poll. A lease that is not renewed passes on within a second. It must not know what news means.

use tollgate_core::{
    cache::slot,
    engine::{Engine, Now},
};
use tollgate_protocol::{Cursor, config::ControlPlane, edge};

use crate::{
    host::{self, LogLevel},
    share,
    world::HostWorld,
};

/// How long a lease holds without renewal, in milliseconds.
const LEASE_MS: u64 = 1_000;
/// A lease is renewed when less than this is left of it, in milliseconds.
const RENEW_MS: u64 = 600;
/// Bound on the whole poll: the control plane holds it for 25 s at most.
const POLL_TIMEOUT_MS: u32 = 40_000;
/// Pauses after failed polls, in milliseconds: the last one is kept.
const PAUSES_MS: [u64; 4] = [100, 200, 400, 800];

/// This VM's part in the leadership.
#[derive(Debug)]
pub(crate) struct Sync {
    me: u64,
    node: String,
    leads_until: u64,
    call: Option<u32>,
    next_poll: u64,
    failures: usize,
    /// An answer could not be published: the next poll asks for everything.
    anew: bool,
}

impl Sync {
    /// `me` is drawn at random: nothing else tells one VM from another.
    pub(crate) fn new(me: u64) -> Self {
        Self { me, node: format!("{me:016x}"), leads_until: 0, call: None, next_poll: 0, failures: 0, anew: false }
    }

    /// Renews or takes the lease, and polls when it is time. Returns whether this VM leads.
    /// `anew`: what was published cannot be followed, so the next poll asks for everything.
    pub(crate) fn tick(
        &mut self,
        engine: &mut Engine,
        world: &HostWorld,
        control: &ControlPlane,
        anew: bool,
        now: Now,
    ) -> bool {
        if self.leads_until.saturating_sub(now.0) < RENEW_MS {
            self.take_lease(engine, world, now);
        }
        let leads = self.leads(now);
        if leads && self.call.is_none() && self.next_poll <= now.0 {
            self.poll(engine, world, control, anew, now);
        }
        leads
    }

    /// Whether this VM leads.
    pub(crate) fn leads(&self, now: Now) -> bool {
        now.0 < self.leads_until
    }

    fn take_lease(&mut self, engine: &mut Engine, world: &HostWorld, now: Now) {
        let name = world.slot(slot::LEASE);
        let Some((sealed, cas)) = host::get_shared(&name) else {
            // The host ignores the version of a key that does not exist yet, so it is made first, held by nobody,
            // and taken at the next tick.
            if let Some(vacant) = engine.sealer().seal(slot::LEASE, &lease(0, 0)) {
                let _ = host::set_shared(&name, &vacant, 0);
            }
            return;
        };
        let (holder, until) =
            engine.sealer().open(slot::LEASE, &sealed).and_then(|plain| read(&plain)).unwrap_or((0, 0));
        let is_free = until <= now.0 || until > now.0.saturating_add(LEASE_MS);
        if holder != self.me && !is_free {
            self.leads_until = 0;
            return;
        }
        let until = now.0.saturating_add(LEASE_MS);
        let taken = engine.sealer().seal(slot::LEASE, &lease(self.me, until));
        let taken = taken.is_some_and(|taken| host::set_shared(&name, &taken, cas));
        self.leads_until = if taken { until } else { 0 };
    }

    fn poll(&mut self, engine: &mut Engine, world: &HostWorld, control: &ControlPlane, anew: bool, now: Now) {
        let (head, _) = share::head(engine, world);
        let path = path(head.cursor.as_ref().filter(|_| !anew && !self.anew), &self.node);
        self.call = call(control, "GET", &path, &[], POLL_TIMEOUT_MS);
        if self.call.is_none() {
            self.failed("Envoy does not know its cluster, or no host of it", now);
        }
    }

    /// Whether an answer is this VM's poll. It is not waited for any longer.
    pub(crate) fn is_poll(&mut self, token: u32) -> bool {
        let mine = self.call == Some(token);
        if mine {
            self.call = None;
        }
        mine
    }

    /// The poll has failed: the next one waits, longer each time. A little of the wait is this VM's own, so that many
    /// Envoys that lost the same control plane do not come back at one moment.
    pub(crate) fn failed(&mut self, why: &str, now: Now) {
        if self.failures == 0 {
            host::log(LogLevel::Warn, &format!("tollgate: no news from the control plane: {why}; trying again"));
        }
        let pause = PAUSES_MS.get(self.failures).or(PAUSES_MS.last()).copied().unwrap_or_default();
        let own = (self.me ^ now.0).checked_rem(100).unwrap_or_default();
        self.next_poll = now.0.saturating_add(pause).saturating_add(own);
        self.failures = self.failures.saturating_add(1);
    }

    /// Publishes an answer, if this VM still leads, and polls again at the next tick.
    pub(crate) fn answered(&mut self, engine: &mut Engine, world: &HostWorld, answer: edge::SyncAnswer, now: Now) {
        if core::mem::take(&mut self.failures) > 0 {
            host::log(LogLevel::Info, "tollgate: the control plane answers again");
        }
        self.next_poll = now.0;
        if self.leads(now) {
            self.anew = share::publish(engine, world, self.me, answer, now).is_err();
        }
    }
}

/// Calls the control plane; `None` when the host refuses at once.
pub(crate) fn call(control: &ControlPlane, method: &str, path: &str, body: &[u8], timeout_ms: u32) -> Option<u32> {
    let secret = format!("Bearer {}", control.edge_secret);
    let headers: [(&str, &[u8]); 5] = [
        (":method", method.as_bytes()),
        (":path", path.as_bytes()),
        (":authority", control.authority.as_bytes()),
        ("authorization", secret.as_bytes()),
        ("content-type", b"application/json"),
    ];
    host::http_call(&control.cluster, &headers, body, timeout_ms)
}

fn path(cursor: Option<&Cursor>, node: &str) -> String {
    match cursor {
        Some(cursor) => format!("{}?cursor={cursor}&node={node}", edge::SYNC_PATH),
        None => format!("{}?node={node}", edge::SYNC_PATH),
    }
}

fn lease(holder: u64, until: u64) -> Vec<u8> {
    [holder.to_le_bytes(), until.to_le_bytes()].concat()
}

fn read(plain: &[u8]) -> Option<(u64, u64)> {
    let (holder, rest) = plain.split_first_chunk::<8>()?;
    let (until, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*holder), u64::from_le_bytes(*until)))
}
