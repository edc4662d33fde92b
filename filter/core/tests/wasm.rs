//! The checks of `verify.rs` and the public vectors, run inside wasm under Node: the code that decides in Envoy.
#![cfg(target_arch = "wasm32")]

mod checks;
#[path = "../../../tests/tests/vectors/mod.rs"]
mod vectors;

checks::every_check!(wasm_bindgen_test::wasm_bindgen_test);

#[wasm_bindgen_test::wasm_bindgen_test]
fn vectors_rsa_pkcs1() {
    vectors::rsa_pkcs1();
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn vectors_rsa_pss() {
    vectors::rsa_pss();
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn vectors_ecdsa() {
    vectors::ecdsa();
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn vectors_ed25519() {
    vectors::ed25519();
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn vectors_of_the_rfcs() {
    vectors::rfcs();
}
