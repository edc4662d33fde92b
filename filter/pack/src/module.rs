//! From bytes to bytes: parse, narrow the exports, collect what nothing uses, check, emit.

use walrus::ModuleConfig;

use crate::error::PackError;
use crate::{exports, imports};

/// Envoy compiles about 2 kB a millisecond on its main thread, and does so at every change of the module.
pub(crate) const LIMIT: usize = 1_000_000;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Keeps the `name` section, so that a trap in Envoy's log shows functions by name.
    pub(crate) keep_names: bool,
}

#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
}

pub(crate) fn pack(bytes: &[u8], options: Options) -> Result<Packed, PackError> {
    let mut module = ModuleConfig::new()
        .generate_name_section(options.keep_names)
        .generate_producers_section(false)
        .parse(bytes)
        .map_err(|error| PackError::Parse(format!("{error:#}")))?;
    exports::narrow(&mut module)?;
    walrus::passes::gc::run(&mut module);
    let customs: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for id in customs {
        module.customs.delete(id);
    }
    let imports = imports::checked(&module)?;
    let exports = exports::names(&module);
    let bytes = module.emit_wasm();
    // With names it is for looking into, not for shipping.
    if bytes.len() > LIMIT && !options.keep_names {
        return Err(PackError::TooLarge { size: bytes.len(), limit: LIMIT });
    }
    Ok(Packed { bytes, exports, imports })
}

#[cfg(test)]
mod tests;
