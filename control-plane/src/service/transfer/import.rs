//! Takes records of a file over, many at a time. Running it again over the same file adds nothing: who is there is found
//! by id, Clerk id or address, keys by their hash. It must not read a file.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use sha2::{Digest as _, Sha256};

use super::{
    keys::{self, Owner, ReadKey},
    users,
};
use crate::{
    app::App,
    domain::{ApiKey, Email, ImportedUser, KeyId, Timestamp, UserId},
    random,
    service::ServiceError,
    store::{Imported, StoreError},
};

/// Most records of one transaction.
const MAX_RECORDS: usize = 500;
/// Most bytes of one transaction.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    Users {
        /// Whether those who are there get what the file says.
        update: bool,
        /// Whose the Clerk ids are that name no issuer.
        clerk_issuer: Option<String>,
    },
    /// API keys.
    Keys,
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was taken over, or was there already.
    Good(Imported),
    /// It cannot be taken over: why.
    Bad(String),
}

enum Record {
    User(Box<ImportedUser>),
    Key(Box<ReadKey>),
}

/// A file being taken over.
pub struct Import {
    app: App,
    kind: Kind,
    waiting: Vec<(u64, Record)>,
    bytes: usize,
    /// Where each name of the file (id, address, Clerk id, hash) stood first: by half of its SHA-256.
    seen: HashMap<u128, u64>,
}

impl core::fmt::Debug for Import {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Import").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Import {
    /// Begins.
    pub fn new(app: App, kind: Kind) -> Self {
        Self { app, kind, waiting: Vec::new(), bytes: 0, seen: HashMap::new() }
    }

    /// Takes a line in. Gives the fates that are known by now: lines wait until there are enough for a transaction.
    ///
    /// # Errors
    /// The store fails. What was taken over by then stays; the same file can be given again.
    pub async fn line(&mut self, number: u64, line: &str) -> Result<Vec<(u64, Fate)>, ServiceError> {
        let now = self.app.clock.now();
        match self.read(line, now)? {
            Ok(record) => match self.first_of_its_names(number, &record) {
                Ok(()) => {
                    self.bytes = self.bytes.saturating_add(line.len());
                    self.waiting.push((number, record));
                }
                Err(problem) => return Ok(vec![(number, Fate::Bad(problem))]),
            },
            Err(faults) => return Ok(vec![(number, Fate::Bad(faults.join("; ")))]),
        }
        if self.waiting.len() >= MAX_RECORDS || self.bytes >= MAX_BYTES { self.flush().await } else { Ok(Vec::new()) }
    }

    fn read(&self, line: &str, now: Timestamp) -> Result<Result<Record, Vec<String>>, ServiceError> {
        Ok(match &self.kind {
            Kind::Users { clerk_issuer, .. } => {
                let fresh = UserId::new(random::id("usr_")?);
                users::read(line, clerk_issuer.as_deref(), fresh, now).map(|user| Record::User(Box::new(user)))
            }
            Kind::Keys => {
                let fresh = KeyId::new(random::id("key_")?);
                keys::read(line, fresh, now).map(|key| Record::Key(Box::new(key)))
            }
        })
    }

    /// Two lines for one user contradict each other, or one is too many: the first one counts.
    fn first_of_its_names(&mut self, number: u64, record: &Record) -> Result<(), String> {
        let names: Vec<(&str, String)> = match record {
            Record::User(imported) => {
                let user = &imported.user;
                let id = imported.has_id.then(|| ("_id", user.id.as_str().to_owned()));
                let email = user.email.as_ref().map(|email| ("email", email.as_str().to_owned()));
                let clerk = user.clerk.as_ref().map(|clerk| ("clerk_id", format!("{}\n{}", clerk.issuer, clerk.id)));
                [id, email, clerk].into_iter().flatten().collect()
            }
            Record::Key(read) => vec![("sha256", read.key.hash.to_string())],
        };
        let marks: Vec<(&str, u128)> = names.iter().map(|(what, name)| (*what, mark(what, name))).collect();
        if let Some((what, line)) = marks.iter().find_map(|(what, mark)| Some((what, self.seen.get(mark)?))) {
            return Err(format!("{what} stands in line {line} already"));
        }
        self.seen.extend(marks.into_iter().map(|(_, mark)| (mark, number)));
        Ok(())
    }

