//! Why a module was not packed. Each text says what to change.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum PackError {
    #[error("{0}")]
    Usage(&'static str),
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("not a WebAssembly module: {0}")]
    Parse(String),
    #[error("export {0}: proxy-wasm has no such callback for an HTTP filter")]
    UnknownCallback(String),
    #[error("export {export}: proxy-wasm wants {wanted}, the module has {found}")]
    Signature { export: String, wanted: String, found: String },
    #[error("the module exports no {0}, without which the host cannot load it")]
    MissingExport(&'static str),
    #[error("the module exports no tollgate_on_* callback; is this the filter?")]
    NoCallbacks,
    #[error("import {module}.{name}: Envoy offers no such function to a filter; find out which dependency asks for it")]
    ForbiddenImport { module: String, name: String },
    #[error("{size} bytes are over the limit of {limit}; Envoy compiles the whole module on its main thread")]
    TooLarge { size: usize, limit: usize },
}
