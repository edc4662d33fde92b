//! Fills a store with people, each with a key. The first one is made by the control plane's own services; all others are
//! copies of what these wrote, but for what tells people apart. So they have the shape that the program itself writes,
//! whatever that is, and a million of them take a minute. They are not in the log of changes. It must not know what is
//! measured.

pub(crate) mod mongodb;
pub(crate) mod sqlite;

use tollgate::{
    app::App,
    service::{
        keys::{self, NewKey},
        resolve::resolve,
        users,
    },
};

use crate::people;

/// Far from every number that is asked about.
const FIRST: u64 = u64::MAX;

/// Whom all others are copies of.
#[derive(Debug, Clone)]
pub(crate) struct First {
    /// Id of the user.
    pub(crate) user: String,
    /// Id of the key.
    pub(crate) key: String,
}

impl First {
    /// Makes them: an account with an address that is linked to its Clerk user, and a key.
    pub(crate) async fn make(app: &App) -> Self {
        let user = users::ensure(app, &people::email(FIRST), true, Some("A Name")).await.expect("a user");
        resolve(app, &people::clerk(FIRST)).await.expect("linked");
        let new = NewKey { name: "editor".into(), scopes: vec!["read".into()], expires_at: None, rate: None };
        let issued = keys::issue(app, &user.id, &new).await.expect("a key");
        Self { user: user.id.as_str().to_owned(), key: issued.key.id.as_str().to_owned() }
    }
}
