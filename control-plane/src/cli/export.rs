//! `tollgate export`: writes what import reads, page by page. It must not know what is in a record.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Scene,
    fault::CliFault,
    import::{Progress, private_file, rate},
    output::note,
    store,
};
use crate::{
    app::App,
    domain::{KeyFilter, PageKey, UserFilter},
    service::{
        keys,
        transfer::{key_json, user_json},
        users,
    },
};

/// Records that are read at once.
const PAGE: usize = 500;

/// What to write.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every user, one a line. Tokens that Envoys have set aside at that moment are not in the balances.
    Users {
        #[command(flatten)]
        to: To,
        /// Write the hashes of passwords, too
        #[arg(long)]
        with_secrets: bool,
    },
    /// Every API key by its SHA-256, one a line, revoked and expired ones too.
    Keys(To),
}

/// Where to.
#[derive(Debug, Args)]
pub(super) struct To {
    /// A file, which only its owner can read; - is stdout
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Where records go, and how many went.
struct Sink {
    out: Box<dyn Write + Send>,
    count: u64,
    progress: Progress,
}

impl Sink {
    fn open(to: &To) -> Result<Self, CliFault> {
        let out: Box<dyn Write + Send> = match to.file == Path::new("-") {
            true => Box::new(BufWriter::new(io::stdout())),
            false => Box::new(BufWriter::new(private_file(&to.file)?)),
        };
        Ok(Self { out, count: 0, progress: Progress::new(None) })
    }

    fn put(&mut self, record: &Value) -> Result<(), CliFault> {
        writeln!(self.out, "{record}")?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn page(&mut self) {
        let count = self.count;
        self.progress.tell_of(0, || format!("{count} written"));
    }

    fn end(mut self, what: &str, began: Instant) -> Result<(), CliFault> {
        self.out.flush()?;
        self.progress.end();
        let seconds = began.elapsed().as_secs_f64();
        note(&format!("{} {what} in {seconds:.1} s ({} a second)", self.count, rate(self.count, seconds)));
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, command: Command) -> Result<(), CliFault> {
    let began = Instant::now();
    let (app, _) = store::open(scene).await?;
    match command {
        Command::Users { to, with_secrets } => {
            let mut sink = Sink::open(&to)?;
            all_users(&app, &mut sink, with_secrets).await?;
            sink.end("users", began)
        }
        Command::Keys(to) => {
            let mut sink = Sink::open(&to)?;
            all_keys(&app, &mut sink).await?;
            sink.end("keys", began)
        }
    }
}

async fn all_users(app: &App, sink: &mut Sink, with_secrets: bool) -> Result<(), CliFault> {
    let mut after: Option<PageKey> = None;
    loop {
        let (page, next) = users::search(app, &UserFilter::default(), after.as_ref(), PAGE).await?;
        for user in &page {
            sink.put(&user_json(user, with_secrets))?;
        }
        sink.page();
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn all_keys(app: &App, sink: &mut Sink) -> Result<(), CliFault> {
    let mut after: Option<PageKey> = None;
    loop {
        let (page, next) = keys::search(app, &KeyFilter::default(), after.as_ref(), PAGE).await?;
        for key in &page {
            sink.put(&key_json(key))?;
        }
        sink.page();
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}
