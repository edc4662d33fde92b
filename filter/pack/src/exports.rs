//! What the finished module exports: the filter's own callbacks under the host's names, and what loading needs.

use walrus::{ExportId, ExportItem, FunctionId, Module, ValType};

use crate::abi;
use crate::error::PackError;

/// Renames `tollgate_on_*` to `proxy_on_*` and drops every export that is not needed.
pub(crate) fn narrow(module: &mut Module) -> Result<(), PackError> {
    let exported: Vec<(ExportId, String, ExportItem)> =
        module.exports.iter().map(|export| (export.id(), export.name.clone(), export.item)).collect();
    let mut callbacks = 0;
    for (id, name, item) in exported {
        if let Some(event) = name.strip_prefix(abi::OURS) {
            check_signature(module, &name, event, item)?;
            module.exports.get_mut(id).name = format!("{}{event}", abi::THEIRS);
            callbacks += 1;
        } else if !is_kept(&name) {
            module.exports.delete(id);
        }
    }
    if callbacks == 0 {
        return Err(PackError::NoCallbacks);
    }
    check_loadable(module)
}

/// The names in the finished module, sorted.
pub(crate) fn names(module: &Module) -> Vec<String> {
    let mut names: Vec<String> = module.exports.iter().map(|export| export.name.clone()).collect();
    names.sort();
    names
}

fn is_kept(name: &str) -> bool {
    name == abi::MARKER || name == abi::MEMORY || name == abi::INITIALIZE || abi::ALLOCATORS.contains(&name)
}

fn check_loadable(module: &Module) -> Result<(), PackError> {
    let exports = |name: &str| module.exports.iter().any(|export| export.name == name);
    for needed in [abi::MARKER, abi::MEMORY] {
        if !exports(needed) {
            return Err(PackError::MissingExport(needed));
        }
    }
    if abi::ALLOCATORS.into_iter().any(exports) { Ok(()) } else { Err(PackError::MissingExport("malloc")) }
}

fn check_signature(module: &Module, name: &str, event: &str, item: ExportItem) -> Result<(), PackError> {
    let (Some(signature), ExportItem::Function(function)) = (abi::callback(event), item) else {
        return Err(PackError::UnknownCallback(name.to_owned()));
    };
    let (params, results) = types_of(module, function);
    if params == signature.params() && results == signature.results() {
        return Ok(());
    }
    Err(PackError::Signature {
        export: name.to_owned(),
        wanted: spell(&signature.params(), &signature.results()),
        found: spell(&params, &results),
    })
}

fn types_of(module: &Module, function: FunctionId) -> (Vec<ValType>, Vec<ValType>) {
    let kind = module.types.get(module.funcs.get(function).ty());
    (kind.params().to_vec(), kind.results().to_vec())
}

fn spell(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    format!("({}) -> ({})", list(params), list(results))
}
