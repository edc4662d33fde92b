//! Why a use case did not come to its end. It must not know a status code.

use crate::{random::NoRandomness, store::StoreError};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such thing, or it belongs to someone else.
    #[error("not found")]
    NotFound,
    /// What was given cannot be used: every fault.
    #[error("invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<InputFault>),
    /// There are too many already.
    #[error("limit reached: {0}")]
    LimitReached(&'static str),
    /// It was meant for another state of the record than the one there is.
    #[error("it has changed meanwhile")]
    Changed,
    /// Nobody would be left who can act as an administrator.
    #[error("the last administrator cannot be removed")]
    LastAdmin,
    /// It contradicts what is there.
    #[error("conflict: {0}")]
    Conflict(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// One fault of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InputFault {
    /// Which member.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: &'static str,
}
