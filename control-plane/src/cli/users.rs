//! `tollgate users`: search, make, change, sign out. It must not hold a rule about users.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Scene, ask,
    fault::CliFault,
    output::note,
    store::{self, user},
};
use crate::{
    app::App,
    domain::{Email, PageKey, Role, Subscription, Timestamp, User, UserFilter, UserPatch},
    service::{
        MAX_PAGE, sign_in,
        transfer::user_json,
        users::{self, NewUser},
    },
};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Users, newest first.
    List(List),
    /// One user.
    Get(Who),
    /// Make a user.
    Create(Create),
    /// Change what a profile shows.
    Set(Set),
    /// Let an account be used again.
    Activate(Who),
    /// Refuse an account at every Envoy, from now on.
    Deactivate(Sure),
    /// Change what a user is. The last active administrator stays one.
    SetRole {
        #[command(flatten)]
        who: Who,
        /// user, developer or admin
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Change what a user pays for.
    SetSubscription {
        #[command(flatten)]
        who: Who,
        /// free, pro or enterprise
        #[arg(value_parser = subscription)]
        subscription: Subscription,
    },
    /// Set the password of the older sign-in, and sign the user out everywhere. It is asked for, never an argument.
    SetPassword {
        #[command(flatten)]
        who: Who,
        /// Read it from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// End every session, and refuse every token issued up to now. API keys go on.
    SignOut(Sure),
}

/// Which user.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// Id or e-mail address
    #[arg(value_name = "USER")]
    pub(super) user: String,
}

/// Which user, and whether to ask.
#[derive(Debug, Args)]
pub(super) struct Sure {
    #[command(flatten)]
    who: Who,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Which users.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The id, the Clerk id, or how the e-mail address begins
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// user, developer or admin
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// free, pro or enterprise
    #[arg(long, value_parser = subscription)]
    subscription: Option<Subscription>,
    /// Only accounts that may be used
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Only accounts that may not be used
    #[arg(long)]
    inactive: bool,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Who is to be made.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// E-mail address
    email: String,
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// The address is known to be theirs
    #[arg(long)]
    verified: bool,
    /// user, developer or admin
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// free, pro or enterprise
    #[arg(long, value_parser = subscription)]
    subscription: Option<Subscription>,
}

/// What is to be changed. An empty text takes a member away.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    who: Who,
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// About the user
    #[arg(long)]
    bio: Option<String>,
    /// The user's site
    #[arg(long)]
    website: Option<String>,
    /// Address of a picture
    #[arg(long)]
    profile_image: Option<String>,
    /// Most tokens in a billing month; "none": no limit
    #[arg(long, value_name = "TOKENS")]
    monthly_limit: Option<String>,
}

pub(super) fn role(word: &str) -> Result<Role, String> {
    Role::from_word(word).ok_or_else(|| "must be user, developer or admin".to_owned())
}

pub(super) fn subscription(word: &str) -> Result<Subscription, String> {
    Subscription::from_word(word).ok_or_else(|| "must be free, pro or enterprise".to_owned())
}

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, command: Command) -> Result<(), CliFault> {
    let (app, config) = store::open(scene).await?;
    match command {
        Command::List(args) => list(scene, &app, args).await,
        Command::Get(who) => show(scene, &user(&app, &who.user).await?),
        Command::Create(args) => create(scene, &app, args).await,
        Command::Set(args) => set(scene, &app, args).await,
        Command::Activate(who) => {
            let patch = UserPatch { is_active: Some(true), ..UserPatch::default() };
            change(scene, &app, &who, patch).await
        }
        Command::Deactivate(Sure { who, yes }) => {
            ask::confirm(&format!("Refuse {} at every Envoy?", who.user), yes)?;
            let patch = UserPatch { is_active: Some(false), ..UserPatch::default() };
            change(scene, &app, &who, patch).await
        }
        Command::SetRole { who, role } => {
            change(scene, &app, &who, UserPatch { role: Some(role), ..UserPatch::default() }).await
        }
        Command::SetSubscription { who, subscription } => {
            change(scene, &app, &who, UserPatch { subscription: Some(subscription), ..UserPatch::default() }).await
        }
        Command::SetPassword { who, password_stdin } => {
            let user = user(&app, &who.user).await?;
            let password = ask::new_password(password_stdin).await?;
            sign_in::set_password(&app, &user.id, config.password_cost, &password).await?;
            said(scene, &user, "has a new password, and is signed out everywhere")
        }
        Command::SignOut(Sure { who, yes }) => {
            let user = user(&app, &who.user).await?;
            ask::confirm(&format!("Sign {} out everywhere?", who.user), yes)?;
            sign_in::sign_out(&app, &user.id).await?;
            said(scene, &user, "is signed out everywhere")
        }
    }
}

