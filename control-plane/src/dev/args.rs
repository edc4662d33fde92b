//! What `tollgate dev` takes on the command line. It must not do anything with it.

use std::path::PathBuf;

use super::ports::Port;

/// Everything a newcomer needs on one machine: control plane, Envoy, an issuer in the place of Clerk, a backend that
/// echoes. Ctrl-C ends all of it. What it keeps is in the data directory.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do other than to run everything.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run everything.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What else `tollgate dev` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print fresh credentials as shell variables, for a `tollgate dev` that runs:
    /// eval "$(tollgate dev credentials)"
    Credentials(CredentialsArgs),
    /// Make certificates for trying TLS: an authority, and what it signs for Envoy and the control plane.
    /// envoy/tls shows how they are used.
    Certs(CertsArgs),
    /// Run the echo backend alone: it answers with what reached it.
    Backend(BackendArgs),
}

/// How `tollgate dev` runs everything.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Folder for what is kept between runs: store, keys, secrets, logs
    #[arg(long, value_name = "DIR", default_value = ".tollgate")]
    pub data: PathBuf,
    /// The Envoy program
    #[arg(long, value_name = "FILE", default_value = "envoy")]
    pub envoy: PathBuf,
    /// The filter
    #[arg(long, value_name = "FILE", default_value = "dist/tollgate.wasm")]
    pub wasm: PathBuf,
    /// Rules for the routes [default: those of envoy/local/policy.toml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Worker threads of Envoy
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub concurrency: u16,
    /// Start everything but Envoy
    #[arg(long)]
    pub no_envoy: bool,
    /// Port of Envoy, where clients come in
    #[arg(long, value_name = "PORT", default_value_t = 10000)]
    pub envoy_port: u16,
    /// Port of Envoy's admin interface
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    pub admin_port: u16,
    /// Port of the control plane's public API
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub api_port: u16,
    /// Port of the control plane's edge API, health and metrics
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub edge_port: u16,
    /// Port of the echo backend
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    pub backend_port: u16,
    /// Port of the development issuer
    #[arg(long, value_name = "PORT", default_value_t = 8091)]
    pub issuer_port: u16,
}

impl RunArgs {
    /// Envoy's two ports.
    pub fn envoy_ports(&self) -> [Port; 2] {
        [
            Port { number: self.envoy_port, what: "Envoy", option: "--envoy-port" },
            Port { number: self.admin_port, what: "Envoy's admin interface", option: "--admin-port" },
        ]
    }

    /// The control plane's two ports: public API, edge API.
    pub fn control_plane_ports(&self) -> [Port; 2] {
        [
            Port { number: self.api_port, what: "the control plane's API", option: "--api-port" },
            Port { number: self.edge_port, what: "the control plane's edge API", option: "--edge-port" },
        ]
    }

    /// Port of the echo backend.
    pub fn backend(&self) -> Port {
        Port { number: self.backend_port, what: "the echo backend", option: "--backend-port" }
    }

    /// Port of the development issuer.
    pub fn issuer(&self) -> Port {
        Port { number: self.issuer_port, what: "the development issuer", option: "--issuer-port" }
    }
}

/// Where the echo backend listens.
#[derive(Debug, Clone, clap::Args)]
pub struct BackendArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub listen: std::net::SocketAddr,
}

/// Where certificates go, and for what.
#[derive(Debug, Clone, clap::Args)]
pub struct CertsArgs {
    /// Folder to write them to; private keys are readable for their owner alone
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Host name or address under which Envoy and the control plane are reached (may be repeated)
    #[arg(long = "name", value_name = "HOST", default_values_t = ["localhost", "127.0.0.1", "::1"].map(str::to_owned))]
    pub names: Vec<String>,
    /// For how many days they hold
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Replace those that are there
    #[arg(long)]
    pub force: bool,
}

/// Whose credentials, and what is wrong with them. Without a fault all three are good.
#[derive(Debug, Clone, clap::Args)]
pub struct CredentialsArgs {
    /// Folder of the `tollgate dev` that runs
    #[arg(long, value_name = "DIR", default_value = ".tollgate")]
    pub data: PathBuf,
    /// Whose: the same address is the same user in every run
    #[arg(long, value_name = "ADDRESS", default_value = "ada@example.com")]
    pub email: String,
    /// Display name in the Clerk token
    #[arg(long, value_name = "NAME", default_value = "Ada Lovelace")]
    pub name: String,
    /// Set this user's role in the store first: user, developer or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Give the API key this scope (may be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Print JSON instead of shell variables
    #[arg(long)]
    pub json: bool,
    /// What is wrong with them.
    #[command(flatten)]
    pub faults: Faults,
}

/// Faults on purpose, to see how they are refused. Each touches the kinds of credential that it can touch.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = true)]
#[command(next_help_heading = "Faults")]
pub struct Faults {
    /// JWTs that expired an hour ago, an API key that expired: token_expired, api_key_expired
    #[arg(long)]
    pub expired: bool,
    /// JWTs that begin to hold in an hour: token_not_yet_valid
    #[arg(long)]
    pub not_yet_valid: bool,
    /// Clerk JWT issued to another application (claim azp): token_wrong_party
    #[arg(long)]
    pub wrong_party: bool,
    /// JWTs of an issuer that is not accepted (claim iss): token_wrong_issuer
    #[arg(long)]
    pub wrong_issuer: bool,
    /// JWTs signed with another key, under the right key's name: token_bad_signature
    #[arg(long)]
    pub wrong_key: bool,
    /// Clerk JWT that names a key which the issuer does not have: token_unknown_key
    #[arg(long)]
    pub unknown_key: bool,
    /// A template token instead of a session token (header cat): token_wrong_class
    #[arg(long)]
    pub wrong_class: bool,
    /// A session with tasks to finish (claim sts): session_pending
    #[arg(long)]
    pub pending: bool,
    /// Clerk JWT of another person, who says that the address is theirs and has not proved it: email_unverified
    #[arg(long)]
    pub unverified_email: bool,
    /// An API key that was revoked: api_key_revoked
    #[arg(long)]
    pub revoked: bool,
    /// Deactivate the user in the store (a later call without this activates it again): user_inactive
    #[arg(long)]
    pub inactive: bool,
    /// One bit of the JWTs' signatures turned, one letter of the API key changed: token_bad_signature, api_key_malformed
    #[arg(long)]
    pub tampered: bool,
}
