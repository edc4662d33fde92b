//! What `tollgate dev` prints when it is ready: ready-made requests with fresh credentials, and where things are. It
//! must not start or ask anything.

use super::{args::RunArgs, credentials::Credentials, data::Data};

/// The lines after the ready line.
pub(super) fn text(args: &RunArgs, data: &Data, credentials: &Credentials) -> String {
    let Credentials { api_key, clerk_jwt, legacy_jwt, user_id: _ } = credentials;
    let url = format!("http://127.0.0.1:{}", args.envoy_port);
    let mut out = String::new();
    let mut line = |text: String| out.extend([text.as_str(), "\n"]);
    line("\nOne request for each kind of client; the backend answers with what reached it:\n".to_owned());
    line(format!("curl -s {url}/api/hello -H 'X-API-Key: {api_key}'\n"));
    line(format!("curl -s {url}/api/hello -H 'Authorization: Bearer {api_key}'\n"));
    line(format!("curl -s {url}/api/hello -H 'Authorization: Bearer {clerk_jwt}'\n"));
    line(format!("curl -s {url}/api/hello -H 'Authorization: Bearer {legacy_jwt}'\n"));
    line(format!(
        "Clerk's tokens live 60 seconds. Fresh ones, in another terminal:\n\n  eval \"$({program} dev credentials{data_option})\"\n  \
         curl -s {url}/api/hello -H \"Authorization: Bearer $CLERK_JWT\"\n  {program} dev credentials --help   # other people, faults on purpose\n",
        program = program(),
        data_option = data_option(args),
    ));
    let rules = args.policy.clone().unwrap_or_else(|| data.path("policy.toml"));
    for (what, place) in [
        ("access log", data.path("access.log").display().to_string()),
        ("Envoy's log", data.path("envoy.log").display().to_string()),
        ("Envoy's metrics", format!("http://127.0.0.1:{}/stats/prometheus", args.admin_port)),
        ("control plane's log", data.path("control-plane.log").display().to_string()),
        ("control plane's metrics", format!("http://127.0.0.1:{}/metrics", args.edge_port)),
        ("rules", rules.display().to_string()),
    ] {
        line(format!("{what:<24}{place}"));
    }
    out
}

/// How this program was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "tollgate".to_owned())
}

fn data_option(args: &RunArgs) -> String {
    match args.data.as_os_str() == ".tollgate" {
        true => String::new(),
        false => format!(" --data '{}'", args.data.display()),
    }
}
