//! `tollgate import`: reads a file, says how far it is, and reports every line that could not be taken over. It must not
//! know what a line means.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Scene, fault::CliFault, output::note, store};
use crate::{
    app::App,
    service::transfer::{Fate, Import, Kind, Lines},
    store::Imported,
};

/// What to take over.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Users: the members of the user document, plain or as mongoexport writes them, one user a line. Passwords come as
    /// their bcrypt or Argon2 hashes. Who is there is found by _id, or else by clerk_id or email.
    Users {
        #[command(flatten)]
        file: FileArgs,
        /// Change those who are there to what the file says (balances stay; see tollgate tokens adjust)
        #[arg(long)]
        update: bool,
        /// Issuer of the Clerk ids that name none [default: the one of CLERK_ISSUER or CLERK_PUBLISHABLE_KEY]
        #[arg(long, value_name = "URL")]
        clerk_issuer: Option<String>,
    },
    /// API keys, by their SHA-256, one key a line.
    Keys(FileArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// JSON lines; - is stdin
    file: PathBuf,
    /// Write the bad lines there: {"line": …, "problem": …, "text": …}
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// How often progress is told where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, command: Command) -> Result<(), CliFault> {
    let (app, config) = store::open(scene).await?;
    let (file, kind) = match command {
        Command::Users { file, update, clerk_issuer } => {
            (file, Kind::Users { update, clerk_issuer: clerk_issuer.or_else(|| config.clerk_issuer.clone()) })
        }
        Command::Keys(file) => (file, Kind::Keys),
    };
    records(scene, app, &file, kind).await
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Counts {
    added: u64,
    updated: u64,
    unchanged: u64,
    bad: u64,
}

impl Counts {
    fn sum(&self) -> u64 {
        self.added.saturating_add(self.updated).saturating_add(self.unchanged).saturating_add(self.bad)
    }
}

/// Takes the records of a file over.
///
/// # Errors
/// [`CliFault::Refused`] where lines were bad; all others are taken over then.
pub(super) async fn records(scene: &Scene, app: App, args: &FileArgs, kind: Kind) -> Result<(), CliFault> {
    let began = Instant::now();
    let (reader, size) = open(&args.file)?;
    let mut lines = Lines::new(reader);
    let mut import = Import::new(app, kind);
    let mut desk = Desk {
        counts: Counts::default(),
        rejects: rejects(args)?,
        texts: HashMap::new(),
        progress: Progress::new(size),
    };
    while let Some((number, line)) = lines.next_line().map_err(|error| CliFault::file(&args.file, &error))? {
        let fates = match line {
            Ok(text) => {
                let fates = import.line(number, &text).await?;
                desk.keep(number, text);
                fates
            }
            Err(problem) => vec![(number, Fate::Bad(problem.to_owned()))],
        };
        desk.book(fates)?;
        desk.progress.tell(lines.bytes(), &desk.counts);
    }
    desk.book(import.flush().await?)?;
    desk.end(scene, began)
}

fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), CliFault> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).map_err(|error| CliFault::file(path, &error))?;
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), size))
}

/// Bad lines may hold hashes of passwords: only their owner may read them.
fn rejects(args: &FileArgs) -> Result<Option<BufWriter<File>>, CliFault> {
    let Some(path) = &args.rejects else { return Ok(None) };
    private_file(path).map(|file| Some(BufWriter::new(file)))
}

/// A new file, which only its owner may read.
pub(super) fn private_file(path: &Path) -> Result<File, CliFault> {
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    made.map_err(|error| CliFault::file(path, &error))
}

/// Books what became of the lines.
struct Desk {
    counts: Counts,
    rejects: Option<BufWriter<File>>,
    texts: HashMap<u64, String>,
    progress: Progress,
}

impl Desk {
    /// Keeps a line until it is known what became of it.
    fn keep(&mut self, number: u64, text: String) {
        if self.rejects.is_some() {
            self.texts.insert(number, text);
        }
    }

    fn book(&mut self, fates: Vec<(u64, Fate)>) -> Result<(), CliFault> {
        for (number, fate) in fates {
            let text = self.texts.remove(&number);
            let counts = &mut self.counts;
            let count = match &fate {
                Fate::Good(Imported::Added) => &mut counts.added,
                Fate::Good(Imported::Updated) => &mut counts.updated,
                Fate::Good(_) => &mut counts.unchanged,
                Fate::Bad(_) => &mut counts.bad,
            };
            *count = count.saturating_add(1);
            if let Fate::Bad(problem) = fate {
                self.progress.say(&format!("line {number}: {problem}"));
                if let Some(rejects) = &mut self.rejects {
                    writeln!(rejects, "{}", json!({ "line": number, "problem": problem, "text": text }))?;
                }
            }
        }
        Ok(())
    }

    fn end(mut self, scene: &Scene, began: Instant) -> Result<(), CliFault> {
        self.progress.end();
        if let Some(rejects) = &mut self.rejects {
            rejects.flush()?;
        }
        let counts = &self.counts;
        let seconds = began.elapsed().as_secs_f64();
        let document = json!({
            "lines": counts.sum(), "added": counts.added, "updated": counts.updated, "unchanged": counts.unchanged,
            "bad": counts.bad, "seconds": seconds,
        });
        let facts = [
            ("lines", counts.sum().to_string()),
            ("added", counts.added.to_string()),
            ("updated", counts.updated.to_string()),
            ("there already", counts.unchanged.to_string()),
            ("bad", counts.bad.to_string()),
            ("time", format!("{seconds:.1} s, {} lines a second", rate(counts.sum(), seconds))),
        ];
        scene.out.facts(&document, &facts)?;
        match counts.bad {
            0 => Ok(()),
            bad => Err(CliFault::Refused(format!(
                "{bad} of {} lines could not be taken over: mend them and import them again",
                counts.sum()
            ))),
        }
    }
}

/// Records in a second, for people.
pub(super) fn rate(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds.max(0.001)) as u64
}

/// Says how far it is: a bar at a terminal, else a line every few seconds.
pub(super) struct Progress {
    bar: ProgressBar,
    size: Option<u64>,
    told: Instant,
}

impl Progress {
    /// Begins. `size`: of the file in bytes, where it is known.
    pub(super) fn new(size: Option<u64>) -> Self {
        let bar = match size {
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::no_length(),
        };
        let form = if size.is_some() { "{bar:30} {percent}%  {msg}  {eta} left" } else { "{spinner} {bytes}  {msg}" };
        // A form that indicatif does not understand would cost the look of the bar, nothing else.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        Self { bar, size, told: Instant::now() }
    }

    fn tell(&mut self, bytes: u64, counts: &Counts) {
        let message = || format!("{} lines, {} bad", counts.sum(), counts.bad);
        self.tell_of(bytes, message);
    }

    /// Says how far it is, now and then.
    pub(super) fn tell_of(&mut self, bytes: u64, message: impl Fn() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(bytes);
            self.bar.set_message(message());
        } else if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let share = self.size.and_then(|size| bytes.saturating_mul(100).checked_div(size));
            let share = share.map(|percent| format!(" ({percent}%)")).unwrap_or_default();
            note(&format!("{}{share}", message()));
        }
    }

    /// Says something beside the bar.
    fn say(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
