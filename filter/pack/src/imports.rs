//! What the finished module asks of the host.

use walrus::Module;

use crate::abi;
use crate::error::PackError;

/// The functions that the module imports, sorted; an error for the first that Envoy does not offer.
pub(crate) fn checked(module: &Module) -> Result<Vec<String>, PackError> {
    let mut names = Vec::new();
    for import in module.imports.iter() {
        let is_function = matches!(import.kind, walrus::ImportKind::Function(_));
        if !is_function || !abi::is_host_function(&import.module, &import.name) {
            return Err(PackError::ForbiddenImport { module: import.module.clone(), name: import.name.clone() });
        }
        names.push(import.name.clone());
    }
    names.sort();
    Ok(names)
}
