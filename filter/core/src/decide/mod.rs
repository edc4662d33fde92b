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
    /// Session of a token.
    pub session_id: Option<&'a str>,
    /// When a token was issued, in unix seconds.
    pub issued_at: Option<u64>,
    /// Clerk user id of the person who acts as this user.
    pub actor: Option<&'a str>,
}

impl Caller<'_> {
    /// Whether the credential is a token from before its user signed out everywhere; one that does not say when it was
    /// issued may be.
    fn is_from_before_a_sign_out(&self) -> bool {
        let is_token = match self.method {
            Method::ApiKey => false,
            Method::Clerk | Method::Legacy => true,
        };
        let not_before = self.identity.tokens_not_before;
        is_token && not_before.is_some_and(|not_before| self.issued_at.is_none_or(|issued_at| issued_at < not_before))
    }
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

/// The same for a token, which may have come by cookie.
///
/// # Errors
/// [`Code::MethodNotAccepted`].
pub fn accepts_token(rule: &Rule, method: Method, by_cookie: bool) -> Result<(), Code> {
    if rule.cookie_only && method == Method::Clerk && !by_cookie {
        return Err(Code::MethodNotAccepted);
    }
    accepts(rule, method)
}

/// The role to which everything belongs.
const ADMIN: &str = "admin";

/// Decides. The order is fixed, so that a request always gets the same reason: account, key and sign-out first, then kind,
/// role, subscription, scope, ownership. `owner` is what stands in the path where the rule wants the caller's own id.
///
/// # Errors
/// The reason of the refusal.
pub fn decide<'a>(caller: Caller<'a>, rule: &Rule, owner: Option<&[u8]>, now_seconds: u64) -> Result<Permit<'a>, Code> {
    let identity = caller.identity;
    if !identity.is_active {
        return Err(Code::UserInactive);
    }
    let expiry = identity.key.as_ref().and_then(|key| key.expires_at);
    if expiry.is_some_and(|expires_at| expires_at <= now_seconds) {
        return Err(Code::ApiKeyExpired);
    }
    if caller.is_from_before_a_sign_out() {
        return Err(Code::TokenRevoked);
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
    // The segment as it was sent: one that is encoded is another one, for us and for the backend.
    if rule.owner.is_some() && *identity.role != *ADMIN && owner != Some(identity.user_id.as_bytes()) {
        return Err(Code::NotOwner);
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
        let caller = Caller { issued_at: Some(50), ..caller(Method::Clerk, &identity, &scopes) };
        assert_eq!(decide(caller, &rule, None, 100).map(|_| ()), expect);
    }

    fn caller<'a>(method: Method, identity: &'a Identity, scopes: &'a [Box<str>]) -> Caller<'a> {
        Caller { method, identity, scopes, session_id: None, issued_at: None, actor: None }
    }

    #[test]
    fn a_token_from_before_a_sign_out_is_revoked_and_a_key_is_not() {
        for (method, not_before, issued_at, expect) in [
            (Method::Clerk, Some(100), Some(100), Ok(())),
            (Method::Clerk, Some(100), Some(99), Err(Code::TokenRevoked)),
            (Method::Legacy, Some(100), Some(100), Ok(())),
            (Method::Legacy, Some(100), Some(99), Err(Code::TokenRevoked)),
            (Method::Legacy, Some(100), None, Err(Code::TokenRevoked)),
            (Method::Legacy, None, None, Ok(())),
            (Method::ApiKey, Some(100), None, Ok(())),
            (Method::ApiKey, Some(100), Some(1), Ok(())),
        ] {
            let mut identity = identity();
            identity.tokens_not_before = not_before;
            let caller = Caller { issued_at, ..caller(method, &identity, &[]) };
            let decided = decide(caller, &Rule::default(), None, 100).map(|_| ());
            assert_eq!(decided, expect, "{method:?} {not_before:?} {issued_at:?}");
        }
    }

    fn key(expires_at: Option<u64>) -> Option<tollgate_protocol::KeyFacts> {
        let hash = tollgate_protocol::KeyHash([0; 32]);
        Some(tollgate_protocol::KeyFacts { id: "k".into(), hash, scopes: vec![], expires_at, rate: None })
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
    fn where_the_cookie_alone_is_accepted_other_tokens_are_not_touched() {
        let rule = |kinds: &[Method], cookie_only| Rule { accept: Accepted::of(kinds), cookie_only, ..Rule::default() };
        let refused = Err(Code::MethodNotAccepted);
        for (rule, method, by_cookie, expect) in [
            (rule(&[Method::Clerk], true), Method::Clerk, true, Ok(())),
            (rule(&[Method::Clerk], true), Method::Clerk, false, refused),
            (rule(&[Method::Clerk], true), Method::Legacy, false, refused),
            (rule(&[Method::Clerk, Method::Legacy], true), Method::Legacy, false, Ok(())),
            (rule(&[Method::Clerk, Method::Legacy], true), Method::Clerk, false, refused),
            (rule(&[Method::Clerk], false), Method::Clerk, false, Ok(())),
            (rule(&[Method::Clerk], false), Method::Clerk, true, Ok(())),
        ] {
            assert_eq!(accepts_token(&rule, method, by_cookie), expect, "{rule:?} {method:?} {by_cookie}");
        }
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
