//! What is compared with what: scenarios are data. It must not know how a figure is measured.

use crate::chain::Chain;

/// What clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sent {
    /// 5,000 session tokens in turn.
    Tokens,
    /// 10,000 API keys in turn.
    Keys,
    /// Keys that nobody has.
    JunkKeys,
    /// Tokens whose signature is another one's.
    BadSignatures,
    /// Tokens whose time is over.
    Expired,
    /// Nothing that says who it is.
    Nothing,
    /// The same, where nobody has to say it.
    Public,
    /// An API key of somebody who has come too often.
    Limited,
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// What is sent.
    pub(crate) sent: Sent,
    /// Which of them shows it.
    pub(crate) number: usize,
    /// How often that one is sent before.
    pub(crate) before: usize,
    /// The status of the answer.
    pub(crate) status: u16,
}

const fn outcome(name: &'static str, sent: Sent, number: usize, before: usize, status: u16) -> Outcome {
    Outcome { name, sent, number, before, status }
}

pub(crate) const KNOWN_TOKEN: Outcome = outcome("permitted, known JWT", Sent::Tokens, 0, 2, 200);
/// Another token of the same person.
pub(crate) const NEW_TOKEN: Outcome = outcome("permitted, JWT never seen, of a known user", Sent::Tokens, 500, 0, 200);
pub(crate) const KNOWN_KEY: Outcome = outcome("permitted, known API key", Sent::Keys, 0, 2, 200);
pub(crate) const JUNK_KEY: Outcome = outcome("refused, junk key", Sent::JunkKeys, 0, 2, 401);
pub(crate) const BAD_SIGNATURE: Outcome = outcome("refused, bad signature", Sent::BadSignatures, 0, 2, 401);
pub(crate) const EXPIRED: Outcome = outcome("refused, expired", Sent::Expired, 0, 2, 401);

/// All of which host calls are counted.
pub(crate) const OUTCOMES: &[Outcome] = &[
    KNOWN_TOKEN,
    NEW_TOKEN,
    KNOWN_KEY,
    outcome("permitted, anonymous", Sent::Public, 0, 2, 200),
    JUNK_KEY,
    BAD_SIGNATURE,
    EXPIRED,
    outcome("refused, no credential", Sent::Nothing, 0, 2, 401),
    outcome("limited", Sent::Limited, 0, 3, 429),
];

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// How its requests end, where there is a filter.
    pub(crate) outcome: Outcome,
    /// Ours.
    pub(crate) ours: Chain,
    /// What it is compared with.
    pub(crate) beside: Chain,
}

const fn case(name: &'static str, outcome: Outcome, ours: Chain, beside: Chain) -> Case {
    Case { name, outcome, ours, beside }
}

const JWT: Case = case("known Clerk JWT", KNOWN_TOKEN, Chain::Tollgate, Chain::Jwt);
const KEY: Case = case("known API key", KNOWN_KEY, Chain::Tollgate, Chain::ApiKey);

/// Those whose CPU is compared.
pub(crate) const CASES: &[Case] = &[
    JWT,
    case("RS256 JWT never seen before", NEW_TOKEN, Chain::TollgateCold, Chain::JwtCold),
    KEY,
    case("known Clerk JWT beside ext_authz, HTTP", KNOWN_TOKEN, Chain::Tollgate, Chain::AuthzHttp),
    case("known Clerk JWT beside ext_authz, gRPC", KNOWN_TOKEN, Chain::Tollgate, Chain::AuthzGrpc),
    case("refused: junk key", JUNK_KEY, Chain::Tollgate, Chain::ApiKey),
    case("refused: bad signature", BAD_SIGNATURE, Chain::Tollgate, Chain::JwtCold),
    case("refused: expired", EXPIRED, Chain::Tollgate, Chain::JwtCold),
    case("RS256 JWT never seen before, without native crypto", NEW_TOKEN, Chain::TollgateVm, Chain::JwtCold),
];

/// Those whose latency is compared.
pub(crate) const PAIRS: &[Case] = &[JWT, KEY];
