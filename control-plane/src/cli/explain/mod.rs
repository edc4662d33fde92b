//! `tollgate explain`: one request, decided by the filter's own core with the settings and the store of this control plane,
//! and each step with what was compared. A credential is never printed, nobody is made or linked, no network is asked.

mod counts;
mod credential;
mod filter;
mod refused;

use std::{path::PathBuf, sync::Arc};

use clap::Args as ClapArgs;
use serde_json::json;
use tollgate_core::{
    extract::{Credential, extract},
    request::{Field, RequestView},
};
use tollgate_protocol::{
    Code,
    edge::{Outcome, Settings},
    headers,
    policy::{Auth, Policy, Route},
};

use super::{
    Scene, ask,
    fault::CliFault,
    policy::{Winner, decides, named, winner},
};
use crate::{
    app::App,
    config::{Config, Environment, Secret, Source as _},
    serve,
    service::{
        foresee::Foreseen,
        policies,
        sign_in::{InMemory, SignIn},
    },
};

/// The request to explain.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "A credential is read from stdin (-) or from the environment (env:NAME): on a command line everybody on the machine \
can see it.\n\n  echo \"$TOKEN\" | tollgate explain --path /api/hello --bearer -\n  tollgate explain --path /api/hello --api-key env:API_KEY"
)]
pub(super) struct Args {
    /// Path, with its query if it has one
    #[arg(long, required_unless_present = "request_id")]
    path: Option<String>,
    /// Instead: say why the request of this id was refused within the last ten minutes, as its answer names it
    #[arg(long, value_name = "ID", conflicts_with_all = ["path", "credential", "policy"])]
    request_id: Option<String>,
    /// HTTP method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Host that the client names
    #[arg(long, default_value = "localhost")]
    host: String,
    /// What stands in Authorization after "Bearer": - or env:NAME
    #[arg(long, value_name = "WHERE", group = "credential")]
    bearer: Option<String>,
    /// What stands in X-API-Key: - or env:NAME
    #[arg(long, value_name = "WHERE", group = "credential")]
    api_key: Option<String>,
    /// What stands in Clerk's cookie __session: - or env:NAME
    #[arg(long, value_name = "WHERE", group = "credential")]
    session_cookie: Option<String>,
    /// Rules, instead of the file that the settings name
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Args {
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }
}

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<(&'static str, String)>);

impl Steps {
    /// Notes a step.
    pub(super) fn say(&mut self, step: &'static str, said: impl Into<String>) {
        self.0.push((step, said.into()));
    }
}

/// Runs it.
///
/// # Errors
/// [`CliFault`]. A request that would be refused is no failure of this command.
pub(super) async fn run(scene: &Scene, args: &Args) -> Result<(), CliFault> {
    if let Some(id) = &args.request_id {
        return refused::run(scene, id).await;
    }
    let mut config = scene.config()?;
    if args.policy.is_some() {
        config.policy_file.clone_from(&args.policy);
    }
    let app = App::open(&config).await?;
    let settings = settings(&app, &config).await?;
    let presented = Presented::read(args)?;
    let mut steps = Steps::default();
    let verdict = explain(&app, &settings, args, &presented, &mut steps).await?;
    let document: Vec<_> = steps.0.iter().map(|(step, said)| json!({ "step": step, "said": said })).collect();
    let document = json!({
        "request": { "method": args.method, "path": args.path() }, "steps": document,
        "allowed": verdict.allowed(), "watched": verdict.watched, "status": verdict.code.map(|code| code.status()),
        "code": verdict.code.map(|code| code.as_str()), "user_id": verdict.user, "headers": verdict.headers,
    });
    let mut facts: Vec<(&str, String)> = vec![("request", format!("{} {}", args.method, args.path()))];
    facts.extend(steps.0.iter().map(|(step, said)| (*step, said.clone())));
    facts.push(("verdict", verdict.sentence()));
    scene.out.facts(&document, &facts)
}

/// What an edge of this control plane would have been told, but for keys that are not fetched yet.
async fn settings(app: &App, config: &Config) -> Result<Settings, CliFault> {
    let (_, policy, _) = policies::load(app, config).await?;
    let sign_in = SignIn::load(app, config.legacy.as_ref(), Arc::new(InMemory::default())).await?;
    let own_keys = sign_in.as_ref().map(|sign_in| sign_in.public_keys(app.clock.now())).unwrap_or_default();
    let mut issuers = serve::issuers(config, &own_keys);
    for issuer in issuers.iter_mut().filter(|issuer| issuer.keys.is_empty()) {
        let Some(name) = &issuer.issuer else { continue };
        if let Some(kept) = app.store.key_set(name).await? {
            issuer.keys = serde_json::from_str(&kept.document).unwrap_or_default();
        }
    }
    let accept_imported_keys = config.accept_imported_keys;
    Ok(Settings { issuers, policy, accept_imported_keys, assertion: None })
}

/// What the request carries.
#[derive(Debug, Default)]
struct Presented {
    bearer: Option<Secret>,
    api_key: Option<Secret>,
    cookie: Option<Secret>,
}

impl Presented {
    fn read(args: &Args) -> Result<Self, CliFault> {
        let read = |place: &Option<String>| place.as_deref().map(secret).transpose();
        let bearer = read(&args.bearer)?.map(|token| Secret::new(format!("Bearer {}", token.expose())));
        let cookie = read(&args.session_cookie)?.map(|token| Secret::new(format!("__session={}", token.expose())));
        Ok(Self { bearer, api_key: read(&args.api_key)?, cookie })
    }

    fn view<'a>(&'a self, args: &'a Args) -> RequestView<'a> {
        fn field(secret: &Option<Secret>) -> Field<'_> {
            secret.as_ref().map_or(Field::Absent, |secret| Field::One(secret.expose().as_bytes()))
        }
        RequestView {
            method: args.method.as_bytes(),
            path: args.path().as_bytes(),
            api_key: field(&self.api_key),
            authorization: field(&self.bearer),
            cookies: self.cookie.iter().map(|cookie| cookie.expose().as_bytes()).collect(),
            authority: args.host.as_bytes(),
            ..RequestView::default()
        }
    }
}