    /// Takes over what still waits.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn flush(&mut self) -> Result<Vec<(u64, Fate)>, ServiceError> {
        self.bytes = 0;
        let waiting = core::mem::take(&mut self.waiting);
        let (mut numbers, mut users, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (number, record) in waiting {
            match record {
                Record::User(user) => {
                    numbers.push(number);
                    users.push(*user);
                }
                Record::Key(key) => keys.push((number, *key)),
            }
        }
        let mut fates = self.flush_users(numbers, &users).await?;
        fates.extend(self.flush_keys(keys).await?);
        Ok(fates)
    }

    async fn flush_users(&self, numbers: Vec<u64>, users: &[ImportedUser]) -> Result<Vec<(u64, Fate)>, ServiceError> {
        let update = matches!(self.kind, Kind::Users { update: true, .. });
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = match self.app.store.import_users(users, update, &self.app.stamp()).await {
            Ok(outcomes) => outcomes,
            // Somebody else was quicker with one of them: each by itself.
            Err(StoreError::Conflict(_)) => {
                let mut outcomes = Vec::new();
                for user in users {
                    let one = self.app.store.import_users(core::slice::from_ref(user), update, &self.app.stamp()).await;
                    outcomes.extend(refused(one)?);
                }
                outcomes
            }
            Err(error) => return Err(error.into()),
        };
        Ok(numbers.into_iter().zip(outcomes.into_iter().map(fate)).collect())
    }

    async fn flush_keys(&self, read: Vec<(u64, ReadKey)>) -> Result<Vec<(u64, Fate)>, ServiceError> {
        let mut owners: BTreeMap<Email, Option<UserId>> = BTreeMap::new();
        let (mut fates, mut numbers, mut keys) = (Vec::new(), Vec::new(), Vec::<ApiKey>::new());
        for (number, ReadKey { mut key, owner }) in read {
            if let Owner::Email(email) = owner {
                let found = match owners.entry(email) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => {
                        let user = self.app.store.user_by_email(new.key()).await?;
                        new.insert(user.map(|user| user.id)).clone()
                    }
                };
                match found {
                    Some(id) => key.user_id = id,
                    None => {
                        fates.push((number, fate(Imported::NoUser)));
                        continue;
                    }
                }
            }
            numbers.push(number);
            keys.push(key);
        }
        if keys.is_empty() {
            return Ok(fates);
        }
        let outcomes = match self.app.store.import_keys(&keys, &self.app.stamp()).await {
            Ok(outcomes) => outcomes,
            Err(StoreError::Conflict(_)) => {
                let mut outcomes = Vec::new();
                for key in &keys {
                    let one = self.app.store.import_keys(core::slice::from_ref(key), &self.app.stamp()).await;
                    outcomes.extend(refused(one)?);
                }
                outcomes
            }
            Err(error) => return Err(error.into()),
        };
        fates.extend(numbers.into_iter().zip(outcomes.into_iter().map(fate)));
        Ok(fates)
    }
}

fn refused(one: Result<Vec<Imported>, StoreError>) -> Result<Vec<Imported>, StoreError> {
    match one {
        Err(StoreError::Conflict(conflict)) => Ok(vec![Imported::Refused(conflict)]),
        other => other,
    }
}

fn fate(outcome: Imported) -> Fate {
    match outcome {
        Imported::Refused(conflict) => Fate::Bad(conflict.to_string()),
        Imported::NoUser => Fate::Bad("its user does not exist".to_owned()),
        good => Fate::Good(good),
    }
}

fn mark(what: &str, name: &str) -> u128 {
    let hash: [u8; 32] = Sha256::digest(format!("{what}\n{name}").as_bytes()).into();
    hash.iter().take(16).fold(0, |mark, byte| (mark << 8) | u128::from(*byte))
}