async fn list(scene: &Scene, app: &App, args: List) -> Result<(), CliFault> {
    let is_active = match (args.active, args.inactive) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let text = args.text.map(|text| if text.contains('@') { text.to_ascii_lowercase() } else { text });
    let filter = UserFilter { text, role: args.role, is_active, subscription: args.subscription };
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut after: Option<PageKey> = None;
    let mut rows = Vec::new();
    loop {
        let (page, next) = users::search(app, &filter, after.as_ref(), left.min(MAX_PAGE)).await?;
        left = left.saturating_sub(page.len());
        for user in &page {
            if scene.out.is_json() {
                scene.out.json(&user_json(user, false))?;
            } else {
                rows.push(row(user));
            }
        }
        after = next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    if !scene.out.is_json() {
        let headers = ["id", "email", "name", "role", "subscription", "active", "tokens", "created"];
        scene.out.table(&headers, &rows)?;
        if after.is_some() {
            note(&format!("{} shown, there are more: --limit N or --all", rows.len()));
        }
    }
    Ok(())
}

fn row(user: &User) -> Vec<String> {
    vec![
        user.id.as_str().to_owned(),
        user.email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default(),
        user.name.clone().unwrap_or_default(),
        user.role.as_str().to_owned(),
        user.subscription.as_str().to_owned(),
        yes_no(user.is_active),
        user.tokens_remaining.to_string(),
        day(user.created_at),
    ]
}

pub(super) fn yes_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
}

fn day(at: Timestamp) -> String {
    at.to_text().chars().take(10).collect()
}

/// What is shown of one user: the members of the document, and whether there is a password.
fn document(user: &User) -> Value {
    let mut document = user_json(user, false);
    if let Value::Object(members) = &mut document {
        members.insert("has_password".to_owned(), json!(user.password_hash.is_some()));
    }
    document
}

fn show(scene: &Scene, user: &User) -> Result<(), CliFault> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let at = |at: Option<Timestamp>| at.map(Timestamp::to_text).unwrap_or_default();
    let email = user.email.as_ref().map(Email::as_str).unwrap_or_default();
    let verified = if user.email_verified { " (verified)" } else { "" };
    let links: Vec<String> =
        user.social_links.iter().map(|(name, link)| format!("{name} {}", link.as_str().unwrap_or_default())).collect();
    let facts = [
        ("id", user.id.as_str().to_owned()),
        ("email", if email.is_empty() { String::new() } else { format!("{email}{verified}") }),
        ("name", text(&user.name)),
        ("role", user.role.as_str().to_owned()),
        ("active", yes_no(user.is_active)),
        ("subscription", user.subscription.as_str().to_owned()),
        ("clerk id", user.clerk.as_ref().map(|clerk| format!("{} at {}", clerk.id, clerk.issuer)).unwrap_or_default()),
        ("password", if user.password_hash.is_some() { "set" } else { "none" }.to_owned()),
        ("tokens left", user.tokens_remaining.to_string()),
        ("tokens used", user.tokens_used.to_string()),
        ("monthly limit", user.monthly_limit.map(|limit| limit.to_string()).unwrap_or_default()),
        ("stripe customer", text(&user.stripe_customer_id)),
        ("bio", text(&user.bio)),
        ("website", text(&user.website)),
        ("profile image", text(&user.profile_image)),
        ("social links", links.join(", ")),
        ("created", at(Some(user.created_at))),
        ("changed", at(Some(user.updated_at))),
        ("last login", at(user.last_login_at)),
        ("last logout", at(user.last_logout_at)),
    ];
    scene.out.facts(&document(user), &facts)
}

async fn create(scene: &Scene, app: &App, args: Create) -> Result<(), CliFault> {
    let new = NewUser { email: Some(args.email), email_verified: args.verified, name: args.name };
    let mut user = users::create(app, &new).await?;
    if args.role.is_some() || args.subscription.is_some() {
        let patch = UserPatch { role: args.role, subscription: args.subscription, ..UserPatch::default() };
        user = users::update(app, &user.id, &patch, None).await?;
    }
    show(scene, &user)
}

async fn set(scene: &Scene, app: &App, args: Set) -> Result<(), CliFault> {
    let text = |text: Option<String>| text.map(|text| Some(text).filter(|text| !text.is_empty()));
    let limit = |text: String| match text.as_str() {
        "none" => Ok(None),
        number => number.parse().map(Some),
    };
    let monthly_limit = args.monthly_limit.map(limit).transpose();
    let monthly_limit =
        monthly_limit.map_err(|_| CliFault::Usage("--monthly-limit must be a whole number, or none".to_owned()))?;
    let patch = UserPatch {
        name: text(args.name),
        bio: text(args.bio),
        website: text(args.website),
        profile_image: text(args.profile_image),
        monthly_limit,
        ..UserPatch::default()
    };
    if patch == UserPatch::default() {
        return Err(CliFault::Usage("nothing to change: see tollgate users set --help".to_owned()));
    }
    change(scene, app, &args.who, patch).await
}

async fn change(scene: &Scene, app: &App, who: &Who, patch: UserPatch) -> Result<(), CliFault> {
    let found = user(app, &who.user).await?;
    show(scene, &users::update(app, &found.id, &patch, None).await?)
}

fn said(scene: &Scene, user: &User, what: &str) -> Result<(), CliFault> {
    scene.out.said(&json!({ "id": user.id.as_str(), "done": true }), &format!("{} {what}", user.id))
}
