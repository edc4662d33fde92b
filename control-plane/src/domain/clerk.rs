//! What Clerk says about its users, and what that changes about ours: rules without a store. It must not know JSON, a
//! signature or a network.

use tollgate_protocol::Revocation;

use super::{ClerkIdentity, Email, Timestamp, User, UserId};

/// A user as Clerk has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClerkProfile {
    /// Which user.
    pub identity: ClerkIdentity,
    /// The primary address. Others are nobody's business here.
    pub email: Option<Email>,
    /// Whether Clerk knows that the primary address is theirs.
    pub email_verified: bool,
    /// Display name.
    pub name: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Address of a picture.
    pub image: Option<String>,
    /// Whether Clerk lets them in no more: banned or deprovisioned. Not a user who is locked for a while after wrong
    /// passwords: anybody can bring that about, and no event says when it is over.
    pub barred: bool,
    /// When Clerk last changed them.
    pub updated_at: Timestamp,
}

/// Something that happened at Clerk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClerkNews {
    /// A user is new or has changed.
    Profile(Box<ClerkProfile>),
    /// A user is gone.
    Deleted(ClerkIdentity),
    /// A session is over.
    Ended(Revocation),
}

/// Something that happened at Clerk, and the delivery that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClerkEvent {
    /// Claim `iss` of the instance.
    pub issuer: String,
    /// Id of the delivery: the same each time that it is tried.
    pub delivery: String,
    /// What happened.
    pub news: ClerkNews,
}

/// What is remembered of a Clerk user between events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClerkRecord {
    /// When Clerk had last changed the user, as of the newest event that was applied.
    pub updated_at: Option<Timestamp>,
    /// When it was heard that the user is gone. Clerk gives no id twice, so this is never taken back.
    pub deleted_at: Option<Timestamp>,
    /// The display name that Clerk said last.
    pub name: Option<String>,
    /// The picture that Clerk said last.
    pub image: Option<String>,
    /// Whether the account is inactive because Clerk barred the user, and for no other reason.
    pub barred: bool,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClerkOutcome {
    /// This delivery was taken before.
    Doubled,
    /// Newer things are known.
    Outdated,
    /// The address belongs to an account that may not be linked, or is not verified: nothing was changed.
    Conflict,
    /// There was nothing to change.
    Unchanged,
    /// A user was made.
    Created(UserId),
    /// An account was linked.
    Linked(UserId),
    /// A user was changed.
    Changed {
        /// Which.
        user: UserId,
        /// The new address belongs to another account, so the old one stays.
        address_kept: bool,
    },
    /// The account of a user who is gone was closed.
    Closed(UserId),
    /// A session was revoked.
    Ended,
}

impl ClerkOutcome {
    /// The word that stands for it in metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Doubled => "doubled",
            Self::Outdated => "outdated",
            Self::Conflict => "conflict",
            Self::Unchanged => "unchanged",
            Self::Created(_) => "created",
            Self::Linked(_) => "linked",
            Self::Changed { address_kept: false, .. } => "changed",
            Self::Changed { address_kept: true, .. } => "address_kept",
            Self::Closed(_) => "closed",
            Self::Ended => "ended",
        }
    }
}

/// What a store found, in one transaction, about the user of a profile.
#[derive(Debug, Default)]
pub struct Found {
    /// What is remembered.
    pub record: ClerkRecord,
    /// The account that is linked.
    pub linked: Option<User>,
    /// The account that has the profile's address.
    pub holder: Option<User>,
}

/// What a store is to write.
#[derive(Debug)]
pub enum Plan {
    /// Nothing at all.
    Nothing(ClerkOutcome),
    /// What is remembered, and nothing else.
    Remember(ClerkRecord),
    /// A new user.
    Create(Box<User>, ClerkRecord),
    /// An account, as it was and as it is to be.
    Change {
        /// As it was.
        before: Box<User>,
        /// As it is to be.
        after: Box<User>,
        /// What is remembered.
        record: ClerkRecord,
        /// What became of the event.
        outcome: ClerkOutcome,
    },
}

/// What a profile changes. `fresh` becomes the id of a user who is made.
pub fn plan(profile: &ClerkProfile, found: Found, fresh: &UserId, at: Timestamp) -> Plan {
    let Found { record, linked, holder } = found;
    let newer_known = record.updated_at.is_some_and(|known| known > profile.updated_at);
    if record.deleted_at.is_some() || newer_known {
        return Plan::Nothing(ClerkOutcome::Outdated);
    }
    match (linked, holder) {
        (Some(user), holder) => {
            let taken = holder.is_some_and(|holder| holder.id != user.id);
            change(profile, &record, user, taken)
        }
        (None, Some(holder)) if !profile.email_verified || !holder.may_be_linked() => {
            Plan::Nothing(ClerkOutcome::Conflict)
        }
        (None, Some(holder)) => {
            let mut plan = change(profile, &record, holder, false);
            if let Plan::Change { after, outcome, .. } = &mut plan {
                *outcome = ClerkOutcome::Linked(after.id.clone());
            }
            plan
        }
        (None, None) => {
            let mut user = User::new(fresh.clone(), at);
            user.clerk = Some(profile.identity.clone());
            let record = follow(profile, &record, &mut user, false);
            Plan::Create(Box::new(user), record)
        }
    }
}

