//! Small modules in text form, each with one thing to see.

use walrus::Module;

use super::{LIMIT, Options, Packed, pack};
use crate::error::PackError;

/// What every loadable module has; `rest` comes after it.
fn module(imports: &str, rest: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) local.get 0)
            {rest})"#
    );
    wat::parse_str(text).expect("the test's own text")
}

fn packed(imports: &str, rest: &str) -> Result<Packed, PackError> {
    pack(&module(imports, rest), Options::default())
}

const TICK: &str = r#"(func (export "tollgate_on_tick") (param i32))"#;

#[test]
fn renames_the_filters_callback_over_the_sdks() {
    let ours = r#"
        (func (export "proxy_on_tick") (param i32) (call $proxy_panic))
        (func (export "tollgate_on_tick") (param i32) (call $proxy_log))
        (func (export "proxy_on_log") (param i32) (call $proxy_panic))"#;
    let hosts = r#"(func $proxy_log (import "env" "proxy_log")) (func $proxy_panic (import "env" "proxy_panic"))"#;
    let packed = packed(hosts, ours).expect("packs");
    assert_eq!(packed.exports, ["malloc", "memory", "proxy_abi_version_0_2_1", "proxy_on_tick"]);
    // The SDK's tick called the other import: its going shows whose function the name has now.
    assert_eq!(packed.imports, ["proxy_log"]);
}

#[test]
fn drops_what_only_the_sdk_used() {
    let sdk = r#"
        (func $dispatcher (param i32) (call $fd_write))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $dispatcher (local.get 0)) (i32.const 0))
        (global (export "__heap_base") i32 (i32.const 65536))"#;
    let hosts = r#"(func $fd_write (import "wasi_snapshot_preview1" "fd_write"))"#;
    let packed = packed(hosts, &format!("{sdk}{TICK}")).expect("packs");
    let module = Module::from_buffer(&packed.bytes).expect("emits a module");
    assert_eq!(module.funcs.iter().count(), 3);
    assert_eq!(module.imports.iter().count(), 0);
    assert_eq!(module.globals.iter().count(), 0);
}

#[test]
fn keeps_initialize_and_both_allocators() {
    let rest = r#"
        (func (export "_initialize"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) local.get 0)"#;
    let packed = packed("", &format!("{rest}{TICK}")).expect("packs");
    assert!(packed.exports.contains(&"_initialize".to_owned()));
    assert!(packed.exports.contains(&"proxy_on_memory_allocate".to_owned()));
}

#[test]
fn removes_custom_sections() {
    let rest = r#"(@custom "producers" "\00") (@custom "linking" "secret path")
        (func $kept_name (export "tollgate_on_tick") (param i32))"#;
    let bytes = module("", rest);
    assert!(contains(&bytes, b"secret path"));
    let bare = pack(&bytes, Options::default()).expect("packs");
    for section in [b"producers".as_slice(), b"linking", b"kept_name"] {
        assert!(!contains(&bare.bytes, section));
    }
    let named = pack(&bytes, Options { keep_names: true }).expect("packs");
    assert!(contains(&named.bytes, b"kept_name"));
    assert!(!contains(&named.bytes, b"secret path"));
}

#[test]
fn names_an_import_that_envoy_does_not_offer() {
    let hosts = r#"(func $now (import "env" "gettimeofday"))"#;
    let rest = r#"(func (export "tollgate_on_tick") (param i32) (call $now))"#;
    let error = packed(hosts, rest).expect_err("no such host function");
    assert!(error.to_string().contains("env.gettimeofday"), "{error}");
}

#[test]
fn refuses_an_imported_memory() {
    let rest = r#"(func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.load (local.get 0)))"#;
    let text =
        format!(r#"(module (memory (import "env" "proxy_memory") 1) (export "memory" (memory 0)) {rest}{TICK})"#);
    let error = pack(&wat::parse_str(text).expect("the test's own text"), Options::default()).expect_err("imported");
    assert!(matches!(error, PackError::ForbiddenImport { .. }), "{error}");
}

#[test]
fn refuses_a_callback_of_the_wrong_shape() {
    let error = packed("", r#"(func (export "tollgate_on_tick") (param i64))"#).expect_err("i64");
    assert_eq!(error.to_string(), "export tollgate_on_tick: proxy-wasm wants (i32) -> (), the module has (i64) -> ()");
}

#[test]
fn refuses_a_callback_that_the_host_would_never_call() {
    let error = packed("", r#"(func (export "tollgate_on_request_header") (param i32))"#).expect_err("misspelt");
    assert!(matches!(error, PackError::UnknownCallback(name) if name == "tollgate_on_request_header"));
}

#[test]
fn refuses_a_module_that_cannot_be_loaded() {
    let text = format!(r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")) {TICK})"#);
    let error = pack(&wat::parse_str(text).expect("the test's own text"), Options::default());
    assert!(matches!(error, Err(PackError::MissingExport("malloc"))));
    assert!(matches!(packed("", ""), Err(PackError::NoCallbacks)));
    assert!(matches!(pack(b"not wasm", Options::default()), Err(PackError::Parse(_))));
}

#[test]
fn refuses_a_module_over_the_limit() {
    let data = "x".repeat(LIMIT);
    let error = packed("", &format!(r#"(data (i32.const 0) "{data}") {TICK}"#)).expect_err("too large");
    assert!(matches!(error, PackError::TooLarge { limit: LIMIT, .. }));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
