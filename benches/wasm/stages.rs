//! The scenes of `tollgate_benches::scenes` inside wasm, under Node, whose engine is the one in Envoy (V8). Says a line for
//! each of them, which `scripts/bench` keeps for the table. It must not know what a scene does.
#![cfg(all(test, target_arch = "wasm32"))]

use tollgate_benches::scenes::{self, Scene};
use tollgate_core::verify::Alg;
use tollgate_protocol::issuer::Jwk;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

#[allow(dead_code)]
#[path = "../../filter/core/tests/checks/forge.rs"]
mod forge;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the start, with fractions.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// How long each scene runs before it is measured, in milliseconds: V8 compiles what runs often once more, and better.
const WARM_UP: f64 = 150.0;
/// About how long one sample takes, in milliseconds.
const SAMPLE: f64 = 10.0;
const SAMPLES: usize = 15;

fn sign(alg: Alg, header: &str, claims: &[u8]) -> Vec<u8> {
    forge::Signer::new(alg).token(header, claims)
}

fn jwk(alg: Alg) -> Jwk {
    forge::Signer::new(alg).jwk(Some("k"))
}

#[wasm_bindgen_test]
fn stages() {
    scenes::all(sign, jwk).into_iter().for_each(tell);
}

/// Only what the fall-back was at first; it was built in another way.
#[wasm_bindgen_test]
fn at_first() {
    tell(scenes::fall_back_at_first(sign, &jwk(Alg::Rs256)));
}

fn tell(mut scene: Scene) {
    let mut samples = measure(&mut scene);
    samples.sort_by(f64::total_cmp);
    let (low, median, high) = (samples[0], samples[SAMPLES / 2], samples[SAMPLES - 1]);
    console_log!("in wasm\t{}\t{}\t{median}\t{low}\t{high}", scene.group, scene.name);
}

/// Microseconds for each call, of each sample.
fn measure(scene: &mut Scene) -> Vec<f64> {
    let mut calls = 0_u32;
    let begin = now();
    while now() - begin < WARM_UP {
        (scene.run)();
        calls += 1;
    }
    // Faster now than on the way here, so a sample is not longer than wanted.
    let calls = (f64::from(calls) * SAMPLE / WARM_UP).max(1.0);
    let sample = |_| {
        let begin = now();
        for _ in 0..calls as u32 {
            (scene.run)();
        }
        (now() - begin) * 1e3 / calls.trunc()
    };
    (0..SAMPLES).map(sample).collect()
}
