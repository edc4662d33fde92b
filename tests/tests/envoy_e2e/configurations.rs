//! Every configuration of Envoy that is shipped, read by the real Envoy.

use std::{path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;
use tollgate::dev::{CertsArgs, certs};
use tollgate_tests::envoy;

/// Asks Envoy whether it would start with this configuration.
pub(crate) async fn valid(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    let output = Command::new(envoy::program())
        .args(["--mode", "validate", "--use-dynamic-base-id", "--log-level", "error", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[tokio::test]
async fn every_shipped_configuration_is_one() {
    let temp = TempDir::new().unwrap();
    let made = temp.path().join("certs");
    let names = vec!["localhost".to_owned()];
    certs::make(&CertsArgs { out: made.clone(), names, days: 1, force: false }).unwrap();
    let mut seen = Vec::new();
    for folder in std::fs::read_dir(envoy::root().join("envoy")).unwrap() {
        let folder = folder.unwrap();
        let Ok(text) = std::fs::read_to_string(folder.path().join("envoy.yaml")) else { continue };
        let name = folder.file_name().into_string().unwrap();
        let wasm = envoy::wasm();
        let text = text
            .replace("filename: dist/tollgate.wasm", &format!("filename: {}", wasm.display()))
            .replace("filename: /etc/tollgate/tollgate.wasm", &format!("filename: {}", wasm.display()))
            .replace("filename: certs/", &format!("filename: {}/", made.display()));
        let fault = valid(temp.path(), &format!("{name}.yaml"), &text).await.err();
        assert_eq!(fault, None, "envoy/{name}/envoy.yaml");
        seen.push(name);
    }
    assert!(["docker-compose", "local", "tls"].iter().all(|name| seen.iter().any(|seen| seen == name)), "{seen:?}");
    // Envoy would have said so.
    let wrong = "static_resources: {clusters: [{name: a, type: STATIC, conect_timeout: 1s}]}";
    assert!(valid(temp.path(), "wrong.yaml", wrong).await.unwrap_err().contains("conect_timeout"));
}
