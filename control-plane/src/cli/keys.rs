//! `tollgate keys`: list, issue, rotate, revoke, import. A key is printed once, when it is made. It must not hold a rule
//! about keys.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Scene, ask,
    fault::CliFault,
    import::{self, FileArgs},
    output::note,
    store::{self, user},
};
use crate::{
    app::App,
    domain::{ApiKey, KeyFilter, KeyId, KeyStanding, PageKey, Scope, Timestamp},
    service::{
        MAX_PAGE, ServiceError,
        keys::{self, Issued, NewKey},
        transfer::{Kind, key_json},
    },
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Keys, newest first, revoked and expired ones too.
    List(List),
    /// Make a key. It is printed once and not kept.
    Issue(Issue),
    /// Make a key in the place of another, which goes on for a while.
    Rotate {
        /// Id of the key
        key: String,
        /// How long the former key goes on: 90s, 15m, 12h, 30d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
        overlap: i64,
    },
    /// Refuse a key at every Envoy, for ever.
    Revoke {
        /// Id of the key
        key: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// One key, by its id. The key itself is not kept.
    Show {
        /// Id of the key
        key: String,
    },
    /// Take keys over that were issued elsewhere, by their SHA-256: JSON lines of
    /// {"user": id or e-mail, "name": …, "sha256": hex, "scopes": […], "expires_at": …}
    Import(FileArgs),
}

/// Which keys.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this user (id or e-mail address)
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The id, or how the key begins (sk_ and up to four more)
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// The key to be made.
#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Whose: id or e-mail address
    user: String,
    /// What its owner calls it
    #[arg(long)]
    name: String,
    /// What it may do (may be repeated)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When it ends: 90s, 15m, 12h, 30d from now, or 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// How often it may be used: 60/min, 600/min burst 100
    #[arg(long)]
    rate: Option<String>,
}

/// `90s`, `15m`, `12h`, `30d` as seconds.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    let problem = || "must be a whole number with a unit, such as 90s, 15m, 12h or 30d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(problem()),
    };
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(problem)
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CliFault> {
    let found = Timestamp::from_text(text).or_else(|| Some(now.plus_seconds(seconds(text).ok()?)));
    found.ok_or_else(|| CliFault::Usage("--expires must be such as 30d, or 2027-01-31T00:00:00Z".to_owned()))
}

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, command: Command) -> Result<(), CliFault> {
    let (app, _) = store::open(scene).await?;
    match command {
        Command::List(args) => list(scene, &app, args).await,
        Command::Issue(args) => {
            let user = user(&app, &args.user).await?;
            let expires_at = args.expires.as_deref().map(|text| moment(text, app.clock.now())).transpose()?;
            let new = NewKey { name: args.name, scopes: args.scopes, expires_at, rate: args.rate };
            issued(scene, &app, &keys::issue(&app, &user.id, &new).await?)
        }
        Command::Rotate { key, overlap } => {
            let former = find(&app, &key).await?;
            issued(scene, &app, &keys::rotate(&app, &former.user_id, &former.id, overlap).await?)
        }
        Command::Revoke { key, yes } => {
            let found = find(&app, &key).await?;
            ask::confirm(&format!("Revoke {} ('{}') for ever?", found.id.as_str(), found.name), yes)?;
            show(scene, &app, &keys::revoke(&app, &found.user_id, &found.id).await?)
        }
        Command::Show { key } => show(scene, &app, &find(&app, &key).await?),
        Command::Import(args) => import::records(scene, app, &args, Kind::Keys).await,
    }
}

async fn find(app: &App, id: &str) -> Result<ApiKey, CliFault> {
    keys::get(app, &KeyId::new(id)).await.map_err(|error| match error {
        ServiceError::NotFound => CliFault::NotFound(format!("there is no key '{id}' (see tollgate keys list)")),
        error => error.into(),
    })
}

async fn list(scene: &Scene, app: &App, args: List) -> Result<(), CliFault> {
    let user_id = match &args.user {
        Some(who) => Some(user(app, who).await?.id),
        None => None,
    };
    let filter = KeyFilter { user_id, text: args.text };
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut after: Option<PageKey> = None;
    let mut rows = Vec::new();
    loop {
        let (page, next) = keys::search(app, &filter, after.as_ref(), left.min(MAX_PAGE)).await?;
        left = left.saturating_sub(page.len());
        for key in &page {
            if scene.out.is_json() {
                scene.out.json(&document(app, key))?;
            } else {
                rows.push(row(app, key));
            }
        }
        after = next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    if !scene.out.is_json() {
        scene.out.table(&["id", "user", "name", "key", "standing", "scopes", "expires", "last used"], &rows)?;
        if after.is_some() {
            note(&format!("{} shown, there are more: --limit N or --all", rows.len()));
        }
    }
    Ok(())
}

fn standing(app: &App, key: &ApiKey) -> &'static str {
    match key.standing(app.clock.now()) {
        KeyStanding::Good => "good",
        KeyStanding::Revoked => "revoked",
        KeyStanding::Expired => "expired",
    }
}

/// `sk_abcd…wxyz`; of an imported key nothing is known.
fn hint(key: &ApiKey) -> String {
    if key.prefix.is_empty() { "(imported)".to_owned() } else { format!("{}…{}", key.prefix, key.last_four) }
}

fn scopes(key: &ApiKey) -> String {
    key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

fn row(app: &App, key: &ApiKey) -> Vec<String> {
    let at = |at: Option<Timestamp>| at.map(Timestamp::to_text).unwrap_or_default();
    vec![
        key.id.as_str().to_owned(),
        key.user_id.as_str().to_owned(),
        key.name.clone(),
        hint(key),
        standing(app, key).to_owned(),
        scopes(key),
        at(key.expires_at),
        at(key.last_used_at),
    ]
}

/// A key as lists and files have it, with how it stands.
fn document(app: &App, key: &ApiKey) -> Value {
    let mut document = key_json(key);
    if let Value::Object(members) = &mut document {
        members.insert("standing".to_owned(), json!(standing(app, key)));
    }
    document
}

fn show(scene: &Scene, app: &App, key: &ApiKey) -> Result<(), CliFault> {
    scene.out.facts(&document(app, key), &facts(app, key))
}

fn facts(app: &App, key: &ApiKey) -> Vec<(&'static str, String)> {
    let at = |at: Option<Timestamp>| at.map(Timestamp::to_text).unwrap_or_default();
    vec![
        ("id", key.id.as_str().to_owned()),
        ("user", key.user_id.as_str().to_owned()),
        ("name", key.name.clone()),
        ("key", hint(key)),
        ("standing", standing(app, key).to_owned()),
        ("scopes", scopes(key)),
        ("rate", key.rate.map(|rate| rate.to_string()).unwrap_or_default()),
        ("created", at(Some(key.created_at))),
        ("expires", at(key.expires_at)),
        ("revoked", at(key.revoked_at)),
        ("last used", at(key.last_used_at)),
    ]
}

/// The one moment at which the key itself is shown.
fn issued(scene: &Scene, app: &App, issued: &Issued) -> Result<(), CliFault> {
    let mut document = document(app, &issued.key);
    if let Value::Object(members) = &mut document {
        members.insert("key".to_owned(), json!(issued.plain.expose()));
    }
    let mut facts = facts(app, &issued.key);
    facts.retain(|(name, _)| *name != "key");
    facts.insert(0, ("key", issued.plain.expose().to_owned()));
    scene.out.facts(&document, &facts)?;
    if !scene.out.is_json() {
        note("The key is shown this once: it is not kept.");
    }
    Ok(())
}
