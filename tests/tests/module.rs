//! The finished `dist/tollgate.wasm`, from outside: its size, what it asks of the host, what it offers.

use std::path::PathBuf;

use wasmparser::{Parser, Payload};

/// The most that the module may weigh: Envoy compiles it whole on its main thread before it serves.
const MAX_BYTES: usize = 1_000_000;

fn module() -> Vec<u8> {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dist/tollgate.wasm");
    let path = std::env::var_os("TOLLGATE_WASM").map_or_else(built, PathBuf::from);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; run `make wasm`", path.display()))
}

#[test]
fn it_is_small() {
    let size = module().len();
    println!("tollgate.wasm: {size} bytes");
    assert!(size < MAX_BYTES, "{size} bytes");
}

#[test]
fn it_imports_host_functions_only() {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(&module()) {
        if let Payload::ImportSection(section) = payload.expect("a module") {
            for import in section.into_imports() {
                let import = import.expect("an import");
                imports.push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    assert!(imports.len() > 10, "{imports:?}");
    for import in &imports {
        let is_host = import.starts_with("env.proxy_") || import == "wasi_snapshot_preview1.random_get";
        assert!(is_host, "{import}");
    }
}

#[test]
fn it_exports_the_callbacks_it_uses_and_nothing_more() {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(&module()) {
        if let Payload::ExportSection(section) = payload.expect("a module") {
            exports.extend(section.into_iter().map(|export| export.expect("an export").name.to_owned()));
        }
    }
    exports.sort();
    let wanted = [
        "malloc",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_http_call_response",
        "proxy_on_request_headers",
        "proxy_on_response_headers",
        "proxy_on_tick",
    ];
    assert_eq!(exports, wanted);
}
