//! `tollgate serve`: the control plane until a signal. It must not know how it is put together.

use super::{Scene, fault::CliFault};
use crate::{
    config::{Config, Environment, settings},
    serve::{self, StartError},
    telemetry::{self, Telemetry},
};

/// Why a server ended by itself.
#[derive(Debug, thiserror::Error)]
enum ServeFault {
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Runs the server until a signal.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene) -> Result<(), CliFault> {
    let config = Config::load(&Environment, scene.shared.config.as_deref()).map_err(CliFault::Settings)?;
    let telemetry = match &config.otlp {
        Some(otlp) => telemetry::start_with_traces(config.log_format, &config.log_filter, otlp)
            .map_err(|fault| CliFault::Failed(fault.to_string()))?,
        None => {
            telemetry::start(config.log_format, &config.log_filter);
            Telemetry::default()
        }
    };
    let served = serve_config(config).await;
    telemetry.stop().await;
    served.map_err(|fault| CliFault::Failed(fault.to_string()))
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

/// Every setting, for the help.
pub(super) fn settings_help() -> String {
    let mut text = String::from("Settings (key in the file, name in the environment):\n");
    for setting in settings::ALL {
        let default =
            if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
        text.push_str(&format!("\n  {}  ({})\n      {}{default}\n", setting.key, setting.env, setting.meaning));
    }
    text
}
