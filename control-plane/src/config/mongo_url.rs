//! The address of a MongoDB: checked by its form, and told without what it holds. It must not look anything up.

use super::Secret;

/// A `mongodb://` or `mongodb+srv://` address with a database. It may hold a password: only the hosts and the database
/// are ever shown.
#[derive(Clone)]
pub struct MongoUrl {
    url: Secret,
    hosts: String,
    database: String,
}

impl MongoUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong, for the operator; never a part of what was given before its `@`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("mongodb://").or_else(|| text.strip_prefix("mongodb+srv://"));
        let rest = rest.ok_or("must be mongodb://HOST/DB or mongodb+srv://HOST/DB")?;
        let (before_options, _) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold anything but '/', '?' and '@' as such: those are written %2F, %3F and %40.
        let (authority, database) =
            before_options.split_once('/').ok_or("names no database: write mongodb://HOST/DB")?;
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        if hosts.is_empty() || hosts.split(',').any(str::is_empty) {
            return Err("names no host: write mongodb://HOST/DB".to_owned());
        }
        if database.is_empty() {
            return Err("names no database: write mongodb://HOST/DB".to_owned());
        }
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if database.len() > 63 || !database.bytes().all(fine) {
            return Err("the database's name may have 63 letters, digits, '_' and '-'".to_owned());
        }
        if matches!(database, "admin" | "local" | "config") {
            return Err("the databases admin, local and config belong to MongoDB itself".to_owned());
        }
        Ok(Self { url: Secret::new(text), hosts: hosts.to_owned(), database: database.to_owned() })
    }

    /// The whole address, with its password: only for the driver.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl PartialEq for MongoUrl {
    fn eq(&self, other: &Self) -> bool {
        self.url.is(other.url.expose().as_bytes())
    }
}

impl Eq for MongoUrl {}

/// Hosts and database, without user, password and options.
impl core::fmt::Display for MongoUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "mongodb://{}/{}", self.hosts, self.database)
    }
}

impl core::fmt::Debug for MongoUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MongoUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_hosts_and_database_only() {
        let url = MongoUrl::parse("mongodb://tollgate:hunter2%40@a.test:27017,b.test/people?replicaSet=rs0").unwrap();
        assert_eq!((url.database(), url.to_string().as_str()), ("people", "mongodb://a.test:27017,b.test/people"));
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(MongoUrl::parse("mongodb+srv://u:p@cluster.test/people").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (bad, said) in [
            ("mongodb://u:hunter2@a.test", "names no database"),
            ("mongodb://u:hunter2@a.test/", "names no database"),
            ("mongodb://u:hunter2@a.test?w=1", "names no database"),
            ("mongodb://u:hunter2@a.test/?replicaSet=rs0", "names no database"),
            ("mongodb://u:hunter2@/people", "names no host"),
            ("mongodb://a.test,/people", "names no host"),
            ("mongodb://u:hunter2@a.test/a.b", "63 letters"),
            ("mongodb://u:hunter2@a.test/admin", "belong to MongoDB"),
            ("http://u:hunter2@a.test/people", "must be mongodb://"),
        ] {
            let fault = MongoUrl::parse(bad).unwrap_err();
            assert!(fault.contains(said) && !fault.contains("hunter2"), "{bad}: {fault}");
        }
    }
}
