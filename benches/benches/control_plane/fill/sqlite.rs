//! Copies in a SQLite file, row by row in one transaction. It knows no column but those in which people differ.

use std::{fs::File, ops::Range, path::Path};

use rusqlite::{Connection, Result, params};

use super::First;
use crate::people;

/// Columns in which users differ, in the order in which they are given.
const OF_A_USER: [&str; 5] = ["id", "email", "clerk_id", "created_at", "updated_at"];
/// Columns in which keys differ.
const OF_A_KEY: [&str; 4] = ["id", "user_id", "hash", "created_at"];

/// Adds the people of these numbers. Nobody else may use the file meanwhile.
pub(crate) fn fill(file: &Path, first: &First, numbers: Range<u64>) -> Result<()> {
    let mut connection = Connection::open(file)?;
    // Nothing of it has to survive a crash, and indexes are written in scattered places: they have to fit into memory.
    for (name, value) in [("journal_mode", "OFF"), ("synchronous", "OFF"), ("cache_size", "-2000000")] {
        connection.pragma_update(None, name, value)?;
    }
    let made = "SELECT created_at FROM users WHERE id = ?1";
    let made: i64 = connection.query_row(made, [&first.user], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    {
        let mut users = transaction.prepare(&copying(&transaction, "users", &OF_A_USER)?)?;
        let mut keys = transaction.prepare(&copying(&transaction, "api_keys", &OF_A_KEY)?)?;
        for number in numbers {
            let (user, at) = (people::user_id(number), made + number as i64);
            users.execute(params![first.user, user, people::email(number), people::subject(number), at, at])?;
            keys.execute(params![first.key, people::key_id(number), user, people::key_hash(number).0, at])?;
        }
    }
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    drop(connection);
    // What is still on its way to the disk would be measured later.
    File::open(file).and_then(|file| file.sync_all()).expect("the file is on the disk");
    Ok(())
}

/// The statement that copies the row with the id `?1`; `own` are the columns of the copy that are given, from `?2` on.
fn copying(connection: &Connection, table: &str, own: &[&str]) -> Result<String> {
    let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let columns = columns.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
    let value = |column: &String| match own.iter().position(|own| own == column) {
        Some(place) => format!("?{}", place + 2),
        None => column.clone(),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Ok(format!("INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE id = ?1", columns.join(", "), values.join(", ")))
}
