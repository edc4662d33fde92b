//! A decision to what the host has to do: header changes for a permit, a complete answer for a refusal.
//! Nothing here decides, and nothing here sees a credential.

mod assertion;
mod encode;
mod plan;
mod reply;

pub use plan::HeaderPlan;
pub use reply::Reply;

/// Names (below `wasm.` in Envoy's filter state) and values of what is known about a request.
pub type Facts = Vec<(&'static str, Vec<u8>)>;

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
