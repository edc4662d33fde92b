//! `tollgate explain --request-id`: what the Envoys told this machine's control plane of a request that was refused within
//! the last minutes, and what its route asks for by the rules that hold now.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reqwest::redirect::Policy as Redirects;
use serde_json::json;
use tollgate_protocol::{
    policy::Policy,
    refusals::{REFUSALS_PATH, Refused},
};

use super::counts;
use crate::{
    app::App,
    cli::{
        Scene,
        fault::CliFault,
        policy::{asks, named},
    },
    config::Config,
    domain::UserId,
    service::{policies, resolve::identity},
};

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for a request and prints what is known of it.
///
/// # Errors
/// [`CliFault::NotFound`] where nothing is known, [`CliFault::Failed`] where no control plane answers.
pub(super) async fn run(scene: &Scene, id: &str) -> Result<(), CliFault> {
    if !(1..=128).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(CliFault::Usage("a request id has letters, digits, '-', '_' and '.'".to_owned()));
    }
    let config = scene.config()?;
    if config.tls.is_some() {
        let instead = "the control plane speaks TLS, and this command has no certificate to show: an administrator asks \
                       GET /api/admin/denials/{id} instead";
        return Err(CliFault::Failed(instead.to_owned()));
    }
    let refused = ask(&config, id).await?;
    let app = App::open(&config).await?;
    let (_, policy, _) = policies::load(&app, &config).await?;
    let route = place(&policy, &refused.route).and_then(|place| policy.routes.get(place).map(asks));
    // Who was refused for what they are may be somebody else by now: this is what they are now.
    let person = match &refused.user_id {
        Some(id) => app.store.user(&UserId::new(id)).await?.map(|user| counts::person(&identity(user, None))),
        None => None,
    };
    let at = super::credential::time(refused.at);
    let (code, carrier) = (refused.code, refused.carrier.as_str());
    let verdict = match refused.watched {
        true => format!("passed, since its route is only watched; else: {} {}", code.status(), code.as_str()),
        false => format!("refused: {} {}", code.status(), code.as_str()),
    };
    let document = json!({
        "request_id": refused.request_id, "at": refused.at, "method": refused.method, "route": refused.route,
        "asks": route, "carrier": carrier, "user_id": refused.user_id, "user": person, "allowed": refused.watched,
        "status": code.status(), "code": code.as_str(), "detail": code.detail(),
    });
    let user = match (person, &refused.user_id) {
        (Some(person), _) => format!("{person} (now)"),
        (None, Some(id)) => format!("{id}, who is not there any more"),
        (None, None) => "not known when it was refused".to_owned(),
    };
    let facts = [
        ("request", format!("{} ({})", refused.request_id, refused.method)),
        ("at", at),
        ("route", refused.route.clone()),
        ("asks", route.unwrap_or_default()),
        ("credential", carrier.to_owned()),
        ("user", user),
        ("verdict", verdict),
        ("why", code.detail().to_owned()),
    ];
    scene.out.facts(&document, &facts)
}

/// The place of a route of the rules, by how it is written.
fn place(policy: &Policy, written: &str) -> Option<usize> {
    (0..policy.routes.len()).find(|place| {
        let named = named(policy, *place);
        named.split_once("] ").is_some_and(|(_, named)| sorted(named) == sorted(written))
    })
}

/// The methods of a route are a set.
fn sorted(route: &str) -> (Vec<&str>, &str) {
    let (methods, path) = route.rsplit_once(' ').unwrap_or(("", route));
    let mut methods: Vec<&str> = methods.split(',').collect();
    methods.sort_unstable();
    (methods, path)
}

async fn ask(config: &Config, id: &str) -> Result<Refused, CliFault> {
    let address = reachable(config.edge_listen);
    let away = |problem: &dyn core::fmt::Display| {
        CliFault::Failed(format!(
            "no answer of the control plane at {address} (edge_listen): {problem}\nRun this where it runs: it remembers \
             refusals for ten minutes, each control plane those that Envoys told it"
        ))
    };
    let url = format!("http://{address}{REFUSALS_PATH}/{id}");
    // An error says that a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().redirect(Redirects::none()).build();
    let client = client.map_err(|error| away(&error))?;
    let answer = client.get(url).bearer_auth(config.edge_secret.expose()).send().await.map_err(|error| away(&error))?;
    match answer.status().as_u16() {
        200 => {
            let body = answer.bytes().await.map_err(|error| away(&error))?;
            serde_json::from_slice(&body).map_err(|error| away(&error))
        }
        401 => Err(away(&"it has another edge secret than these settings")),
        404 => Err(CliFault::NotFound(format!(
            "nothing is known of the request '{id}': it was not refused within the last ten minutes, or so many were at \
             that moment that only some were told, or another control plane was told of it"
        ))),
        status => Err(away(&format!("status {status}"))),
    }
}

/// Who listens everywhere listens here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
