//! Users and keys from files of JSON lines and into such files. What is written here is read here again as the same; what
//! `mongoexport` writes is read, too. It must not open a file.

mod fields;
mod import;
mod keys;
mod lines;
mod users;

pub use import::{Fate, Import, Kind};
pub use keys::to_json as key_json;
pub use lines::{Lines, MAX_LINE};
pub use users::to_json as user_json;
