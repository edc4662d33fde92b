//! The program `tollgate`: reads the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use tollgate::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(error) => {
            eprintln!("tollgate: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
