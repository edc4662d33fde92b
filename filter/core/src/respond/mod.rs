//! A decision to what the host has to do: header changes for a permit, a complete answer for a refusal.
//! Nothing here decides, and nothing here sees a credential.

mod assertion;
mod encode;
mod lines;
mod plan;
mod reply;

pub use lines::{Kept, Prepared};
pub use plan::HeaderPlan;
pub use reply::{Replies, Reply};

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, changed so.
    Forward(HeaderPlan),
    /// It is answered here.
    Refuse(Reply),
}

#[cfg(test)]
mod tests;
