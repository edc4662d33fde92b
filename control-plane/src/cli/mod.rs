//! The command line: which command is meant, what it prints, and how it ended. It must not do the work of a command:
//! that is in the services, which the API uses, too.

mod ask;
mod completion;
mod config;
mod explain;
mod export;
mod fault;
mod import;
mod keys;
mod output;
mod policy;
mod revoke;
mod serve;
mod store;
mod tokens;
mod users;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use self::{fault::CliFault, output::Output};
use crate::{
    config::{Config, Environment},
    dev,
};

/// Tollgate: one sign-in layer for the proxy.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
users, keys, revoke, tokens, policy get and put, import and export work on the store that the settings name, with or
without a server that runs; one \
that does hears of every change within a moment.

Exit codes:
  0  done
  1  failed
  2  wrong usage, or settings that cannot be used
  3  there is no such user, key or file
  4  refused by a rule: invalid input, a conflict, lines of a file that could not be taken over
  5  the store is away or cannot be used now";

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct Shared {
    /// Settings file (TOML). The environment goes over it. TOLLGATE_CONFIG names one, too.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print JSON: one document, or for lists one a line. Messages go to stderr.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane.
    #[command(after_help = serve::settings_help())]
    Serve,
    /// Everything a newcomer needs on one machine: issuer, example backend, embedded store, Envoy.
    Dev(Box<dev::Args>),
    /// Users: search, make, change, sign out.
    #[command(subcommand)]
    Users(Box<users::Command>),
    /// API keys: list, issue, rotate, revoke, import.
    #[command(subcommand)]
    Keys(Box<keys::Command>),
    /// Refuse a token, a session, or all tokens that a key has signed, at every Envoy.
    Revoke(revoke::Args),
    /// Tokens (credits): balances, grants, corrections.
    #[command(subcommand)]
    Tokens(Box<tokens::Command>),
    /// Take users or keys over from a file of JSON lines. Again over the same file adds nothing.
    #[command(subcommand)]
    Import(import::Command),
    /// Write users or keys into a file of JSON lines, which import reads.
    #[command(subcommand)]
    Export(export::Command),
    /// Every setting: its value, where it comes from, and what is wrong. Secrets are hidden.
    Config,
    /// The rules for routes.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Decide one request as the filter does, and say each step.
    Explain(Box<explain::Args>),
    /// Print what completes this command line in a shell.
    Completion(completion::Args),
}

/// What a command has to work with.
#[derive(Debug)]
struct Scene {
    shared: Shared,
    out: Output,
}

impl Scene {
    /// The settings, for a command that serves nobody.
    fn config(&self) -> Result<Config, CliFault> {
        Config::load_to_look_at(&Environment, self.shared.config.as_deref()).map_err(CliFault::Settings)
    }
}

/// Runs what the command line asks for.
pub async fn run(cli: Cli) -> ExitCode {
    let scene = Scene { out: Output::new(cli.shared.json), shared: cli.shared };
    let outcome = match cli.command {
        Command::Serve => serve::run(&scene).await,
        Command::Dev(args) => dev::run(*args).await.map_err(|fault| CliFault::Failed(fault.to_string())),
        Command::Users(command) => users::run(&scene, *command).await,
        Command::Keys(command) => keys::run(&scene, *command).await,
        Command::Revoke(args) => revoke::run(&scene, args).await,
        Command::Tokens(command) => tokens::run(&scene, *command).await,
        Command::Import(command) => import::run(&scene, command).await,
        Command::Export(command) => export::run(&scene, command).await,
        Command::Config => config::run(&scene, &Environment),
        Command::Policy(command) => policy::run(&scene, &command).await,
        Command::Explain(args) => explain::run(&scene, &args).await,
        Command::Completion(args) => completion::run(&scene, &args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.tell(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::settings;

    #[test]
    fn the_command_line_is_consistent_and_its_help_lists_every_setting() {
        Cli::command().debug_assert();
        let help = serve::settings_help();
        assert!(settings::ALL.iter().all(|setting| help.contains(setting.env)));
    }
}