fn secret(place: &str) -> Result<Secret, CliFault> {
    if place == "-" {
        return ask::secret_from_stdin();
    }
    let usage = |problem: &str| CliFault::Usage(problem.to_owned());
    let name = place.strip_prefix("env:").ok_or_else(|| {
        usage("a credential is read from stdin (-) or from the environment (env:NAME), never from the command line")
    })?;
    Environment.get(name).map(Secret::new).ok_or_else(|| usage(&format!("{name} is not set in the environment")))
}

async fn explain(
    app: &App,
    settings: &Settings,
    args: &Args,
    presented: &Presented,
    steps: &mut Steps,
) -> Result<filter::Verdict, CliFault> {
    let request = presented.view(args);
    let route = route(&settings.policy, args, steps)?;
    let mut filter = filter::Filter::new(app, settings).await?;
    if let Some(session_cookie) = route.looks() {
        match extract(&request, session_cookie) {
            Ok(Some(Credential::ApiKey(key))) => credential::api_key(app, settings, key, steps).await?,
            Ok(Some(Credential::Token(token, source))) => {
                let claims = credential::token(settings, token, source, app.clock.now(), steps)?;
                let revoked = claims.iter().flat_map(|claims| filter.revoked(claims)).collect::<Vec<_>>();
                counts::revoked(&revoked, steps);
            }
            Ok(None) if presented.cookie.is_some() => {
                steps.say("credential", "none: this route does not look at the cookie")
            }
            Ok(None) => steps.say("credential", "none"),
            Err(fault) => steps.say("credential", fault.to_string()),
        }
    }
    let (mut verdict, person) = filter.decide(app, &request).await?;
    let mut user = None;
    if let Some(person) = person {
        let how = match &person {
            Foreseen::Is(_) => "",
            Foreseen::WouldLink(_) => " (found by the address; would be linked to the Clerk user)",
            Foreseen::WouldMake(_) => " (not there yet; would be made)",
        };
        match &person.answer().outcome {
            Outcome::Identity(identity) => {
                steps.say("user", format!("{}{how}", counts::person(identity)));
                user = Some(identity.user_id.clone());
            }
            Outcome::Refused(code) => steps.say("user", format!("none: {}", code.title())),
        }
    }
    if let Deciding::Route(route) = route {
        counts::limits(route, steps);
        if let (Some(user), None) = (user, verdict.code)
            && counts::tokens(app, route, &user, steps).await?
        {
            verdict.code = Some(Code::TokensExhausted);
            if !verdict.watched {
                (verdict.user, verdict.headers) = (None, Vec::new());
            }
        }
    }
    Ok(verdict)
}

/// What decides about a request.
enum Deciding<'p> {
    Route(&'p Route),
    /// A credential of whatever kind is enough.
    Fallback,
    Nothing,
}

impl Deciding<'_> {
    /// Whether the cookie counts; `None` where no credential is looked at.
    fn looks(&self) -> Option<bool> {
        match self {
            Self::Route(route) => (route.auth != Auth::None).then_some(route.session_cookie),
            Self::Fallback => Some(false),
            Self::Nothing => None,
        }
    }
}

/// The steps up to the route.
fn route<'p>(policy: &'p Policy, args: &Args, steps: &mut Steps) -> Result<Deciding<'p>, CliFault> {
    let (found, others) =
        winner(policy, &args.method, &args.host, args.path()).map_err(|faults| CliFault::Refused(faults.join("; ")))?;
    let (name, said) = decides(policy, &found);
    let wider = match others.first() {
        Some(next) => format!(" (narrower than {})", named(policy, *next)),
        None => String::new(),
    };
    steps.say("route", format!("{name}{wider}"));
    steps.say("asks", said);
    Ok(match found {
        Winner::Ambiguous | Winner::Denied => Deciding::Nothing,
        Winner::Fallback => Deciding::Fallback,
        Winner::Route(place) => policy.routes.get(place).map_or(Deciding::Nothing, Deciding::Route),
    })
}

/// Names of the headers that a plan sets.
fn header_names(plan: &tollgate_core::respond::HeaderPlan) -> Vec<String> {
    plan.headers().map(|(name, _)| name.to_owned()).filter(|name| headers::is_reserved(name.as_bytes())).collect()
}
