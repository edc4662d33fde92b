//! `tollgate dev`: starts everything, says when it is ready, and ends all of it. It must not know how a part works.

use std::{io::Write as _, net::SocketAddr, path::Path, time::Duration};

use tokio::time::timeout;

use super::{
    args::{Args, BackendArgs, Command, CredentialsArgs, Faults, RunArgs},
    banner, credentials,
    data::{Data, Facts},
    echo::Echo,
    envoy::{self, Envoy, EnvoyOptions},
    fault::DevFault,
    issuer::{self, Issuer},
    ports,
    settings::{EDGE_SECRET_FILE, ISSUER, PARTY, POLICY_FILE, config, open_app},
    shipped::{self, EnvoyValues},
    signals::StopSignals,
};
use crate::serve;

/// How long Envoy may take to start, and the filter to receive its settings.
const START: Duration = Duration::from_secs(30);
/// How long the control plane may take to end what it is doing.
const END: Duration = Duration::from_secs(3);

/// Does what the command line says.
///
/// # Errors
/// [`DevFault`], for the person who typed it.
pub async fn run(args: Args) -> Result<(), DevFault> {
    match args.command {
        Some(Command::Backend(args)) => backend(&args).await,
        Some(Command::Certs(args)) => {
            say(&super::certs::make(&args)?);
            Ok(())
        }
        Some(Command::Credentials(args)) => print_credentials(&args).await,
        None => everything(&args.run).await,
    }
}

async fn backend(args: &BackendArgs) -> Result<(), DevFault> {
    let mut stop = StopSignals::new()?;
    let listen = || {
        let listener = std::net::TcpListener::bind(args.listen)?;
        listener.set_nonblocking(true)?;
        Echo::start(listener)
    };
    let echo = listen().map_err(|fault| DevFault::Other(format!("cannot listen on {}: {fault}", args.listen)))?;
    say(&format!("echo backend: http://{}\n", echo.addr));
    stop.next().await;
    Ok(())
}

async fn print_credentials(args: &CredentialsArgs) -> Result<(), DevFault> {
    let (data, facts) = Data::open(&args.data)?;
    let app = open_app(&data).await?;
    say(&credentials::print(&credentials::make(&app, &data, &facts, args).await?, args.json));
    Ok(())
}

async fn everything(args: &RunArgs) -> Result<(), DevFault> {
    let mut stop = StopSignals::new()?;
    check(args)?;
    let data = Data::create(&args.data)?;
    log_to(&data.path("control-plane.log"))?;
    let mut parts = tokio::select! {
        parts = Parts::start(args, &data) => parts?,
        () = stop.next() => return Ok(()),
    };
    say(&parts.ready(args, &data).await?);
    let ended = tokio::select! {
        () = stop.next() => Ok(()),
        fault = parts.envoy_ended() => Err(fault),
    };
    say("\nstopping (Ctrl-C again kills)\n");
    tokio::select! {
        () = parts.stop() => ended,
        () = stop.next() => std::process::exit(130),
    }
}

/// The terminal is for people: what the control plane logs goes to a file, begun anew at each start.
fn log_to(path: &Path) -> Result<(), DevFault> {
    let file = std::fs::File::create(path).map_err(DevFault::file("cannot write", path))?;
    let log = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_max_level(tracing::Level::INFO);
    // An error says that a log is running already.
    let _ = log.with_writer(std::sync::Mutex::new(file)).try_init();
    Ok(())
}

/// Everything that can be known to be wrong before anything is started.
fn check(args: &RunArgs) -> Result<(), DevFault> {
    let [api, edge] = args.control_plane_ports();
    let mut needed = vec![api, edge, args.backend(), args.issuer()];
    if !args.no_envoy {
        needed.extend(args.envoy_ports());
        readable(&args.wasm, "the filter is not built (make wasm):")?;
    }
    if let Some(policy) = &args.policy {
        readable(policy, "cannot read the rules")?;
    }
    ports::check(&needed)
}

fn readable(path: &Path, what: &'static str) -> Result<(), DevFault> {
    std::fs::File::open(path).map(drop).map_err(DevFault::file(what, path))
}

/// What runs.
struct Parts {
    control_plane: serve::Running,
    envoy: Option<Envoy>,
    facts: Facts,
    _issuer: Issuer,
    _echo: Echo,
}

