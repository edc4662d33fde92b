//! `envoy/tls` as it is shipped: HTTPS for clients, TLS with certificates on both sides to the control plane.

use std::{net::SocketAddr, path::Path};

use tempfile::TempDir;
use tollgate::{
    app::App,
    config::{Config, Secret, StoreLocation, TlsFiles},
    dev::{certs, echo::Echo},
    serve,
    service::keys::{self, NewKey},
};
use tollgate_tests::{
    echo::Seen,
    envoy::{self, Envoy},
    http::{Connection, Request},
    ports,
    stack::user_with_password,
    tls::Client,
    wait::{PATIENCE, until},
};

const EDGE_SECRET: &str = "replace-this-edge-secret";

/// The shipped file with a test's ports and folders. Each text that is replaced has to be there.
fn configuration(dir: &Path, certs: &Path, ports: &[(u16, u16)]) -> String {
    let mut text = std::fs::read_to_string(envoy::root().join("envoy/tls/envoy.yaml")).unwrap();
    let mut replace = |from: &str, to: String| {
        assert!(text.contains(from), "the shipped file has changed: no {from}");
        text = text.replace(from, &to);
    };
    for (shipped, own) in ports {
        replace(&format!("port_value: {shipped}\n"), format!("port_value: {own}\n"));
    }
    replace("filename: certs/", format!("filename: {}/", certs.display()));
    replace("filename: dist/tollgate.wasm", format!("filename: {}", envoy::wasm().display()));
    replace("path: /dev/stdout", format!("path: {}", dir.join("access.log").display()));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn https_for_clients_and_certificates_to_the_control_plane() {
    let temp = TempDir::new().unwrap();
    let (dir, certs) = (temp.path(), temp.path().join("certs"));
    let names = vec!["localhost".to_owned()];
    certs::make(&tollgate::dev::CertsArgs { out: certs.clone(), names, days: 1, force: false }).unwrap();

    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut config = Config::new(StoreLocation::Sqlite(dir.join("tollgate.db")), Secret::new(EDGE_SECRET));
    (config.api_listen, config.edge_listen) = (local(ports::free()), local(ports::free()));
    config.policy_file = Some(envoy::root().join("envoy/local/policy.toml"));
    config.tls = Some(TlsFiles {
        certificate: certs.join("control-plane.pem"),
        key: certs.join("control-plane-key.pem"),
        client_ca: Some(certs.join("ca.pem")),
    });
    let user = user_with_password(&config, "ada@example.com", None).await;
    let app = App::open(&config).await.unwrap();
    let new = NewKey { name: "test".to_owned(), scopes: Default::default(), expires_at: None, rate: None };
    let key = keys::issue(&app, &user.id, &new).await.unwrap().plain.expose().to_owned();
    let running = serve::start(config.clone()).await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let echo = Echo::start(listener).unwrap();

    let [port, admin] = [ports::free(), ports::free()];
    let ports = [
        (10443, port),
        (9901, admin),
        (8080, config.api_listen.port()),
        (8081, config.edge_listen.port()),
        (8090, echo.addr.port()),
    ];
    let file = dir.join("envoy.yaml");
    std::fs::write(&file, configuration(dir, &certs, &ports)).unwrap();
    let envoy = Envoy::run(envoy::program(), file, 2, [port, admin]).await;

    let client = Client::new(&certs);
    let send = async |client: Client<'_>, request: &Request| {
        let stream = client.connect(envoy.addr).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        Connection::over(stream).send(request).await.unwrap()
    };
    // The filter has its settings, so `sync` has passed the control plane's look at certificates.
    let ready = async || (send(client, &Request::get("/public/ready")).await.status == 200).then_some(());
    until("the filter has settings", PATIENCE, ready).await;
    let answer = send(client, &Request::get("/api/hello")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &"missing_credential".into()));
    // A new person: `resolve` passes, too.
    let seen = Seen::of(&send(client, &Request::get("/api/hello").api_key(&key)).await);
    assert_eq!(
        (seen.header("x-auth-user-id"), seen.header("x-forwarded-proto")),
        (Some(user.id.as_str()), Some("https"))
    );
    // And Tollgate's own API, on the other listener.
    let answer = send(client, &Request::get("/api/me").api_key(&key)).await;
    assert_eq!((answer.status, &answer.json()["email"]), (200, &"ada@example.com".into()), "{}", answer.text());

    // A browser asks first, and is told.
    let origin = "https://localhost:3000";
    let preflight = Request::new("OPTIONS", "/api/hello").header("Origin", origin);
    let answer = send(client, &preflight.header("Access-Control-Request-Method", "POST")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(origin)));

    // Clients may speak HTTP/2.
    let stream = Client { alpn: &["h2", "http/1.1"], ..client }.connect(envoy.addr).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut http2, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/api/hello").header("x-api-key", &key).body(()).unwrap();
    let (answer, _) = http2.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    connection.abort();

    drop(envoy);
    running.shutdown().await;
}
