//! Each stage of a decision alone, and whole requests, natively: where the time goes inside the core. What Envoy adds
//! around it is not in these figures. `benches/wasm` measures the same inside wasm.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tollgate_benches::scenes;
use tollgate_core::verify::Alg;

#[allow(dead_code)]
#[path = "../../filter/core/tests/checks/forge.rs"]
mod forge;

fn measure(c: &mut Criterion) {
    let sign = |alg: Alg, header: &str, claims: &[u8]| forge::Signer::new(alg).token(header, claims);
    for mut scene in scenes::all(sign, |alg| forge::Signer::new(alg).jwk(Some("k"))) {
        let mut group = c.benchmark_group(scene.group);
        group.throughput(Throughput::Elements(1));
        group.bench_function(&scene.name, |b| b.iter(&mut scene.run));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .sample_size(30);
    targets = measure
}
criterion_main!(benches);
