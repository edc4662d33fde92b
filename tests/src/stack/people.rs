//! People of the store and their credentials. It must not know what becomes of them.

use tollgate::{
    app::App,
    clock::{Clock as _, SystemClock},
    config::{Config, PasswordCost, Secret},
    dev::mint::{ClerkToken, IssuerKey, LegacyToken},
    domain::{Email, Stamp, User, UserId},
    service::{
        keys::{self, Issued, NewKey},
        sign_in::hash_password,
        users::{self, NewUser},
    },
    store,
};

use super::{
    Stack,
    options::{ISSUER, LEGACY_SECRET, PARTY},
};

impl Stack {
    /// A new user of the store, as the older sign-in has made them.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn user(&self, email: &str) -> User {
        self.named_user(email, "Ada").await
    }

    /// The same with a name.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn named_user(&self, email: &str, name: &str) -> User {
        let new = NewUser { email: Some(email.to_owned()), email_verified: true, name: Some(name.to_owned()) };
        users::create(&self.app, &new).await.expect("a user")
    }

    /// A new user who signs in with a password.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn user_with_password(&self, email: &str, password: &str) -> User {
        user_with_password(&self.config, email, Some(password)).await
    }

    /// The store behind everything.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Issues an API key.
    ///
    /// # Panics
    /// If it cannot be issued.
    pub async fn api_key(&self, user: &User, scopes: &[&str]) -> Issued {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let new = NewKey { name: "test".to_owned(), scopes, expires_at: None, rate: None };
        keys::issue(&self.app, &user.id, &new).await.expect("a key")
    }

    /// A good Clerk token of a person, not signed yet.
    pub fn clerk(&self, email: &str) -> ClerkToken {
        ClerkToken::for_person(ISSUER, email, self.now()).party(PARTY)
    }

    /// Signs a Clerk token with the issuer's key.
    ///
    /// # Panics
    /// If it cannot be signed.
    pub fn sign(&self, token: &ClerkToken) -> String {
        token.sign(&self.issuer.key().expect("a key")).expect("a signature")
    }

    /// A good Clerk token of a person, signed.
    pub fn clerk_jwt(&self, email: &str) -> String {
        self.sign(&self.clerk(email))
    }

    /// A good legacy token, not signed yet.
    pub fn legacy(&self, subject: &str) -> LegacyToken {
        LegacyToken::for_user(subject, self.now())
    }

    /// Signs a legacy token with the shared secret.
    pub fn sign_legacy(&self, token: &LegacyToken) -> String {
        token.sign(LEGACY_SECRET.as_bytes())
    }

    /// A good legacy token, signed.
    pub fn legacy_jwt(&self, subject: &str) -> String {
        self.sign_legacy(&self.legacy(subject))
    }

    /// The time, in unix seconds.
    pub fn now(&self) -> u64 {
        SystemClock.now().unix_seconds()
    }
}

/// A new user with a hash of a password, as cheap as one may be: what is tested is not its cost.
///
/// # Panics
/// If the store does not take it.
pub async fn user_with_password(config: &Config, email: &str, password: Option<&str>) -> User {
    let cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
    let hash = password.map(|password| hash_password(cost, password.as_bytes()).expect("a hash"));
    let mut user = User::new(UserId::new(format!("usr_{}", email.replace('@', "_at_"))), SystemClock.now());
    user.email = Email::new(email);
    user.email_verified = true;
    user.password_hash = hash.map(Secret::new);
    let store = store::open(&config.store).await.expect("the store opens");
    store.insert_user(&user, &Stamp::system(SystemClock.now())).await.expect("a user");
    user
}

/// A new key for an issuer.
///
/// # Panics
/// If none can be made.
pub fn new_key() -> IssuerKey {
    IssuerKey::generate().expect("a key")
}