fn change(profile: &ClerkProfile, record: &ClerkRecord, before: User, taken: bool) -> Plan {
    let mut after = before.clone();
    // Also where another program has written the id without an issuer.
    after.clerk = Some(profile.identity.clone());
    let address_kept = taken && profile.email_verified;
    let record = follow(profile, record, &mut after, taken);
    if shown(&before) == shown(&after) && !address_kept {
        return Plan::Remember(record);
    }
    let outcome = ClerkOutcome::Changed { user: after.id.clone(), address_kept };
    Plan::Change { before: Box::new(before), after: Box::new(after), record, outcome }
}

/// Everything that a profile can change.
fn shown(user: &User) -> (Option<&Email>, bool, [Option<&String>; 4], bool, Option<&ClerkIdentity>) {
    let texts = [user.name.as_ref(), user.first_name.as_ref(), user.last_name.as_ref(), user.profile_image.as_ref()];
    (user.email.as_ref(), user.email_verified, texts, user.is_active, user.clerk.as_ref())
}

/// Lets an account follow its Clerk user, and says what is to be remembered.
fn follow(profile: &ClerkProfile, record: &ClerkRecord, user: &mut User, taken: bool) -> ClerkRecord {
    // An address that is not verified is not kept: it would keep its real owner out. One that is gone at Clerk stays,
    // for the account may be older than Clerk.
    if let Some(email) = profile.email.as_ref().filter(|_| profile.email_verified && !taken) {
        user.email = Some(email.clone());
        user.email_verified = true;
    }
    user.first_name.clone_from(&profile.first_name);
    user.last_name.clone_from(&profile.last_name);
    // What the user has changed here is the user's own.
    if user.name == record.name {
        user.name.clone_from(&profile.name);
    }
    if user.profile_image == record.image {
        user.profile_image.clone_from(&profile.image);
    }
    let mut barred = record.barred;
    if profile.barred && user.is_active {
        (user.is_active, barred) = (false, true);
    } else if !profile.barred && barred {
        (user.is_active, barred) = (true, false);
    }
    ClerkRecord {
        updated_at: Some(profile.updated_at),
        deleted_at: None,
        name: profile.name.clone(),
        image: profile.image.clone(),
        barred,
    }
}

