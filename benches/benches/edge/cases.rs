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
}

impl Sent {
    /// The status of every answer.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Tokens | Self::Keys => 200,
            Self::JunkKeys | Self::BadSignatures | Self::Expired => 401,
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// What is sent.
    pub(crate) sent: Sent,
    /// Ours.
    pub(crate) ours: Chain,
    /// What it is compared with.
    pub(crate) beside: Chain,
}

const fn case(name: &'static str, sent: Sent, ours: Chain, beside: Chain) -> Case {
    Case { name, sent, ours, beside }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    case("known Clerk JWT", Sent::Tokens, Chain::Tollgate, Chain::Jwt),
    case("RS256 JWT never seen before", Sent::Tokens, Chain::TollgateCold, Chain::JwtCold),
    case("known API key", Sent::Keys, Chain::Tollgate, Chain::ApiKey),
    case("known Clerk JWT beside ext_authz, HTTP", Sent::Tokens, Chain::Tollgate, Chain::AuthzHttp),
    case("known Clerk JWT beside ext_authz, gRPC", Sent::Tokens, Chain::Tollgate, Chain::AuthzGrpc),
    case("refused: junk key", Sent::JunkKeys, Chain::Tollgate, Chain::ApiKey),
    case("refused: bad signature", Sent::BadSignatures, Chain::Tollgate, Chain::JwtCold),
    case("refused: expired", Sent::Expired, Chain::Tollgate, Chain::JwtCold),
    case("RS256 JWT never seen before, without native crypto", Sent::Tokens, Chain::TollgateVm, Chain::JwtCold),
];
