//! What a command asks at the terminal: yes or no, and passwords without an echo. It must not know what for.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::fault::CliFault;
use crate::config::Secret;

/// Longest text that is read as a secret, in bytes.
const MAX_SECRET: u64 = 16 * 1024;

/// Asks whether to go on. Where nobody sits at a terminal, or `yes` was given, it is not asked.
///
/// # Errors
/// [`CliFault::Refused`] where the answer is no.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), CliFault> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliFault::Refused("nothing was changed".to_owned()))
}

/// A password: from stdin up to its end or first line's end, or typed twice at the terminal.
///
/// # Errors
/// It cannot be read.
pub(super) async fn new_password(from_stdin: bool) -> Result<Secret, CliFault> {
    if from_stdin {
        return secret_from_stdin();
    }
    if !io::stdin().is_terminal() {
        return Err(CliFault::Usage("stdin is no terminal: give the password with --password-stdin".to_owned()));
    }
    let (first, second) = (typed("New password: ").await?, typed("Again: ").await?);
    if first.is(second.expose().as_bytes()) {
        return Ok(first);
    }
    Err(CliFault::Refused("the two passwords differ; nothing was changed".to_owned()))
}

/// A secret: the first line of stdin.
///
/// # Errors
/// It cannot be read.
pub(super) fn secret_from_stdin() -> Result<Secret, CliFault> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_SECRET).read_line(&mut text)?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// One line of the terminal, without an echo; the terminal is as it was afterwards, also after Ctrl-C.
async fn typed(prompt: &str) -> Result<Secret, CliFault> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent).map_err(io::Error::from)?;
    write!(io::stderr(), "{prompt}")?;
    let typed = tokio::select! {
        read = tokio::task::spawn_blocking(secret_from_stdin) => match read {
            Ok(read) => read,
            Err(error) => Err(CliFault::Failed(error.to_string())),
        },
        _ = interrupt.recv() => Err(CliFault::Refused("interrupted; nothing was changed".to_owned())),
    };
    tcsetattr(io::stdin(), OptionalActions::Flush, &before).map_err(io::Error::from)?;
    writeln!(io::stderr())?;
    typed
}
