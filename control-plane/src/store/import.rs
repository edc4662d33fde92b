//! Many users and keys of a file at once, as every kind of store takes them over. What becomes of each one is decided
//! here, from what is there; a store brings that together and writes, in one transaction. It must not read a file.

use async_trait::async_trait;

use super::{Conflict, StoreError};
use crate::domain::{ApiKey, ImportedUser, Stamp, Timestamp, User};

/// Taking over users and keys.
#[async_trait]
pub trait ImportStore: Send + Sync {
    /// Takes users over, all in one transaction, and says for each what became of it. Those who are there stay as they
    /// are, or, with `update`, get what the file names but for balances. No two of them may be the same user.
    /// [`StoreError::Conflict`] where somebody else was quicker with one of them: none was taken over.
    async fn import_users(
        &self,
        users: &[ImportedUser],
        update: bool,
        stamp: &Stamp,
    ) -> Result<Vec<Imported>, StoreError>;

    /// Takes keys over, by hash, all in one transaction, and says for each what became of it. Those that are there stay
    /// as they are. [`StoreError::Conflict`] as above.
    async fn import_keys(&self, keys: &[ApiKey], stamp: &Stamp) -> Result<Vec<Imported>, StoreError>;
}

/// What became of one record of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is new.
    Added,
    /// It was there, and what the file says is in it now.
    Updated,
    /// It was there, and has not been touched.
    Unchanged,
    /// It contradicts another one.
    Refused(Conflict),
    /// The user of the key does not exist.
    NoUser,
}

/// What is to be done with one user.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nobody like this is there.
    Add,
    /// This one becomes that one.
    Change(Box<(User, User)>),
    /// Nothing.
    Leave,
    /// It contradicts another one.
    Refuse(Conflict),
}

/// Decides about one user. `others`: everybody with the same id, address or Clerk id.
pub(super) fn plan(imported: &ImportedUser, others: &[User], update: bool, at: Timestamp) -> Plan {
    let found = imported.find(others);
    if found.is_some() && !update {
        return Plan::Leave;
    }
    let mut strangers = others.iter().filter(|other| found.is_none_or(|found| found.id != other.id));
    for other in strangers.by_ref() {
        if other.id == imported.user.id {
            return Plan::Refuse(Conflict::Id);
        }
        if imported.shares_email(other) {
            return Plan::Refuse(Conflict::Email);
        }
        if imported.shares_clerk(other) {
            return Plan::Refuse(Conflict::ClerkIdentity);
        }
    }
    match found {
        None => Plan::Add,
        Some(there) => match imported.merged(there, at) {
            Some(changed) => Plan::Change(Box::new((there.clone(), changed))),
            None => Plan::Leave,
        },
    }
}
