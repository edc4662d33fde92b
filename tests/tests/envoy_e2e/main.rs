//! The finished filter in a real Envoy, with a real control plane, issuer and backend: what clients, backends and
//! operators see. `TOLLGATE_E2E_ENVOY` names the Envoy; the whole set runs on the oldest and the newest supported one.

mod browsers;
mod carriers;
mod changes;
mod codes;
mod configurations;
mod credits;
mod crowd;
mod dev_mode;
mod hostile;
mod limits;
mod manifests;
mod memory;
mod other_programs;
mod outages;
mod public_api;
mod revocations;
mod rules;
mod sign_in;
mod signatures;
mod streams;
mod talker;
mod tls;
mod watched;
mod webhooks;
