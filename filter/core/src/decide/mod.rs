//! Whether an identity may take a route. The only place that makes a [`Permit`]; it must not see a header or a token.

use tollgate_protocol::{Code, Identity, Method};

use crate::policy::Rule;

/// Who is asking, as the decision sees it: the person, and what this one credential may do.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Which kind of credential.
    pub method: Method,
    /// The person behind it.
    pub identity: &'a Identity,
    /// What the credential may do.
    pub scopes: &'a [Box<str>],
    /// Clerk session.
    pub session_id: Option<&'a str>,
    /// Clerk user id of the person who acts as this user.
    pub actor: Option<&'a str>,
}

/// Proof that a rule allows this caller. Only [`decide`] makes one, and only a permit can be turned into headers:
///
/// ```compile_fail
/// let permit = tollgate_core::decide::Permit { caller: unreachable!(), _only_here: () };
/// ```
#[derive(Debug)]
pub struct Permit<'a> {
    caller: Caller<'a>,
    _only_here: (),
}

impl<'a> Permit<'a> {
    /// Who was allowed.
    pub fn caller(&self) -> &Caller<'a> {
        &self.caller
    }
}

/// Whether a kind of credential is accepted at all: asked before anybody is looked up.
///
/// # Errors
/// [`Code::MethodNotAccepted`].
pub fn accepts(rule: &Rule, method: Method) -> Result<(), Code> {
    if rule.accept.has(method) { Ok(()) } else { Err(Code::MethodNotAccepted) }
}

/// Decides. The order is fixed, so that a request always gets the same reason: account and key first, then kind,
/// role, subscription, scope.
///
/// # Errors
/// The reason of the refusal.
pub fn decide<'a>(caller: Caller<'a>, rule: &Rule, now_seconds: u64) -> Result<Permit<'a>, Code> {
    let identity = caller.identity;
    if !identity.is_active {
        return Err(Code::UserInactive);
    }
    let expiry = identity.key.as_ref().and_then(|key| key.expires_at);
    if expiry.is_some_and(|expires_at| expires_at <= now_seconds) {
        return Err(Code::ApiKeyExpired);
    }
    accepts(rule, caller.method)?;
    if !rule.roles.is_empty() && !rule.roles.iter().any(|role| **role == *identity.role) {
        return Err(Code::RoleRequired);
    }
    let subscription = identity.subscription.as_deref();
    if !rule.subscriptions.is_empty() && !rule.subscriptions.iter().any(|wanted| Some(&**wanted) == subscription) {
        return Err(Code::SubscriptionRequired);
    }
    if !rule.scopes.iter().all(|wanted| caller.scopes.contains(wanted)) {
        return Err(Code::ScopeRequired);
    }
    Ok(Permit { caller, _only_here: () })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Accepted;

    fn identity() -> Identity {
        serde_json::from_str(r#"{"user_id":"u","role":"user","is_active":true,"subscription":"pro"}"#).unwrap()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Identity, &mut Rule, &mut Vec<Box<str>>), expect: Result<(), Code>) {
        let (mut identity, mut rule, mut scopes) = (identity(), Rule::default(), vec![]);
        change(&mut identity, &mut rule, &mut scopes);
        let caller =
            Caller { method: Method::Clerk, identity: &identity, scopes: &scopes, session_id: None, actor: None };
        assert_eq!(decide(caller, &rule, 100).map(|_| ()), expect);
    }

    fn key(expires_at: Option<u64>) -> Option<tollgate_protocol::KeyFacts> {
        let hash = tollgate_protocol::KeyHash([0; 32]);
        Some(tollgate_protocol::KeyFacts { id: "k".into(), hash, scopes: vec![], expires_at })
    }

    #[test]
    fn each_reason() {
        check(|_, _, _| {}, Ok(()));
        check(|identity, _, _| identity.is_active = false, Err(Code::UserInactive));
        check(|identity, _, _| identity.key = key(Some(101)), Ok(()));
        check(|identity, _, _| identity.key = key(Some(100)), Err(Code::ApiKeyExpired));
        check(|_, rule, _| rule.accept = Accepted::of(&[Method::ApiKey]), Err(Code::MethodNotAccepted));
        check(|_, rule, _| rule.accept = Accepted::of(&[Method::Clerk]), Ok(()));
        check(|_, rule, _| rule.roles = ["admin".into()].into(), Err(Code::RoleRequired));
        check(|_, rule, _| rule.roles = ["admin".into(), "user".into()].into(), Ok(()));
        check(|_, rule, _| rule.subscriptions = ["enterprise".into()].into(), Err(Code::SubscriptionRequired));
        check(|_, rule, _| rule.subscriptions = ["pro".into()].into(), Ok(()));
        check(|_, rule, _| rule.scopes = ["a".into()].into(), Err(Code::ScopeRequired));
        check(
            |_, rule, scopes| (rule.scopes, *scopes) = (["a".into(), "b".into()].into(), vec!["a".into()]),
            Err(Code::ScopeRequired),
        );
        check(|_, rule, scopes| (rule.scopes, *scopes) = (["a".into()].into(), vec!["b".into(), "a".into()]), Ok(()));
    }

    #[test]
    fn an_inactive_user_is_told_so_before_anything_else() {
        check(
            |identity, rule, _| {
                identity.is_active = false;
                rule.roles = ["admin".into()].into();
            },
            Err(Code::UserInactive),
        );
    }
}
