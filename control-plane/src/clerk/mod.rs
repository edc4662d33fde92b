//! What Clerk (and the older sign-in) publish: publishable keys, key sets, PEM keys. Parsing is pure; only `fetch`
//! touches the network. Nothing here knows a user, a store or a listener.

pub mod fetch;
pub mod jwks;
pub mod public_key;
pub mod publishable_key;
pub mod url;
