//! Turns cargo's `.wasm` into the module that Envoy loads: `tollgate-pack IN.wasm OUT.wasm`.
//!
//! The host calls every callback that a module exports, and the proxy-wasm SDK exports all of them. The filter
//! therefore exports its own as `tollgate_on_*`; this program gives them their real names, drops the SDK's and
//! everything that only those used, and refuses a module that Envoy would refuse later.

mod abi;
mod error;
mod exports;
mod imports;
mod module;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use crate::error::PackError;
use crate::module::{Options, Packed, pack};

const USAGE: &str = "usage: tollgate-pack [--keep-names] IN.wasm OUT.wasm";

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tollgate-pack: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, PackError> {
    let mut options = Options::default();
    let mut paths = Vec::new();
    for argument in env::args_os().skip(1) {
        match argument.to_str() {
            Some("--keep-names") => options.keep_names = true,
            Some("--help" | "-h") => return Ok(USAGE.to_owned()),
            Some(flag) if flag.starts_with('-') => return Err(PackError::Usage(USAGE)),
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let [input, output] = paths.as_slice() else {
        return Err(PackError::Usage(USAGE));
    };
    let before = read(input)?;
    let packed = pack(&before, options)?;
    write(output, &packed.bytes)?;
    Ok(report(output, before.len(), &packed))
}

fn read(path: &Path) -> Result<Vec<u8>, PackError> {
    fs::read(path).map_err(|source| PackError::Read { path: path.to_owned(), source })
}

/// Writes beside the target and renames, so that an Envoy that starts meanwhile never reads half a module.
fn write(path: &Path, bytes: &[u8]) -> Result<(), PackError> {
    let fault = |source| PackError::Write { path: path.to_owned(), source };
    let part = path.with_extension("wasm.part");
    fs::write(&part, bytes).map_err(fault)?;
    fs::rename(&part, path).map_err(fault)
}

fn report(output: &Path, before: usize, packed: &Packed) -> String {
    format!(
        "{}: {before} -> {} bytes; exports {}; imports {}",
        output.display(),
        packed.bytes.len(),
        packed.exports.join(" "),
        packed.imports.join(" "),
    )
}
