//! What is shipped for containers and clusters: every manifest against its schema (tests/schemas), what is in them for
//! Envoy by the real Envoy, and rules that no schema holds.

use std::{collections::BTreeSet, path::Path, process::Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};
use tollgate::{
    config::{Config, Secret, StoreLocation, settings},
    dev::{CertsArgs, certs},
    serve,
};
use tollgate_protocol::config::PluginConfig;
use tollgate_tests::{
    control_plane::{get, program},
    envoy, http, ports,
    wait::{PATIENCE, until},
};

use crate::configurations::valid;

/// The documents of a file in YAML, each with what its schema says against it.
async fn read(file: &Path) -> Vec<(Value, Vec<String>)> {
    let packages = std::env::var_os("SCHEMATHESIS_PACKAGES").expect("SCHEMATHESIS_PACKAGES, which `make setup` writes");
    let here = envoy::root().join("tests");
    let output = Command::new("python3")
        .arg(here.join("tests/envoy_e2e/manifests.py"))
        .arg(here.join("schemas"))
        .arg(file)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let texts =
        |value: &Value| value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    found.into_iter().map(|one| (one["document"].clone(), texts(&one["faults"]))).collect()
}

/// The documents of a shipped file, with nothing against them.
async fn shipped(name: &str) -> Vec<Value> {
    let read = read(&envoy::root().join("envoy").join(name)).await;
    read.into_iter()
        .map(|(document, faults)| {
            assert!(faults.is_empty(), "{name}, {}: {faults:#?}", document["kind"]);
            document
        })
        .collect()
}

