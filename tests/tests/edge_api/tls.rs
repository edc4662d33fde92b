//! The control plane's listeners in TLS: who has to show a certificate, and for what, and how a new one is taken.

use std::path::Path;

use tempfile::TempDir;
use tollgate::{
    config::{Config, Secret, StoreLocation, TlsFiles},
    dev::{CertsArgs, certs},
    serve::{self, Running},
};
use tollgate_tests::{
    http::{Answer, Connection, Request},
    tls::Client,
    wait::{PATIENCE, until},
};

const SECRET: &str = "edge-secret-of-the-tests-0123456789";

fn make(out: &Path) {
    let args = CertsArgs { out: out.to_owned(), names: vec!["localhost".to_owned()], days: 1, force: true };
    certs::make(&args).unwrap();
}

fn config(dir: &Path, certs: &Path) -> Config {
    let mut config = Config::new(StoreLocation::Sqlite(dir.join("tollgate.db")), Secret::new(SECRET));
    config.api_listen = "127.0.0.1:0".parse().unwrap();
    config.edge_listen = config.api_listen;
    config.tls = Some(TlsFiles {
        certificate: certs.join("control-plane.pem"),
        key: certs.join("control-plane-key.pem"),
        client_ca: Some(certs.join("ca.pem")),
    });
    config
}

async fn start(dir: &Path) -> Running {
    make(&dir.join("certs"));
    serve::start(config(dir, &dir.join("certs"))).await.unwrap()
}

async fn send(client: Client<'_>, addr: std::net::SocketAddr, path: &str) -> std::io::Result<Answer> {
    let request = Request::get(path).bearer(SECRET);
    Connection::over(client.connect(addr).await?).send(&request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_health_and_nothing_else() {
    let temp = TempDir::new().unwrap();
    let running = start(temp.path()).await;
    let (edge, api) = (running.edge_addr, running.api_addr);
    let certs = temp.path().join("certs");
    let nobody = Client::new(&certs);
    for (addr, path, status) in [
        (edge, "/healthz", 200),
        (edge, "/readyz", 200),
        (edge, "/metrics", 200),
        (edge, "/edge/v1/sync", 403),
        (api, "/api/me", 403),
        (api, "/.well-known/jwks.json", 403),
        (api, "/openapi.json", 403),
    ] {
        let answer = send(nobody, addr, path).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(status == 200 || answer.json()["code"] == "certificate_required", "{}", answer.text());
    }
    let envoy = Client { shows: Some("envoy-client"), ..nobody };
    for (addr, path, status) in
        [(edge, "/edge/v1/sync", 200), (api, "/.well-known/jwks.json", 200), (api, "/api/me", 401)]
    {
        let answer = send(envoy, addr, path).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // A server's certificate of the same authority is none of a client.
    assert!(send(Client { shows: Some("envoy"), ..nobody }, edge, "/healthz").await.is_err());
    // Nor is one of another authority.
    let other = temp.path().join("other");
    make(&other);
    std::fs::copy(certs.join("ca.pem"), other.join("ca.pem")).unwrap();
    assert!(send(Client { certs: &other, ..envoy }, edge, "/healthz").await.is_err());
    // And whoever speaks no TLS gets no answer.
    assert!(tollgate_tests::http::send(edge, &Request::get("/healthz")).await.is_err());
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_and_a_faulty_one_is_not() {
    let temp = TempDir::new().unwrap();
    let running = start(temp.path()).await;
    let (addr, certs) = (running.edge_addr, temp.path().join("certs"));
    let envoy = Client { shows: Some("envoy-client"), ..Client::new(&certs) };
    assert_eq!(send(envoy, addr, "/edge/v1/sync").await.unwrap().status, 200);
    let mut open = Connection::over(envoy.connect(addr).await.unwrap());
    assert_eq!(open.send(&Request::get("/healthz")).await.unwrap().status, 200);

    // Another authority, all files anew.
    make(&certs);
    let taken = || async { (send(envoy, addr, "/edge/v1/sync").await.ok()?.status == 200).then_some(()) };
    let (_, took) = until("the new certificate is taken", PATIENCE, taken).await;
    println!("a new certificate was taken within {took:?}");
    // Who was connected before stays so.
    assert_eq!(open.send(&Request::get("/healthz")).await.unwrap().status, 200);

    // A key that belongs to nothing, then a certificate that belongs to it: the first is refused, the pair is taken.
    let other = temp.path().join("other");
    make(&other);
    let later = Client { certs: &other, ..envoy };
    std::fs::copy(other.join("control-plane-key.pem"), certs.join("control-plane-key.pem")).unwrap();
    let refused = || async {
        let metrics = send(envoy, addr, "/metrics").await.ok()?;
        metrics.text().contains("\ntollgate_tls_current 0\n").then_some(())
    };
    until("the key alone is refused", PATIENCE, refused).await;
    assert_eq!(send(envoy, addr, "/edge/v1/sync").await.unwrap().status, 200);
    for name in ["control-plane.pem", "ca.pem"] {
        std::fs::copy(other.join(name), certs.join(name)).unwrap();
    }
    let taken = || async { (send(later, addr, "/edge/v1/sync").await.ok()?.status == 200).then_some(()) };
    until("the pair is taken", PATIENCE, taken).await;
    running.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let temp = TempDir::new().unwrap();
    let certs = temp.path().join("certs");
    make(&certs);
    for (change, parts) in [
        ("key", ["tls.certificate (TOLLGATE_TLS_CERTIFICATE)", "KeyMismatch"]),
        ("text", ["tls.key (TOLLGATE_TLS_KEY)", "holds no private key"]),
        ("gone", ["tls.client_ca (TOLLGATE_TLS_CLIENT_CA)", "No such file"]),
    ] {
        let mut config = config(temp.path(), &certs);
        let files = config.tls.as_mut().unwrap();
        match change {
            "key" => files.key = certs.join("envoy-key.pem"),
            "text" => files.key = certs.join("ca.pem"),
            _ => files.client_ca = Some(certs.join("nobody.pem")),
        }
        let fault = serve::start(config).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
    }
}
