//! A user as a file of another system has it, and what becomes of one who is there already. It must not know how the
//! file is written.

use std::collections::BTreeSet;

use super::{ClerkIdentity, Timestamp, User};
use crate::config::Secret;

/// One user of a file.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// The user. What the file does not say is as in a new one.
    pub user: User,
    /// Whether the file names an id; else the id is a new one, for the case that nobody is found by address or Clerk id.
    pub has_id: bool,
    /// Members that the file names.
    pub given: BTreeSet<&'static str>,
}

/// Whether two identities are the same: one that another program wrote may name no issuer.
fn same_clerk(one: &ClerkIdentity, other: &ClerkIdentity) -> bool {
    let is_same = one.issuer == other.issuer || one.issuer.is_empty() || other.issuer.is_empty();
    is_same && one.id == other.id
}

impl ImportedUser {
    /// Whether `other` has the same e-mail address.
    pub fn shares_email(&self, other: &User) -> bool {
        self.user.email.is_some() && self.user.email == other.email
    }

    /// Whether `other` is linked to the same Clerk user.
    pub fn shares_clerk(&self, other: &User) -> bool {
        matches!((&self.user.clerk, &other.clerk), (Some(one), Some(other)) if same_clerk(one, other))
    }

    /// Which of `others` this is: by id, if the file names one; else by Clerk id; else by address.
    pub fn find<'o>(&self, others: &'o [User]) -> Option<&'o User> {
        if self.has_id {
            return others.iter().find(|other| other.id == self.user.id);
        }
        let by_clerk = others.iter().find(|other| self.shares_clerk(other));
        by_clerk.or_else(|| others.iter().find(|other| self.shares_email(other)))
    }

    /// What `there` becomes by what the file names; `None` where nothing differs. Balances stay: they are the ledger's.
    pub fn merged(&self, there: &User, at: Timestamp) -> Option<User> {
        let (from, mut user) = (&self.user, there.clone());
        let mut differs = false;
        macro_rules! take {
            ($($member:ident)+) => {
                $(if self.given.contains(stringify!($member)) && user.$member != from.$member {
                    user.$member = from.$member.clone();
                    differs = true;
                })+
            };
        }
        take!(email name role is_active first_name last_name email_verified monthly_limit subscription
            stripe_customer_id created_at last_login_at last_logout_at bio website profile_image social_links);
        let hash = |user: &User| user.password_hash.as_ref().map(|hash| Secret::expose(hash).to_owned());
        if self.given.contains("password_hash") && hash(&user) != hash(from) {
            user.password_hash = from.password_hash.clone();
            differs = true;
        }
        if self.given.contains("clerk_id") && !self.shares_clerk(&user) {
            user.clerk = from.clerk.clone();
            differs = true;
        }
        for (name, value) in &from.extra {
            if user.extra.get(name) != Some(value) {
                user.extra.insert(name.clone(), value.clone());
                differs = true;
            }
        }
        user.updated_at = at;
        differs.then_some(user)
    }
}
