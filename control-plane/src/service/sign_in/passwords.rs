//! Passwords: looked at on threads of their own, few at a time, so that a flood of logins takes neither memory nor the
//! server's breath. Argon2id (RFC 9106) is what is kept; bcrypt hashes of the older system are understood. It must not
//! know whose password it looks at.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{
    config::{PasswordCost, Secret},
    random::{self, NoRandomness},
};

/// How many passwords may wait for their turn; more are turned away at once.
const QUEUE: usize = 200;
/// bcrypt looks at no more than this of a password: older systems accepted whatever follows, so it is not looked at here
/// either, until the hash is replaced by one of the whole password.
const MAX_BCRYPT_COST: u32 = 15;
/// What a kept hash may ask for at most: 1 GiB, 100 passes, 16 lanes. A hash that asks for more is not looked at.
const MOST: PasswordCost = PasswordCost { memory_kib: 1 << 20, passes: 100, lanes: 16 };
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What became of a password.
#[derive(Debug)]
pub enum Verdict {
    /// It is not the one; or there is none, or its hash cannot be used.
    Wrong,
    /// It is the one. `better`: a hash of it that should be kept instead of the one that is.
    Right {
        /// The new hash.
        better: Option<Secret>,
    },
}

/// Why a password was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFault {
    /// Too many wait already.
    #[error("too many passwords wait to be looked at")]
    Busy,
    /// No randomness for a salt.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The hash function refuses its parameters, or its thread is gone.
    #[error("cannot hash: {0}")]
    Hash(String),
}

/// Looks at passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: PasswordCost,
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// A hash that no password has: looked at where there is none, so that it takes as long.
    nobodys: Secret,
}

impl Passwords {
    /// Looks at `slots` passwords at a time; new hashes cost `cost`.
    ///
    /// # Errors
    /// The parameters cannot be used, or there is no randomness.
    pub fn new(cost: PasswordCost, slots: usize) -> Result<Self, PasswordFault> {
        // Nothing of this password is kept, so nobody can have it.
        let unknown = Zeroizing::new(random::seed()?.to_vec());
        let nobodys = Secret::new(hash(cost, &unknown)?);
        Ok(Self { cost, slots: Arc::new(Semaphore::new(slots)), queue: Arc::new(Semaphore::new(QUEUE)), nobodys })
    }

    /// Looks at a password. Without a kept hash it takes as long as with one of our own, and is wrong.
    ///
    /// # Errors
    /// [`PasswordFault`].
    pub async fn check(&self, kept: Option<&Secret>, password: &Secret) -> Result<Verdict, PasswordFault> {
        let Ok(_place) = Arc::clone(&self.queue).try_acquire_owned() else { return Err(PasswordFault::Busy) };
        let gone = |_| PasswordFault::Hash("the program stops".to_owned());
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(gone)?;
        let (cost, password) = (self.cost, password.clone());
        let (kept, is_theirs) = match kept.filter(|kept| Kept::read(kept.expose()).is_some()) {
            Some(kept) => (kept.clone(), true),
            None => (self.nobodys.clone(), false),
        };
        let work = move || {
            // Held until the work is done, also when nobody waits for it any more: it bounds the memory.
            let _slot = slot;
            let Some(read) = Kept::read(kept.expose()) else { return Ok(Verdict::Wrong) };
            if !read.is_of(password.expose().as_bytes())? || !is_theirs {
                return Ok(Verdict::Wrong);
            }
            let better = match read.costs(cost) {
                true => None,
                false => Some(Secret::new(hash(cost, password.expose().as_bytes())?)),
            };
            Ok(Verdict::Right { better })
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| PasswordFault::Hash(error.to_string()))?
    }
}

/// A hash as it is kept.
enum Kept<'h> {
    /// Of the older system: `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(&'h str),
    /// In the form of Argon2's reference implementation: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
    Argon2 { algorithm: Algorithm, version: Version, cost: PasswordCost, salt: Vec<u8>, hash: Vec<u8> },
}

impl<'h> Kept<'h> {
    /// Understands a hash; `None` for any other text, and for one that costs more than we are ready to pay.
    fn read(text: &'h str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let name = parts.next()?;
        if matches!(name, "2a" | "2b" | "2y") {
            let cost: u32 = parts.next()?.parse().ok()?;
            return (text.len() == 60 && (4..=MAX_BCRYPT_COST).contains(&cost)).then_some(Self::Bcrypt(text));
        }
        let algorithm = Algorithm::new(name).ok()?;
        let mut next = parts.next()?;
        let version = match next.strip_prefix("v=") {
            Some(version) => {
                next = parts.next()?;
                Version::try_from(version.parse::<u32>().ok()?).ok()?
            }
            None => Version::V0x10,
        };
        let cost = cost(next)?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let is_fine = parts.next().is_none() && (8..=64).contains(&salt.len()) && (16..=64).contains(&hash.len());
        is_fine.then_some(Self::Argon2 { algorithm, version, cost, salt, hash })
    }

    fn is_of(&self, password: &[u8]) -> Result<bool, PasswordFault> {
        match self {
            // What is no bcrypt hash in spite of its looks has no password.
            Self::Bcrypt(text) => Ok(bcrypt::verify(password, text).unwrap_or(false)),
            Self::Argon2 { algorithm, version, cost, salt, hash } => {
                let mut made = Zeroizing::new(vec![0; hash.len()]);
                let params = params(*cost, hash.len())?;
                let hashed = Argon2::new(*algorithm, *version, params).hash_password_into(password, salt, &mut made);
                hashed.map_err(|error| PasswordFault::Hash(error.to_string()))?;
                Ok(made.ct_eq(hash).into())
            }
        }
    }

