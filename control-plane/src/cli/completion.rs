//! `tollgate completion`: what completes the command line in a shell. It must not know a command.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Scene, fault::CliFault};

/// Arguments of `tollgate completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Bash: source <(tollgate completion bash)\nZsh:  tollgate completion zsh > \"${fpath[1]}/_tollgate\"\nFish: tollgate completion fish > ~/.config/fish/completions/tollgate.fish"
)]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints it.
///
/// # Errors
/// [`CliFault`].
pub(super) fn run(scene: &Scene, args: &Args) -> Result<(), CliFault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tollgate", &mut script);
    scene.out.line(String::from_utf8_lossy(&script).trim_end())
}
