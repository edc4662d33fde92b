//! Public test vectors against the signature layer, natively. `filter/core/tests/wasm.rs` runs the same ones in wasm.

#[path = "vectors/jose.rs"]
mod jose;
#[path = "vectors/mod.rs"]
mod vectors;

#[test]
fn rsa_pkcs1() {
    vectors::rsa_pkcs1();
}

#[test]
fn rsa_pss() {
    vectors::rsa_pss();
}

#[test]
fn ecdsa() {
    vectors::ecdsa();
}

#[test]
fn ed25519() {
    vectors::ed25519();
}

#[test]
fn examples_of_the_rfcs() {
    vectors::rfcs();
}

#[test]
fn jose_sets() {
    jose::sets();
}
