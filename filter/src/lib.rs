//! The proxy-wasm shell around `tollgate_core`: it reads, waits, calls and answers for a decision that is made there.
//!
//! The shell owns no rule. Host calls stand in `host` alone, callbacks in `callbacks` alone. Nothing here may
//! panic: a trap takes the whole worker's VM down, for every request on it.

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

mod answers;
mod callbacks;
mod crypto;
mod host;
mod metering;
mod metrics;
mod plugin;
mod share;
mod sync;
mod vm;
mod waiting;
mod world;
