//! Tollgate's decision on one request, pure.
//!
//! ```text
//! RequestView -> Credential -> VerifiedClaims -> Identity -> Permit | Refusal -> HeaderPlan | Reply
//! request/       extract/      verify/           engine/     decide/             respond/
//! ```
//!
//! Each stage sees only what the stage before it made. This crate knows no host, clock, randomness or network: time
//! and answers come in as arguments, and waiting is data ([`engine::Step`]). Nothing here can panic on data.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![warn(missing_docs)]

pub mod cache;
pub mod credits;
pub mod decide;
pub mod engine;
pub mod extract;
pub mod limits;
pub mod policy;
pub mod refusals;
pub mod request;
pub mod respond;
pub mod settings;
pub mod struct_value;
pub mod verify;

/// Decodes base64url without padding (RFC 7515 section 2); `None` for anything else.
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