/// Closes the account of a user who is gone: nobody may use it, and its address is free for whoever owns it now. The
/// account stays linked, so that a token that was issued before finds it closed.
pub fn close(user: &User) -> User {
    User { is_active: false, email: None, email_verified: false, ..user.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Role;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn identity() -> ClerkIdentity {
        ClerkIdentity { issuer: "https://clerk.test".into(), id: "user_1".into() }
    }

    fn profile(seconds: i64, email: Option<&str>, email_verified: bool) -> ClerkProfile {
        ClerkProfile {
            identity: identity(),
            email: email.and_then(Email::new),
            email_verified,
            name: Some("Ada L".into()),
            first_name: Some("Ada".into()),
            last_name: Some("L".into()),
            image: Some("https://img.test/1".into()),
            barred: false,
            updated_at: NOW.plus_seconds(seconds),
        }
    }

    fn account(id: &str, email: &str) -> User {
        let mut user = User::new(UserId::new(id), NOW);
        user.email = Email::new(email);
        user.email_verified = true;
        user
    }

    fn linked(email: &str) -> User {
        User { clerk: Some(identity()), ..account("u", email) }
    }

    fn plan(profile: &ClerkProfile, found: Found) -> Plan {
        super::plan(profile, found, &UserId::new("fresh"), NOW)
    }

    fn changed(plan: Plan) -> (User, ClerkRecord, ClerkOutcome) {
        match plan {
            Plan::Change { after, record, outcome, .. } => (*after, record, outcome),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_unknown_is_made_and_keeps_no_unverified_address() {
        for (verified, kept) in [(true, Some("a@x.test")), (false, None)] {
            let Plan::Create(user, record) = plan(&profile(0, Some("a@x.test"), verified), Found::default()) else {
                panic!("not made")
            };
            assert_eq!(user.email.as_ref().map(Email::as_str), kept);
            assert_eq!((user.email_verified, user.name.as_deref()), (verified, Some("Ada L")));
            assert_eq!((user.id.as_str(), user.clerk.clone()), ("fresh", Some(identity())));
            assert_eq!((record.updated_at, record.name.as_deref()), (Some(NOW), Some("Ada L")));
        }
    }

    #[test]
    fn an_account_is_linked_only_where_both_sides_are_verified_and_never_an_administrators() {
        let good = account("u", "a@x.test");
        let cases = [
            (good.clone(), true, true),
            (good.clone(), false, false),
            (User { email_verified: false, ..good.clone() }, true, false),
            (User { role: Role::Admin, ..good.clone() }, true, false),
            (User { clerk: Some(ClerkIdentity { id: "user_2".into(), ..identity() }), ..good }, true, false),
        ];
        for (holder, verified, expected) in cases {
            let found = Found { holder: Some(holder), ..Found::default() };
            match plan(&profile(0, Some("a@x.test"), verified), found) {
                Plan::Change { after, outcome, .. } => {
                    assert!(expected && outcome == ClerkOutcome::Linked(after.id.clone()));
                    assert_eq!(after.clerk, Some(identity()));
                }
                Plan::Nothing(ClerkOutcome::Conflict) => assert!(!expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_older_or_about_the_deleted_changes_nothing() {
        let known = ClerkRecord { updated_at: Some(NOW), ..ClerkRecord::default() };
        let gone = ClerkRecord { deleted_at: Some(NOW), ..ClerkRecord::default() };
        for (seconds, record, outdated) in
            [(-1, &known, true), (0, &known, false), (1, &known, false), (9, &gone, true)]
        {
            let found = Found { record: record.clone(), linked: Some(linked("a@x.test")), holder: None };
            let plan = plan(&profile(seconds, Some("b@x.test"), true), found);
            assert_eq!(matches!(plan, Plan::Nothing(ClerkOutcome::Outdated)), outdated, "{plan:?}");
        }
    }

    #[test]
    fn an_address_follows_where_it_is_verified_and_free() {
        let moved = |verified, holder: Option<User>| {
            let found = Found { record: ClerkRecord::default(), linked: Some(linked("a@x.test")), holder };
            let (user, _, outcome) = changed(plan(&profile(0, Some("b@x.test"), verified), found));
            (user.email.map(|email| email.as_str().to_owned()), outcome.as_str())
        };
        assert_eq!(moved(true, None), (Some("b@x.test".into()), "changed"));
        assert_eq!(moved(false, None), (Some("a@x.test".into()), "changed"));
        assert_eq!(moved(true, Some(account("other", "b@x.test"))), (Some("a@x.test".into()), "address_kept"));
        assert_eq!(moved(false, Some(account("other", "b@x.test"))), (Some("a@x.test".into()), "changed"));
    }

    #[test]
    fn a_name_of_ones_own_is_kept() {
        let said = ClerkRecord { name: Some("Old".into()), ..ClerkRecord::default() };
        for (now, expected) in [(Some("Old"), Some("Ada L")), (Some("Mine"), Some("Mine")), (None, None)] {
            let user = User { name: now.map(str::to_owned), ..linked("a@x.test") };
            let found = Found { record: said.clone(), linked: Some(user), holder: None };
            let (user, record, _) = changed(plan(&profile(0, None, false), found));
            assert_eq!((user.name.as_deref(), record.name.as_deref()), (expected, Some("Ada L")));
        }
    }

    #[test]
    fn being_barred_ends_with_it_but_not_what_somebody_here_has_decided() {
        let bar = |barred, is_active, by_clerk| {
            let user = User { is_active, ..linked("a@x.test") };
            let record = ClerkRecord { barred: by_clerk, ..ClerkRecord::default() };
            let found = Found { record, linked: Some(user), holder: None };
            let (user, record, _) = changed(plan(&ClerkProfile { barred, ..profile(0, None, false) }, found));
            (user.is_active, record.barred)
        };
        assert_eq!(bar(true, true, false), (false, true));
        assert_eq!(bar(true, false, true), (false, true), "twice");
        assert_eq!(bar(false, false, true), (true, false));
        assert_eq!(bar(true, false, false), (false, false), "somebody here was first");
        assert_eq!(bar(false, false, false), (false, false), "and it stays so");
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let profile = profile(0, Some("a@x.test"), true);
        let (user, record, _) = changed(plan(&profile, Found { linked: Some(linked("a@x.test")), ..Found::default() }));
        let again = plan(&profile, Found { record: record.clone(), linked: Some(user), holder: None });
        assert!(matches!(again, Plan::Remember(remembered) if remembered == record));
    }

    #[test]
    fn a_closed_account_frees_its_address() {
        let closed = close(&linked("a@x.test"));
        assert_eq!((closed.is_active, closed.email, closed.email_verified), (false, None, false));
        assert!(closed.clerk.is_some());
    }
}
