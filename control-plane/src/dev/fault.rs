//! What can go wrong in development mode, said so that the reader knows what to do. It must not know a step's details.

use std::{io, path::Path};

use super::mint::MintFault;

/// Why `tollgate dev` stopped or could not start.
#[derive(Debug, thiserror::Error)]
pub enum DevFault {
    /// A port is in use.
    #[error("port {port} ({what}) is taken; use {option} or stop the other program")]
    PortTaken {
        /// The port.
        port: u16,
        /// What it is for.
        what: &'static str,
        /// The option that chooses another one.
        option: &'static str,
    },
    /// A port cannot be used for another reason.
    #[error("port {port} ({what}) cannot be used: {source}")]
    Port {
        /// The port.
        port: u16,
        /// What it is for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file or folder.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A credential could not be made.
    #[error(transparent)]
    Mint(#[from] MintFault),
    /// Envoy's configuration template and the values for it do not fit together.
    #[error("Envoy's configuration: {0}")]
    Template(String),
    /// Envoy did not start, or ended.
    #[error("{what}\nThe last lines of {log}:\n{tail}")]
    Envoy {
        /// What happened.
        what: String,
        /// Its log file.
        log: String,
        /// The end of it.
        tail: String,
    },
    /// Anything that one sentence says best.
    #[error("{0}")]
    Other(String),
}

impl DevFault {
    /// A fault of a file.
    pub fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { what, path: path.display().to_string(), source }
    }
}
