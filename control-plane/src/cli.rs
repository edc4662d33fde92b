//! The command line. It must not do the work of a command, only say which one is meant and how it ended.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Environment, settings},
    dev,
    serve::{self, StartError},
    telemetry,
};

/// Tollgate: one sign-in layer for the proxy.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane.
    #[command(after_help = settings_help())]
    Serve {
        /// Settings file (TOML). The environment goes over it. TOLLGATE_CONFIG names one, too.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Everything a newcomer needs on one machine: issuer, example backend, embedded store, Envoy.
    Dev(Box<dev::Args>),
}

/// Why a command failed, as the terminal shows it.
#[derive(Debug, thiserror::Error)]
enum ServeFault {
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Runs what the command line asks for.
pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve { config } => serve_until_signal(config).await,
        Command::Dev(args) => match dev::run(*args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => failed(&fault),
        },
    }
}

async fn serve_until_signal(file: Option<PathBuf>) -> ExitCode {
    let config = match Config::load(&Environment, file.as_deref()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("tollgate: the settings cannot be used:");
            for fault in faults {
                eprintln!("  - {fault}");
            }
            return ExitCode::from(2);
        }
    };
    let started = match &config.otlp {
        Some(otlp) => telemetry::start_with_traces(config.log_format, &config.log_filter, otlp),
        None => {
            telemetry::start(config.log_format, &config.log_filter);
            Ok(telemetry::Telemetry::default())
        }
    };
    let telemetry = match started {
        Ok(telemetry) => telemetry,
        Err(fault) => return failed(&fault),
    };
    let served = serve_config(config).await;
    telemetry.stop().await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => failed(&fault),
    }
}

async fn serve_config(config: Config) -> Result<(), ServeFault> {
    use tokio::signal::unix::{SignalKind, signal};
    // Before the start: a signal during it stops it, too.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeFault::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeFault::Signals)?;
    let running = serve::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = running.shutdown() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn failed(fault: &dyn std::error::Error) -> ExitCode {
    eprintln!("tollgate: {fault}");
    ExitCode::FAILURE
}

fn settings_help() -> String {
    let mut text = String::from("Settings (key in the file, name in the environment):\n");
    for setting in settings::ALL {
        let default =
            if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
        text.push_str(&format!("\n  {}  ({})\n      {}{default}\n", setting.key, setting.env, setting.meaning));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_help_lists_every_setting() {
        Cli::command().debug_assert();
        let help = settings_help();
        assert!(settings::ALL.iter().all(|setting| help.contains(setting.env)));
    }
}