    /// Whether it is what we would make now.
    fn costs(&self, wanted: PasswordCost) -> bool {
        match self {
            Self::Bcrypt(_) => false,
            Self::Argon2 { algorithm, version, cost, .. } => {
                (*algorithm, *version, *cost) == (Algorithm::Argon2id, Version::V0x13, wanted)
            }
        }
    }
}

/// `m=19456,t=2,p=1`.
fn cost(text: &str) -> Option<PasswordCost> {
    let mut parts = text.split(',');
    let mut part = |name: &str| parts.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let cost = PasswordCost { memory_kib: part("m=")?, passes: part("t=")?, lanes: part("p=")? };
    let fine = cost.memory_kib <= MOST.memory_kib && cost.passes <= MOST.passes && cost.lanes <= MOST.lanes;
    (parts.next().is_none() && fine).then_some(cost)
}

/// Whether a text is a hash that [`Passwords`] can look at: bcrypt or Argon2, not dearer than we are ready to pay.
pub fn is_hash(text: &str) -> bool {
    Kept::read(text).is_some()
}

fn params(cost: PasswordCost, length: usize) -> Result<Params, PasswordFault> {
    Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(length))
        .map_err(|error| PasswordFault::Hash(error.to_string()))
}

/// A new hash of a password.
///
/// # Errors
/// [`PasswordFault`]; it takes some 20 ms of a processor and the memory of `cost`.
pub fn hash(cost: PasswordCost, password: &[u8]) -> Result<String, PasswordFault> {
    let seed = random::seed()?;
    let salt = seed.get(..SALT_BYTES).unwrap_or_default();
    let mut made = Zeroizing::new([0; HASH_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params(cost, HASH_BYTES)?)
        .hash_password_into(password, salt, made.as_mut_slice())
        .map_err(|error| PasswordFault::Hash(error.to_string()))?;
    let PasswordCost { memory_kib, passes, lanes } = cost;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(made.as_slice()));
    Ok(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap: what is tested is not the cost.
    const COST: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };

    async fn check(kept: &str, password: &str) -> &'static str {
        let passwords = Passwords::new(COST, 1).expect("parameters");
        match passwords.check(Some(&Secret::new(kept)), &Secret::new(password)).await.expect("looked at") {
            Verdict::Wrong => "wrong",
            Verdict::Right { better: None } => "right",
            Verdict::Right { better: Some(better) } => {
                assert!(better.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", better.expose());
                let again = passwords.check(Some(&better), &Secret::new(password)).await.expect("looked at");
                assert!(matches!(again, Verdict::Right { better: None }), "the better hash is of the same password");
                "better"
            }
        }
    }

    #[tokio::test]
    async fn hashes_of_other_programs_are_understood() {
        // RFC 9106's reference implementation; OpenBSD's and other bcrypts.
        let argon2id = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let argon2d = "$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$lVXLWBAPKQRA4CKwCiVJGNDD+NSDXyMcuSKDGfwlQ8s";
        let bcrypt = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";
        assert_eq!(check(argon2id, "password").await, "better");
        assert_eq!(check(argon2id, "Password").await, "wrong");
        assert_eq!(check(argon2d, "passwordX").await, "wrong");
        for version in ["2a", "2b", "2y"] {
            let hash = format!("${version}${}", bcrypt.get(4..).unwrap_or_default());
            assert_eq!(check(&hash, "correctbatteryhorsestapler").await, "better", "{hash}");
            assert_eq!(check(&hash, "correctbatteryhorsestaple").await, "wrong", "{hash}");
        }
    }

    #[tokio::test]
    async fn what_bcrypt_does_not_look_at_is_not_looked_at_until_the_hash_is_better() {
        let long = "x".repeat(72);
        let kept = bcrypt::hash(&long, 4).expect("a hash");
        assert_eq!(check(&kept, &long).await, "better");
        assert_eq!(check(&kept, &format!("{long}and more")).await, "better");
        assert_eq!(check(&kept, &"x".repeat(71)).await, "wrong");
        let better = hash(COST, format!("{long}and more").as_bytes()).expect("a hash");
        assert_eq!(check(&better, &format!("{long}and more")).await, "right");
        assert_eq!(check(&better, &long).await, "wrong");
    }

    #[tokio::test]
    async fn what_is_no_hash_has_no_password() {
        let good = hash(COST, b"password").expect("a hash");
        assert_eq!(check(&good, "password").await, "right");
        let (head, tail) = good.split_at(30);
        for bad in [
            "",
            "password",
            "$",
            "$$$$$",
            "$argon2id$",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
            "$2b$31$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie",
            "$2b$04$short",
            "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxci\u{e9}",
            "$pbkdf2-sha256$29000$x$y",
            &format!("{good}$x"),
            head,
            &format!("{head}!{tail}"),
        ] {
            assert_eq!(check(bad, "password").await, "wrong", "{bad}");
        }
    }

    #[tokio::test]
    async fn too_many_are_turned_away() {
        let passwords = Passwords::new(COST, 1).expect("parameters");
        let _all = Arc::clone(&passwords.queue).acquire_many_owned(u32::try_from(QUEUE).expect("few")).await;
        let refused = passwords.check(None, &Secret::new("x")).await;
        assert!(matches!(refused, Err(PasswordFault::Busy)), "{refused:?}");
    }
}
