//! The program `tollgate`: reads the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use tollgate::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(cli::run(cli));
            // What had to end has ended. Left are tasks of drivers, and MongoDB's panic when the one they wait for is
            // taken down before them: they go with the process instead.
            std::mem::forget(runtime);
            code
        }
        Err(error) => {
            eprintln!("tollgate: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
