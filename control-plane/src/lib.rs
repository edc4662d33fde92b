//! Tollgate's control plane: `http` parses and renders, `service` holds the use cases, `store` keeps. Each knows only
//! what stands to the right of it. [`serve::start`] puts a server together; [`app::App`] is enough for commands.

pub mod app;
pub mod assertion;
pub mod cache;
pub mod clerk;
pub mod cli;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod dev;
pub mod domain;
pub mod feed;
pub mod http;
pub mod metrics;
pub mod random;
pub mod serve;
pub mod service;
pub mod store;
pub mod telemetry;
