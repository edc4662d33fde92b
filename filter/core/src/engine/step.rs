//! Waiting as data: what the engine asks of the shell, and what the shell brings back. Nothing here acts.

use std::rc::Rc;

use tollgate_protocol::{Code, edge::ResolveRequest, limits::LimitsReport};

use super::{known::Known, subject::SubjectKey};
use crate::respond::Verdict;

/// A moment, in milliseconds of unix time. It comes from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

impl Now {
    /// Whole seconds.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// How far a request has come.
#[derive(Debug)]
pub enum Step {
    /// It is decided.
    Done(Verdict),
    /// It has to wait.
    Wait(Wait),
}

/// What a request waits for.
#[derive(Debug)]
pub struct Wait {
    /// Which news will help it.
    pub until: Until,
    /// A call to make now; absent when another request has made it already.
    pub call: Option<Call>,
}

/// Which news helps a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// The first settings.
    Settings,
    /// Newer keys of an issuer.
    Keys,
    /// The answer about this subject.
    Identity(SubjectKey),
    /// Tokens of this user: the next answer about leases, or the end of a request that has some set aside.
    Credits(Rc<str>),
}

/// A call to the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `resolve`; its answer goes to [`super::Engine::answered`].
    Resolve(SubjectKey, Box<ResolveRequest>),
    /// `refresh` of this issuer's keys; its answer does not matter, the keys come by `sync`.
    Refresh(String),
    /// `limits`; its answer goes to [`super::Engine::limits_answered`].
    Limits(LimitsReport),
}

/// Which turn of its decision a request takes.
#[derive(Debug, Clone, Copy)]
pub enum Turn<'a> {
    /// The first.
    First,
    /// Again, with news it has waited for.
    Again,
    /// Again, with the answer it has waited for.
    Answered(&'a Answered),
    /// Again, with news about tokens it has waited for. It was counted under its limits before it did.
    Paying,
    /// The last: waiting is over, it has to be decided with what is there.
    Last,
    /// The last, too: it has waited for tokens in vain. Who it is is known.
    Unpaid,
}

/// What the control plane said about a subject.
#[derive(Debug, Clone)]
pub struct Answered {
    pub(crate) subject: SubjectKey,
    pub(crate) result: Result<Rc<Known>, Code>,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Settled {
    /// The requests that wait for it can go on with this.
    Go(Answered),
    /// It was outdated before it arrived: ask again.
    Ask(Call),
}
