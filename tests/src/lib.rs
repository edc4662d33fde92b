//! The harness: real programs on ports and in folders of their own, a client that sends any bytes, and ways to read
//! what happened. It must not know what a test wants to show.

pub mod control_plane;
pub mod echo;
pub mod envoy;
pub mod http;
pub mod mongod;
pub mod ports;
pub mod redis;
pub mod stack;
pub mod svix;
pub mod tls;
pub mod wait;
