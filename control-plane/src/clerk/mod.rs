//! What Clerk (and the older sign-in) publish and send: publishable keys, key sets, PEM keys, users, webhooks. Parsing is
//! pure; only `fetch` and `backend` touch the network. Nothing here knows a store or a listener.

pub mod backend;
pub mod event;
pub mod fetch;
pub mod jwks;
pub mod public_key;
pub mod publishable_key;
pub mod svix;
pub mod url;
pub mod user;
