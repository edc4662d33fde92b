//! The ways in which a person ends a program. It must not know what ends then.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fault::DevFault;

/// Ctrl-C, a polite `kill`, a closed terminal.
pub(super) struct StopSignals([Signal; 3]);

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`DevFault`] if the system does not let us.
    pub(super) fn new() -> Result<Self, DevFault> {
        let listen = |kind| signal(kind).map_err(|fault| DevFault::Other(format!("signals: {fault}")));
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
