//! The data directory: what development mode keeps between runs, and where. It must not know what the secrets are
//! used for.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    fault::DevFault,
    mint::{IssuerKey, random_base62},
};

const SECRET_CHARS: usize = 48;

/// A data directory, `.tollgate` by default.
#[derive(Debug, Clone)]
pub struct Data {
    dir: PathBuf,
}

/// What a running `tollgate dev` leaves for `tollgate dev credentials`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Where Envoy listens, as a URL.
    pub envoy: String,
    /// The issuer: claim `iss`, and where its keys are.
    pub issuer: String,
    /// The web app's origin: claim `azp`.
    pub party: String,
}

impl Data {
    /// Opens a data directory; makes it, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    /// [`DevFault::File`].
    pub fn create(dir: &Path) -> Result<Self, DevFault> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.and_then(|()| fs::canonicalize(dir)).map(|dir| Self { dir }).map_err(DevFault::file("cannot make", dir))
    }

    /// Opens a data directory that a `tollgate dev` has filled.
    ///
    /// # Errors
    /// [`DevFault::Other`] says to start `tollgate dev` first.
    pub fn open(dir: &Path) -> Result<(Self, Facts), DevFault> {
        let data = Self { dir: dir.to_path_buf() };
        let facts = fs::read(data.path("dev.json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let missing = || format!("{} holds no data of 'tollgate dev': start it first (make run)", dir.display());
        facts.map(|facts| (data, facts)).ok_or_else(|| DevFault::Other(missing()))
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Leaves the facts for other processes.
    ///
    /// # Errors
    /// [`DevFault::File`].
    pub fn write_facts(&self, facts: &Facts) -> Result<(), DevFault> {
        let json = serde_json::to_string_pretty(facts).map_err(|fault| DevFault::Other(fault.to_string()))?;
        self.write("dev.json", json.as_bytes())
    }

    /// A secret of this name: the one made at the first call, ever since.
    ///
    /// # Errors
    /// [`DevFault`] if it cannot be read or made.
    pub fn secret(&self, name: &str) -> Result<String, DevFault> {
        if let Some(secret) = self.read(name)? {
            return Ok(secret.trim_end().to_owned());
        }
        let secret = random_base62(SECRET_CHARS)?;
        self.write(name, format!("{secret}\n").as_bytes())?;
        Ok(secret)
    }

    /// The issuer key of this name, if there is one.
    ///
    /// # Errors
    /// [`DevFault`] if it is there and cannot be used.
    pub fn issuer_key(&self, name: &str) -> Result<Option<IssuerKey>, DevFault> {
        let Some(text) = self.read(name)? else { return Ok(None) };
        let (kid, pem) = text.split_once('\n').unwrap_or_default();
        Ok(Some(IssuerKey::from_pem(pem, kid.strip_prefix("kid: ").unwrap_or(kid))?))
    }

    /// Keeps an issuer key: its name in the first line, then PKCS#8 PEM (whose readers skip text before it).
    ///
    /// # Errors
    /// [`DevFault`] if it cannot be written.
    pub fn keep_issuer_key(&self, name: &str, key: &IssuerKey) -> Result<(), DevFault> {
        self.write(name, format!("kid: {}\n{}", key.kid(), *key.to_pem()?).as_bytes())
    }

    /// The issuer key of this name, made at the first call.
    ///
    /// # Errors
    /// [`DevFault`] if it cannot be read or made.
    pub fn issuer_key_or_new(&self, name: &str) -> Result<IssuerKey, DevFault> {
        if let Some(key) = self.issuer_key(name)? {
            return Ok(key);
        }
        let key = IssuerKey::generate()?;
        self.keep_issuer_key(name, &key)?;
        Ok(key)
    }

    /// Writes a file that only its owner can read, whole or not at all.
    ///
    /// # Errors
    /// [`DevFault::File`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DevFault> {
        let path = self.path(name);
        let part = self.path(&format!("{name}.part"));
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&part, &path)
        };
        write().map_err(DevFault::file("cannot write", &path))
    }

    fn read(&self, name: &str) -> Result<Option<String>, DevFault> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(DevFault::file("cannot read", &path)(fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_once_stays_and_is_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("data");
        let data = Data::create(&dir).unwrap();
        let secret = data.secret("edge.secret").unwrap();
        assert_eq!(Data::create(&dir).unwrap().secret("edge.secret").unwrap(), secret);
        assert_ne!(data.secret("legacy.secret").unwrap(), secret);
        let key = data.issuer_key_or_new("issuer.pem").unwrap();
        assert_eq!(data.issuer_key_or_new("issuer.pem").unwrap().public_jwk(), key.public_jwk());
        for path in [dir.clone(), data.path("edge.secret"), data.path("issuer.pem")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0);
        }
    }

    #[test]
    fn a_directory_without_facts_says_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        assert!(Data::open(temp.path()).unwrap_err().to_string().contains("start it first"));
        let data = Data::create(temp.path()).unwrap();
        let facts = Facts { envoy: "http://e".into(), issuer: "http://i".into(), party: "http://p".into() };
        data.write_facts(&facts).unwrap();
        assert_eq!(Data::open(temp.path()).unwrap().1, facts);
    }
}
