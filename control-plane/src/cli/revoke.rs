//! `tollgate revoke`: refuse a token, a session, or all tokens of a signing key. It must not hold a rule about revocations.

use clap::ValueEnum;
use serde_json::json;
use tollgate_protocol::Revoked;

use super::{Scene, ask, fault::CliFault, keys::seconds, store};
use crate::{
    domain::Timestamp,
    service::revocations::{self, Order},
};

/// Kinds of what can be revoked by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// One token, by its claim jti
    Token,
    /// Every token of a session, by their claim sid
    Session,
    /// Every token that a key has signed, by its kid
    Key,
}

/// What to revoke.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What it is
    #[arg(value_enum)]
    what: Kind,
    /// Its name
    id: String,
    /// Only tokens of this issuer (claim iss)
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// How long it holds: at least as long as any such token is good. 90s, 15m, 12h, 30d; 366d if not said, the longest
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    length: Option<i64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, args: Args) -> Result<(), CliFault> {
    let (app, _) = store::open(scene).await?;
    let (what, meant) = match args.what {
        Kind::Token => (Revoked::Token, "the token"),
        Kind::Session => (Revoked::Session, "every token of the session"),
        Kind::Key => (Revoked::Key, "every token signed by the key"),
    };
    ask::confirm(&format!("Refuse {meant} {} everywhere?", args.id), args.yes)?;
    let until = args.length.map(|length| app.clock.now().plus_seconds(length));
    let order = Order { what, id: args.id, issuer: args.issuer, until };
    let revoked = revocations::revoke(&app, order).await?;
    let until = i64::try_from(revoked.until).map(Timestamp::from_seconds).map(Timestamp::to_text).unwrap_or_default();
    let (what, id) = (revoked.what.as_str(), revoked.id);
    let document = json!({ "what": what, "id": id, "issuer": revoked.issuer, "until": until });
    scene.out.said(&document, &format!("{meant} {id} is refused until {until}"))
}
