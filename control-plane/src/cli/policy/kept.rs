//! `tollgate policy get` and `put`: the rules that the store keeps. A server that runs takes them within a moment.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde_json::json;

use super::{faults_of, warnings};
use crate::{
    app::App,
    cli::{Scene, fault::CliFault, output::note},
    domain::Revision,
    service::policies::{self, InForce, PutFault},
};

/// What `put` takes.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct Put {
    /// The file
    file: PathBuf,
    /// Only if this is the revision there, as `get` with --json says it
    #[arg(long, value_name = "REVISION")]
    if_match: Option<String>,
}

/// Prints the rules that hold by the settings and the store.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn get(scene: &Scene) -> Result<(), CliFault> {
    let config = scene.config()?;
    let app = App::open(&config).await?;
    let (in_force, _, _) = policies::load(&app, &config).await?;
    if scene.out.is_json() {
        return scene.out.json(&shown(&in_force));
    }
    // As it is, so that it can be written into a file and be put back.
    scene.out.text(&in_force.text)
}

/// Puts a file into the store.
///
/// # Errors
/// [`CliFault::Refused`] where it is faulty, or the rules of a file hold.
pub(super) async fn put(scene: &Scene, args: &Put) -> Result<(), CliFault> {
    let config = scene.config()?;
    if config.policy_file.is_some() {
        return Err(CliFault::Refused(PutFault::IsAFile.to_string()));
    }
    let text = read(&args.file)?;
    let app = App::open(&config).await?;
    let expected = args.if_match.as_deref().map(Revision::new);
    let (in_force, policy) = match policies::put(&app, &text, expected.as_ref()).await {
        Ok(put) => put,
        Err(PutFault::Faulty(faults)) => return Err(faults_of(scene, &args.file, &faults)?),
        Err(PutFault::IsAFile) => return Err(CliFault::Refused(PutFault::IsAFile.to_string())),
        Err(PutFault::Service(error)) => return Err(error.into()),
    };
    if warnings::locks_out(&policy) {
        note(
            "warning: by these rules no administrator reaches PUT /api/admin/policy: only this command changes them back",
        );
    }
    let sentence = format!("{} routes, revision {}", in_force.routes, in_force.revision().as_str());
    scene.out.said(&shown(&in_force), &sentence)
}

/// Reads a file of rules.
///
/// # Errors
/// [`CliFault::NotFound`] where there is none.
pub(super) fn read(file: &Path) -> Result<String, CliFault> {
    std::fs::read_to_string(file).map_err(|error| CliFault::file(file, &error))
}

fn shown(in_force: &InForce) -> serde_json::Value {
    json!({ "origin": in_force.origin.as_str(), "routes": in_force.routes, "revision": in_force.revision().as_str(),
        "changed_at_ms": in_force.changed_at.map(crate::domain::Timestamp::millis), "changed_by": in_force.changed_by,
        "policy": in_force.text.as_ref() })
}
