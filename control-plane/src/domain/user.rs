//! A user, whole. It must not know how one is found or kept.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Email, Timestamp};
use crate::config::Secret;

/// Tokens (credits) that a new user has.
pub const FIRST_TOKENS: i64 = 10_000;

/// Id of a user in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

impl UserId {
    /// Longest id that is looked up.
    pub const MAX_LENGTH: usize = 128;

    /// Takes an id over.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for UserId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal, $doc:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $doc] $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for it everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// What a user is.
    Role {
        User = "user", "Anyone.";
        Developer = "developer", "Someone who builds on the application.";
        Admin = "admin", "Someone who runs it.";
    }
}

words! {
    /// What a user pays for.
    Subscription {
        Free = "free", "Nothing.";
        Pro = "pro", "The paid tier.";
        Enterprise = "enterprise", "A contract.";
    }
}

/// Who a user is at Clerk: ids are unique within one issuer only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClerkIdentity {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `sub`.
    pub id: String,
}

/// One user.
#[derive(Debug, Clone)]
pub struct User {
    /// Id in the store.
    pub id: UserId,
    /// E-mail address; no two users have the same.
    pub email: Option<Email>,
    /// Of the older sign-in.
    pub password_hash: Option<Secret>,
    /// Display name.
    pub name: Option<String>,
    /// What the user is.
    pub role: Role,
    /// Whether the account may be used.
    pub is_active: bool,
    /// Where the account is linked to Clerk.
    pub clerk: Option<ClerkIdentity>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Whether we know that the address is theirs.
    pub email_verified: bool,
    /// Tokens (credits) left.
    pub tokens_remaining: i64,
    /// Tokens used so far.
    pub tokens_used: i64,
    /// Most tokens in a month.
    pub monthly_limit: Option<i64>,
    /// What the user pays for.
    pub subscription: Subscription,
    /// Id at Stripe.
    pub stripe_customer_id: Option<String>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// Last sign-out.
    pub last_logout_at: Option<Timestamp>,
    /// About the user, by the user.
    pub bio: Option<String>,
    /// The user's site.
    pub website: Option<String>,
    /// Address of a picture.
    pub profile_image: Option<String>,
    /// Addresses by network.
    pub social_links: Map<String, Value>,
    /// Members of the document that we do not know: kept as they are.
    pub extra: Map<String, Value>,
}

impl User {
    /// A new user with nothing but an id.
    pub fn new(id: UserId, now: Timestamp) -> Self {
        Self {
            id,
            email: None,
            password_hash: None,
            name: None,
            role: Role::User,
            is_active: true,
            clerk: None,
            first_name: None,
            last_name: None,
            email_verified: false,
            tokens_remaining: FIRST_TOKENS,
            tokens_used: 0,
            monthly_limit: None,
            subscription: Subscription::Free,
            stripe_customer_id: None,
            created_at: now,
            updated_at: now,
            last_login_at: None,
            last_logout_at: None,
            bio: None,
            website: None,
            profile_image: None,
            social_links: Map::new(),
            extra: Map::new(),
        }
    }

    /// The revision of this state.
    pub fn revision(&self) -> Revision {
        let state = format!("{} {}", self.updated_at.millis(), super::audit::user(self));
        let hash = Sha256::digest(state.as_bytes());
        Revision(hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether this is an administrator who can act.
    pub fn is_acting_admin(&self) -> bool {
        self.role == Role::Admin && self.is_active
    }

    /// Tokens issued before this moment (unix seconds) are refused: the second after the one of the last sign-out, since
    /// a token says its time in whole seconds.
    pub fn tokens_not_before(&self) -> Option<u64> {
        self.last_logout_at.map(|at| at.unix_seconds().saturating_add(1))
    }

    /// Whether a Clerk user who has proved to own this account's address may take it over: never an account whose own
    /// address was not proved (someone else may have registered it in advance), never one that is linked, never an admin.
    pub fn may_be_linked(&self) -> bool {
        self.email_verified && self.clerk.is_none() && self.role != Role::Admin
    }
}

/// What to change about a user; `None` leaves a member as it is, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserPatch {
    /// Display name.
    pub name: Option<Option<String>>,
    /// What the user is.
    pub role: Option<Role>,
    /// Whether the account may be used.
    pub is_active: Option<bool>,
    /// What the user pays for.
    pub subscription: Option<Subscription>,
    /// Most tokens in a month.
    pub monthly_limit: Option<Option<i64>>,
    /// About the user.
    pub bio: Option<Option<String>>,
    /// The user's site.
    pub website: Option<Option<String>>,
    /// Address of a picture.
    pub profile_image: Option<Option<String>>,
    /// Addresses by network; the new map takes the place of the former one.
    pub social_links: Option<Map<String, Value>>,
}

impl UserPatch {
    /// Changes a user at this moment.
    pub fn apply(self, user: &mut User, at: Timestamp) {
        fn set<T>(member: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *member = value;
            }
        }
        set(&mut user.name, self.name);
        set(&mut user.role, self.role);
        set(&mut user.is_active, self.is_active);
        set(&mut user.subscription, self.subscription);
        set(&mut user.monthly_limit, self.monthly_limit);
        set(&mut user.bio, self.bio);
        set(&mut user.website, self.website);
        set(&mut user.profile_image, self.profile_image);
        set(&mut user.social_links, self.social_links);
        user.updated_at = at;
    }
}

/// Names one state of a user's record, so that a change can say which state it was made for. Tokens and the time of the
/// last sign-in are not part of it: they change by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// Takes a revision over, as a client hands it back.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The revision.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which users are looked for; `None` asks for any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// The id, the Clerk id, or how the e-mail address begins (in lower case).
    pub text: Option<String>,
    /// What they are.
    pub role: Option<Role>,
    /// Whether their accounts may be used.
    pub is_active: Option<bool>,
    /// What they pay for.
    pub subscription: Option<Subscription>,
}
