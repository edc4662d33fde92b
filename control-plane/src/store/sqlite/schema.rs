//! Tables and how they came to be: each step is one transaction, numbered by `user_version`. A step that has been
//! released is never changed.

use rusqlite::{Connection, TransactionBehavior};

use super::{fault, feed};
use crate::{random, store::StoreError};

const STEPS: &[&str] = &[
    // 1: users, keys, feed, last good key sets, own secrets.
    "CREATE TABLE users (
        id TEXT PRIMARY KEY NOT NULL,
        email TEXT UNIQUE CHECK (email <> ''),
        password_hash TEXT,
        name TEXT,
        role TEXT NOT NULL,
        is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
        clerk_issuer TEXT,
        clerk_id TEXT,
        first_name TEXT,
        last_name TEXT,
        email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
        tokens_remaining INTEGER NOT NULL,
        tokens_used INTEGER NOT NULL,
        monthly_limit INTEGER,
        subscription TEXT NOT NULL,
        stripe_customer_id TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        last_login_at INTEGER,
        last_logout_at INTEGER,
        bio TEXT,
        website TEXT,
        profile_image TEXT,
        social_links TEXT NOT NULL,
        extra TEXT NOT NULL,
        CHECK ((clerk_issuer IS NULL) = (clerk_id IS NULL))
    ) STRICT;
    CREATE UNIQUE INDEX users_clerk ON users (clerk_issuer, clerk_id) WHERE clerk_id IS NOT NULL;
    CREATE INDEX users_role ON users (role);
    CREATE INDEX users_created ON users (created_at);

    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY NOT NULL,
        user_id TEXT NOT NULL REFERENCES users (id),
        name TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
        last_four TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        revoked_at INTEGER,
        last_used_at INTEGER
    ) STRICT;
    CREATE INDEX api_keys_user ON api_keys (user_id, created_at);

    CREATE TABLE feed (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE key_sets (
        issuer TEXT PRIMARY KEY NOT NULL,
        document TEXT NOT NULL,
        fetched_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;
    CREATE TABLE secrets (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT;",
    // 2: the log of changes. Settings are compared by digest now and no longer told in the feed.
    "CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        before TEXT,
        after TEXT,
        request_id TEXT
    ) STRICT;
    CREATE INDEX audit_subject ON audit (subject, id);
    CREATE INDEX audit_actor ON audit (actor, id);
    DELETE FROM feed WHERE kind = 'settings';",
    // 3: how a key begins, and how often it may be used.
    "ALTER TABLE api_keys ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
    ALTER TABLE api_keys ADD COLUMN rate TEXT;
    CREATE INDEX api_keys_created ON api_keys (created_at, id);
    DROP INDEX users_created;
    CREATE INDEX users_created ON users (created_at, id);",
    // 4: the ledger, reservations, counted use. Entries outlive their users, so nothing here refers to one.
    "ALTER TABLE users ADD COLUMN tokens_reserved INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN tokens_month_start INTEGER;
    ALTER TABLE users ADD COLUMN tokens_month_used INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN tokens_seq INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE ledger (
        user_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        key TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        amount INTEGER NOT NULL,
        used INTEGER NOT NULL,
        uncovered INTEGER NOT NULL,
        balance INTEGER NOT NULL,
        lease TEXT,
        note TEXT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        PRIMARY KEY (user_id, seq)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE reservations (
        id TEXT PRIMARY KEY NOT NULL,
        user_id TEXT NOT NULL,
        node TEXT NOT NULL,
        amount INTEGER NOT NULL,
        used INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        is_open INTEGER NOT NULL CHECK (is_open IN (0, 1)),
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX reservations_expiring ON reservations (expires_at) WHERE is_open = 1;
    CREATE INDEX reservations_open ON reservations (user_id) WHERE is_open = 1;

    CREATE TABLE usage_batches (
        node TEXT NOT NULL,
        number INTEGER NOT NULL,
        answer TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (node, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_batches_at ON usage_batches (at);

    CREATE TABLE usage_daily (
        user_id TEXT NOT NULL,
        day TEXT NOT NULL,
        key_id TEXT NOT NULL,
        requests INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        PRIMARY KEY (user_id, day, key_id)
    ) STRICT, WITHOUT ROWID;",
    // 5: sessions of the older sign-in, and revocations of every kind.
    "CREATE TABLE sessions (
        id TEXT PRIMARY KEY NOT NULL,
        user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        refreshed_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        access_until INTEGER NOT NULL,
        family BLOB NOT NULL UNIQUE CHECK (length(family) = 32),
        current BLOB NOT NULL CHECK (length(current) = 32),
        previous BLOB CHECK (length(previous) = 32),
        previous_used_at INTEGER,
        address TEXT,
        user_agent TEXT
    ) STRICT;
    CREATE INDEX sessions_user ON sessions (user_id, refreshed_at);
    CREATE INDEX sessions_expiry ON sessions (expires_at);
    CREATE TABLE revocations (
        what TEXT NOT NULL,
        issuer TEXT NOT NULL,
        id TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (what, issuer, id)
    ) STRICT;
    CREATE INDEX revocations_until ON revocations (until);",
    // 6: events of Clerk that were taken, and what Clerk last said of its users.
    "CREATE TABLE deliveries (
        issuer TEXT NOT NULL,
        id TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (issuer, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deliveries_at ON deliveries (at);
    CREATE TABLE clerk_users (
        issuer TEXT NOT NULL,
        id TEXT NOT NULL,
        updated_at INTEGER,
        deleted_at INTEGER,
        name TEXT,
        image TEXT,
        barred INTEGER NOT NULL CHECK (barred IN (0, 1)),
        PRIMARY KEY (issuer, id)
    ) STRICT, WITHOUT ROWID;",
    // 7: the rules for routes.
    "CREATE TABLE policy (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        version INTEGER NOT NULL,
        text TEXT NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL
    ) STRICT;",
    // 8: what rules that are only watched would have refused, and the last batch of each node that told of it.
    "CREATE TABLE watched (
        route TEXT NOT NULL,
        code TEXT NOT NULL,
        count INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        samples TEXT NOT NULL,
        PRIMARY KEY (route, code)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE watched_nodes (
        node TEXT PRIMARY KEY NOT NULL,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX watched_nodes_at ON watched_nodes (at);",
];

/// Brings the schema up to date. Returns the store's epoch and the feed's newest number.
pub(super) fn prepare(connection: &mut Connection) -> Result<(String, u64), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    // One transaction over all steps: of two processes that start at once, the second finds the work done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(fault)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(fault)?;
    let fresh = random::id("").map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    transaction.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?1)", [fresh]).map_err(fault)?;
    let epoch =
        transaction.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0)).map_err(fault)?;
    let seq = feed::newest(&transaction)?;
    transaction.commit().map_err(fault)?;
    Ok((epoch, seq))
}