fn kind<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[tokio::test]
async fn every_manifest_is_what_its_schema_says() {
    let istio = shipped("istio/tollgate.yaml").await;
    let gateway = shipped("envoy-gateway/tollgate.yaml").await;
    let compose = shipped("docker-compose/compose.yaml").await;
    assert_eq!((istio.len(), gateway.len(), compose.len()), (6, 10, 1));

    // The filter takes the settings that they give it.
    let given = [
        &kind(&istio, "WasmPlugin")["spec"]["pluginConfig"],
        &kind(&gateway, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"],
    ];
    for config in given {
        let config = PluginConfig::from_value(config.clone()).unwrap();
        assert_eq!(config.realm, "example.com");
    }
    assert_eq!(kind(&istio, "WasmPlugin")["spec"]["failStrategy"], "FAIL_RELOAD");
    assert_eq!(kind(&gateway, "EnvoyExtensionPolicy")["spec"]["wasm"][0].get("failOpen"), None);
    // Nothing that the gateway publishes leads to the edge API.
    let backend = kind(&gateway, "Backend")["spec"].to_string();
    assert!(backend.contains("8080") && !backend.contains("8081"), "{backend}");
    let routes = kind(&istio, "VirtualService")["spec"].to_string();
    assert!(routes.contains("8080") && !routes.contains("8081"), "{routes}");
}

/// What the published definitions of Envoy Gateway and of the Gateway API say against documents. They know every field
/// and its values, and let unknown ones pass; those are found by the schemas in `tests/schemas`, which are closed.
async fn published(documents: &[Value]) -> Vec<Vec<String>> {
    let packages = std::env::var_os("KUBERNETES_MODELS").expect("KUBERNETES_MODELS, which `make setup` writes");
    let mut node = Command::new("node")
        .arg(envoy::root().join("tests/tests/envoy_e2e/published.mjs"))
        .arg(packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = node.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(documents).unwrap()).await.unwrap();
    drop(input);
    let output = node.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn manifests_of_gateways_hold_against_what_is_published() {
    let gateway = shipped("envoy-gateway/tollgate.yaml").await;
    assert_eq!(published(&gateway).await, vec![Vec::<String>::new(); gateway.len()]);

    // And would have said so.
    for (of, place, wrong) in [
        ("EnvoyExtensionPolicy", "/spec/wasm/0/code/type", json!("Picture")),
        ("EnvoyExtensionPolicy", "/spec/targetRefs/0/name", json!(7)),
        ("ClientTrafficPolicy", "/spec/path/escapedSlashesAction", json!("Reject")),
        ("SecurityPolicy", "/spec/cors/allowMethods", json!("GET")),
        ("EnvoyProxy", "/spec/provider/type", json!("Docker")),
        ("Backend", "/spec/endpoints/0/fqdn/port", json!("8080")),
        ("BackendTLSPolicy", "/spec/validation/hostname", json!("")),
        ("Gateway", "/spec/listeners/0/protocol", json!(1)),
        ("HTTPRoute", "/spec/rules/0/matches/0/path/type", json!("Prefix")),
    ] {
        let mut document = kind(&gateway, of).clone();
        *document.pointer_mut(place).unwrap_or_else(|| panic!("{of} has no {place}")) = wrong;
        assert!(!published(&[document]).await[0].is_empty(), "{of}: nobody minds {place}");
    }
}

/// The schemas would have said so: a word that is not there, a value that is none, something that lacks.
#[tokio::test]
async fn schemas_find_what_is_wrong() {
    let temp = TempDir::new().unwrap();
    for (name, from, to) in [
        ("istio/tollgate.yaml", "failStrategy: FAIL_RELOAD", "failStrategie: FAIL_RELOAD"),
        ("istio/tollgate.yaml", "operation: INSERT_FIRST", "operation: INSERT_EARLY"),
        ("istio/tollgate.yaml", "location: MESH_EXTERNAL", "location: [MESH_EXTERNAL]"),
        ("istio/tollgate.yaml", "credentialName: tollgate-envoy-client", "credential: tollgate-envoy-client"),
        ("istio/tollgate.yaml", "- uri: {exact: /api/me}", "- path: {exact: /api/me}"),
        ("envoy-gateway/tollgate.yaml", "escapedSlashesAction: RejectRequest", "escapedSlashesAction: Reject"),
        ("envoy-gateway/tollgate.yaml", "      type: Image\n", "      type: HTTP\n"),
        ("envoy-gateway/tollgate.yaml", "type: PathPrefix, value: /auth", "type: Prefix, value: /auth"),
        ("envoy-gateway/tollgate.yaml", "  gatewayClassName: tollgate\n", ""),
        ("docker-compose/compose.yaml", "    user: \"999:999\"\n", "    usr: \"999:999\"\n"),
        ("docker-compose/compose.yaml", "  read_only: true\n", "  read_only: [1]\n"),
    ] {
        let text = std::fs::read_to_string(envoy::root().join("envoy").join(name)).unwrap();
        assert!(text.contains(from), "{name}: no {from}");
        let file = temp.path().join("wrong.yaml");
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let faults: Vec<String> = read(&file).await.into_iter().flat_map(|(_, faults)| faults).collect();
        assert!(!faults.is_empty(), "{name}: nobody minds {to}");
    }
}

/// As Istio and Envoy merge: objects member by member, lists one after the other, anything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// The local configuration, for putting things into it.
async fn local() -> Value {
    let mut config = shipped("local/envoy.yaml").await.remove(0);
    let text = config.to_string().replace("dist/tollgate.wasm", &envoy::wasm().display().to_string());
    config = serde_json::from_str(&text).unwrap();
    config
}

#[tokio::test]
async fn the_real_envoy_reads_what_istio_is_to_put_into_it() {
    let temp = TempDir::new().unwrap();
    let istio = shipped("istio/tollgate.yaml").await;
    let mut config = local().await;
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    // Only what the patch says, on a manager that says nothing of it.
    let ours = config.pointer_mut(manager).unwrap();
    // Istio has a CORS filter of its own, too, behind the plugins: it stays where it is.
    let filters = ours["http_filters"].as_array_mut().unwrap();
    let istios = filters.remove(0);
    assert_eq!(istios["name"], "envoy.filters.http.cors");
    filters.insert(filters.len() - 1, istios);
    let patches = kind(&istio, "EnvoyFilter")["spec"]["configPatches"].as_array().unwrap().clone();
    for patch in &patches {
        let (value, operation) = (&patch["patch"]["value"], patch["patch"]["operation"].as_str().unwrap());
        match (patch["applyTo"].as_str().unwrap(), operation) {
            ("NETWORK_FILTER", "MERGE") => {
                let said = value["typed_config"].as_object().unwrap();
                for (name, setting) in ours.as_object().unwrap().clone() {
                    // What the local file sets for paths, headers and time, the patch sets as well.
                    let same =
                        ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action", "stream_idle_timeout"];
                    if same.contains(&&*name) || name.ends_with("_timeout") {
                        assert_eq!(said.get(&name), Some(&setting), "{name}");
                    }
                }
                ours.as_object_mut().unwrap().retain(|name, _| !said.contains_key(name) || name == "@type");
                merge(ours, &value["typed_config"]);
            }
            ("HTTP_FILTER", "INSERT_FIRST") => {
                ours["http_filters"].as_array_mut().unwrap().insert(0, value.clone());
            }
            other => panic!("{other:?}"),
        }
    }
    let names: Vec<_> = ours["http_filters"].as_array().unwrap().iter().map(|filter| &filter["name"]).collect();
    let cors = "envoy.filters.http.cors";
    assert_eq!(names, [cors, "tollgate", cors, "envoy.filters.http.router"]);
    assert_eq!(valid(temp.path(), "istio.json", &config.to_string()).await, Ok(()));
}

#[tokio::test]
async fn the_real_envoy_reads_the_cluster_of_envoy_gateway() {
    let temp = TempDir::new().unwrap();
    let made = temp.path().join("certs");
    let names = vec!["localhost".to_owned()];
    certs::make(&CertsArgs { out: made.clone(), names, days: 1, force: false }).unwrap();
    let gateway = shipped("envoy-gateway/tollgate.yaml").await;
    let patches = kind(&gateway, "EnvoyProxy")["spec"]["bootstrap"]["jsonPatches"].as_array().unwrap();
    let [patch, tags] = &patches[..] else { panic!("{patches:?}") };
    assert_eq!((&patch["op"], &patch["path"]), (&json!("add"), &json!("/static_resources/clusters/-")));
    let mut config = local().await;
    // The labels of our counters are cut out as they are in the local configuration.
    assert_eq!((&tags["op"], &tags["path"]), (&json!("add"), &json!("/stats_config")));
    assert_eq!(tags["value"], config["stats_config"]);
    config["stats_config"] = tags["value"].clone();
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != patch["value"]["name"]);
    clusters.push(patch["value"].clone());
    let mut text = config.to_string();
    for (name, file) in [("tls.crt", "envoy-client.pem"), ("tls.key", "envoy-client-key.pem"), ("ca.crt", "ca.pem")] {
        let from = format!("/etc/tollgate/certs/{name}");
        assert!(text.contains(&from), "no {from}");
        text = text.replace(&from, &made.join(file).display().to_string());
    }
    assert_eq!(valid(temp.path(), "gateway.json", &text).await, Ok(()));
    // The access log of both says the same.
    let istio = shipped("istio/tollgate.yaml").await;
    let theirs = &kind(&istio, "EnvoyFilter")["spec"]["configPatches"][0]["patch"]["value"]["typed_config"];
    let format = &theirs["access_log"][0]["typed_config"]["log_format"]["json_format"];
    let ours = &kind(&gateway, "EnvoyProxy")["spec"]["telemetry"]["accessLog"]["settings"][0]["format"]["json"];
    assert_eq!(format, ours);
    assert!(format.to_string().contains("wasm.tollgate.user_id") && format.to_string().contains("wasm.tollgate.code"));
}

/// Whether an image is named with a version.
fn is_pinned(image: &str) -> bool {
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    tag.contains('.') && tag.bytes().any(|byte| byte.is_ascii_digit())
}

#[tokio::test]
async fn containers_run_with_little() {
    let compose = shipped("docker-compose/compose.yaml").await.remove(0);
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        assert!(is_pinned(service["image"].as_str().unwrap()), "{name}: {}", service["image"]);
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service.get("healthcheck").is_some() || name == "backend", "{name}");
        assert!(service.get("ports").is_none() || name == "envoy", "{name} has a port outside");
        // Images that are not ours begin as root where nothing is said.
        assert!(service["image"].as_str().unwrap().starts_with("tollgate") || service.get("user").is_some(), "{name}");
        for variable in service["environment"].as_object().into_iter().flat_map(|all| all.keys()) {
            let known = settings::ALL.iter().any(|setting| setting.env == variable) || variable == "HOME";
            assert!(known, "{name}: {variable} is no setting");
        }
    }
    let ports = services["envoy"]["ports"].to_string();
    assert!(ports.contains("127.0.0.1:10000:10000") && compose["networks"]["inside"]["internal"] == true, "{ports}");

    // Envoy asks for containers that are there.
    let envoy = shipped("docker-compose/envoy.yaml").await.remove(0);
    let mut asked = BTreeSet::new();
    for cluster in envoy["static_resources"]["clusters"].as_array().unwrap() {
        let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address";
        asked.insert(cluster.pointer(address).unwrap().as_str().unwrap());
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["backend", "control-plane"]);
    assert!(services.contains_key("backend") && services.contains_key("control-plane"));
}

