//! HTTP: two routers, their bounds, and what they answer. Handlers parse, call a service and render; nothing here names a
//! database driver or holds a rule about users and keys.

mod admin;
mod answer;
pub mod api;
mod credits;
mod dto;
mod dto_sign_in;
pub mod edge;
pub mod error;
mod extract;
mod members;
mod observe;
pub mod openapi;
mod origin;
mod params;
mod policy;
mod ready;
mod refusals;
mod revocations;
pub mod server;
mod sign_in;
pub mod tls;
mod webhooks;

use std::sync::Arc;

pub use ready::Readiness;

use crate::{
    app::App,
    assertion::{Assertions, Caller},
    cache::SharedCache,
    config::Secret,
    domain::Actor,
    feed::Feed,
    metrics::Metrics,
    service::{
        board::Board, identities::Identities, key_sets::KeySets, policies::Policies, refusals::Refusals, seen::Seen,
        shared_limits::SharedLimits, sign_in::SignIn, webhooks::Webhooks,
    },
};

/// What the handlers of both listeners share.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Parts>);

/// The parts of [`Shared`].
#[derive(Debug)]
pub struct Parts {
    /// Store and clock.
    pub app: App,
    /// The Redis that replicas share, where there is one.
    pub cache: Option<SharedCache>,
    /// How the parts have been.
    pub readiness: Readiness,
    /// Who credentials belong to.
    pub identities: Identities,
    /// Settings for edges.
    pub board: Board,
    /// Rules for routes.
    pub policies: Policies,
    /// Why requests were refused.
    pub refusals: Refusals,
    /// Key sets of issuers.
    pub key_sets: KeySets,
    /// Buckets of limits over all Envoys.
    pub shared_limits: SharedLimits,
    /// Long polls.
    pub feed: Feed,
    /// The key pair of assertions.
    pub assertions: Assertions,
    /// The secret of edges.
    pub edge_secret: Secret,
    /// Whether clients have to show a certificate.
    pub client_certificates: bool,
    /// The older sign-in, where there is one.
    pub sign_in: Option<SignIn>,
    /// Instances of Clerk that send events.
    pub webhooks: Webhooks,
    /// Notes when users were there.
    pub seen: Seen,
    /// Counters.
    pub metrics: Metrics,
}

impl Shared {
    /// Takes the parts over.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Shared {
    /// What a caller does is done in the caller's name.
    fn acting(&self, caller: &Caller) -> App {
        self.app.acting(Actor::User(caller.user_id().clone()), caller.request_id())
    }
}

impl core::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