impl Parts {
    async fn start(args: &RunArgs, data: &Data) -> Result<Self, DevFault> {
        let io = |what: &'static str| move |fault: std::io::Error| DevFault::Other(format!("{what}: {fault}"));
        let echo = Echo::start(ports::listen(args.backend())?).map_err(io("echo backend"))?;
        say(&format!("echo backend        http://{}\n", echo.addr));

        let key = data.issuer_key_or_new(issuer::KEY_FILE)?;
        let listener = ports::listen(args.issuer())?;
        let issuer = Issuer::start(listener, ISSUER, key, Some(data.clone())).map_err(io("development issuer"))?;
        say(&format!("development issuer  {}\n", issuer.jwks_url()));

        if args.policy.is_none() {
            data.write(POLICY_FILE, shipped::POLICY.as_bytes())?;
        }
        let config = config(args, data, issuer.jwks_url())?;
        let started = serve::start(config).await;
        let control_plane = started.map_err(|fault| DevFault::Other(format!("control plane: {fault}")))?;
        let (api, edge) = (control_plane.api_addr, control_plane.edge_addr);
        say(&format!("control plane       http://{api} (API), http://{edge} (edge)\n"));

        let url = format!("http://127.0.0.1:{}", args.envoy_port);
        let facts = Facts { envoy: url, issuer: ISSUER.to_owned(), party: PARTY.to_owned() };
        data.write_facts(&facts)?;
        let envoy = match args.no_envoy {
            true => None,
            false => Some(start_envoy(args, data).await?),
        };
        Ok(Self { control_plane, envoy, facts, _issuer: issuer, _echo: echo })
    }

    /// The ready line and what follows it.
    async fn ready(&self, args: &RunArgs, data: &Data) -> Result<String, DevFault> {
        let who = CredentialsArgs {
            data: args.data.clone(),
            email: "ada@example.com".to_owned(),
            name: "Ada Lovelace".to_owned(),
            role: None,
            scopes: Vec::new(),
            json: false,
            faults: Faults::default(),
        };
        let app = open_app(data).await?;
        let credentials = credentials::make(&app, data, &self.facts, &who).await?;
        let line = match self.envoy {
            Some(_) => format!("ready: {} (Ctrl-C ends it)\n", self.facts.envoy),
            None => "ready, without Envoy (Ctrl-C ends it)\n".to_owned(),
        };
        Ok(line + &banner::text(args, data, &credentials))
    }

    async fn envoy_ended(&mut self) -> DevFault {
        match &mut self.envoy {
            Some(envoy) => envoy.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Envoy first: it would only complain about the others being gone.
    async fn stop(self) {
        if let Some(envoy) = self.envoy
            && let Err(fault) = envoy.stop().await
        {
            say(&format!("Envoy: {fault}\n"));
        }
        if timeout(END, self.control_plane.shutdown()).await.is_err() {
            say("the control plane did not end in time\n");
        }
    }
}

async fn start_envoy(args: &RunArgs, data: &Data) -> Result<Envoy, DevFault> {
    let access_log = data.path("access.log");
    drop(std::fs::remove_file(&access_log));
    let values = EnvoyValues {
        envoy_port: args.envoy_port,
        admin_port: args.admin_port,
        api_port: args.api_port,
        edge_port: args.edge_port,
        backend_port: args.backend_port,
        access_log,
        wasm: std::fs::canonicalize(&args.wasm).map_err(DevFault::file("cannot read", &args.wasm))?,
        edge_secret: data.secret(EDGE_SECRET_FILE)?,
    };
    data.write("envoy.yaml", values.render()?.as_bytes())?;
    let mut envoy = Envoy::start(EnvoyOptions {
        program: args.envoy.clone(),
        config: data.path("envoy.yaml"),
        log: data.path("envoy.log"),
        concurrency: args.concurrency,
        admin: SocketAddr::from(([127, 0, 0, 1], args.admin_port)),
    })?;
    envoy.wait_ready(START).await?;
    say(&format!("Envoy               http://127.0.0.1:{} (admin {})\n", args.envoy_port, args.admin_port));
    wait_for_filter(&mut envoy, args.envoy_port).await?;
    Ok(envoy)
}

/// Waits until the filter decides: before that, "ready" would not be true. Only 503 means that it does not yet.
async fn wait_for_filter(envoy: &mut Envoy, port: u16) -> Result<(), DevFault> {
    let decides = async {
        loop {
            let answer = envoy::get(SocketAddr::from(([127, 0, 0, 1], port)), "/public/ready", &[]).await;
            if answer.is_ok_and(|answer| !answer.starts_with("HTTP/1.1 503")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let decided = tokio::select! {
        decided = timeout(START, decides) => decided,
        fault = envoy.ended() => return Err(fault),
    };
    decided.map_err(|_| envoy.fault("The filter has not received its settings from the control plane."))
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    // Nobody reads: nothing to be done about it, and no reason to stop.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