/// Instructions of a Dockerfile, one a line.
fn instructions(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(envoy::root().join("envoy").join(name)).unwrap().replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned())).unwrap())
        .collect()
}

#[test]
fn images_are_built_from_what_is_there_and_run_as_nobody() {
    const KNOWN: [&str; 10] = ["FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "LABEL", "ARG"];
    for (name, finished) in [("docker-compose/Dockerfile", &["control-plane", "envoy"][..]), ("istio/Dockerfile", &[])]
    {
        let mut stage = String::new();
        let mut users = Vec::new();
        for (word, rest) in instructions(name) {
            assert!(KNOWN.contains(&&*word), "{name}: {word}");
            let parts: Vec<&str> = rest.split_whitespace().collect();
            match &*word {
                "FROM" => {
                    assert!(parts[0] == "scratch" || is_pinned(parts[0]), "{name}: {rest}");
                    stage = parts.get(2).copied().unwrap_or_default().to_owned();
                }
                "COPY" if !rest.contains("--from=") => {
                    let sources = parts.iter().filter(|part| !part.starts_with("--"));
                    let count = sources.clone().count();
                    for source in sources.take(count - 1).filter(|source| !source.starts_with("dist/")) {
                        assert!(envoy::root().join(source).exists(), "{name}: {source} is not there");
                    }
                }
                "USER" => {
                    assert!(rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') && rest != "0:0", "{rest}");
                    users.push(stage.clone());
                }
                _ => {}
            }
        }
        assert_eq!(users, finished, "{name}");
    }
}

/// Where nobody is trusted, no key set of Clerk's can be fetched.
#[test]
fn the_image_of_the_control_plane_knows_whom_to_trust() {
    let all = instructions("docker-compose/Dockerfile");
    let stage = |name: &str| {
        let begins = all.iter().position(|(word, rest)| word == "FROM" && rest.ends_with(&format!(" AS {name}")));
        all.iter().skip(begins.unwrap() + 1).take_while(|(word, _)| word != "FROM").collect::<Vec<_>>()
    };
    let says = |name: &str, word: &str, part: &str| {
        stage(name).iter().any(|(instruction, rest)| instruction == word && rest.contains(part))
    };
    let file = "/etc/ssl/certs/ca-certificates.crt";
    assert!(says("control-plane", "COPY", &format!("--from=build {file} {file}")));
    assert!(says("build", "RUN", "install --yes --no-install-recommends ca-certificates"));
}

#[tokio::test]
async fn envoy_does_not_start_with_a_secret_that_could_change_its_configuration() {
    let script = envoy::root().join("envoy/docker-compose/start-envoy");
    for secret in ["", "two words", "a/b&c", "quote\"s", "line\nbreak"] {
        let output = Command::new(&script).env("TOLLGATE_EDGE_SECRET", secret).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("TOLLGATE_EDGE_SECRET"), "{secret:?}: {said}");
    }
}

/// A list of texts of the manifest, with the port that is tried in the place of the one that is there.
fn words(list: &Value, port: u16, own: u16) -> Vec<String> {
    let words = list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
    words.map(|word| word.replace(&port.to_string(), &own.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_run_is_what_the_program_takes() {
    let compose = shipped("docker-compose/compose.yaml").await.remove(0);
    let port = ports::free();
    let backend = words(&compose["services"]["backend"]["command"], 8090, port);
    let _backend = Command::new(program())
        .args(backend)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let answers = || async { http::send(addr, &http::Request::get("/a?b=c")).await.ok() };
    let (answer, _) = until("the backend answers", PATIENCE, answers).await;
    assert_eq!((answer.status, &answer.json()["path"]), (200, &"/a?b=c".into()));

    // Health checks, against one who is well and one who is not there.
    let temp = TempDir::new().unwrap();
    let store = StoreLocation::Sqlite(temp.path().join("tollgate.db"));
    let mut config = Config::new(store, Secret::new("edge-secret-of-the-tests-0123456789"));
    (config.api_listen, config.edge_listen) = ("127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap());
    let running = serve::start(config).await.unwrap();
    let ready = || async { (get(running.edge_addr, "/readyz").await?.status == 200).then_some(()) };
    until("the control plane is ready", PATIENCE, ready).await;
    let test = &compose["services"]["control-plane"]["healthcheck"]["test"];
    for (port, expected) in [(running.edge_addr.port(), true), (ports::free(), false), (port, true)] {
        let check = words(test, 8081, port);
        assert_eq!(check[0], "CMD");
        // The backend answers anything with 200, so it is well in this check's eyes.
        let status = Command::new(&check[1]).args(&check[2..]).stderr(Stdio::null()).status().await.unwrap();
        assert_eq!(status.success(), expected, "{check:?}");
    }
    running.shutdown().await;
}
