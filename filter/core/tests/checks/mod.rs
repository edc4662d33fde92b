//! What is checked of token verification, natively (`verify.rs`) and inside wasm (`wasm.rs`), from one list.

pub(crate) mod bounds;
pub(crate) mod choice;
pub(crate) mod clerk;
pub(crate) mod flips;
pub(crate) mod forge;
pub(crate) mod host;
pub(crate) mod hostile;
pub(crate) mod keys;
pub(crate) mod legacy;

use tollgate_core::verify::{IssuerSet, NativeVerifier, NoNative, Source, VerifiedClaims, verify};
use tollgate_protocol::Code;
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::{ClaimNames, Issuer, IssuerKind, Jwk, MissingParty};

/// The time of every check, in unix seconds.
pub(crate) const NOW: u64 = 1_900_000_000;

/// Header of a good session token (Clerk facts 1.2).
pub(crate) const HEADER: &str = r#"{"alg":"RS256","cat":"cl_B7d4PD111AAA","kid":"ins_one","typ":"JWT"}"#;

/// Payload of a good session token of format 2 (Clerk facts 1.3).
pub(crate) const CLAIMS: &str = r#"{"azp":"https://app.test","exp":1900000060,"fva":[0,-1],"iat":1900000000,"iss":"https://clerk.test","jti":"j1","nbf":1899999990,"sid":"sess_1","sts":"active","sub":"user_1","v":2}"#;

/// Payload of a good legacy token.
pub(crate) const LEGACY: &str = r#"{"exp":1900000060,"iat":1900000000,"iss":"https://legacy.test","sub":"42"}"#;

pub(crate) fn issuer(kind: IssuerKind, name: Option<&str>, keys: Vec<Jwk>) -> Issuer {
    Issuer {
        kind,
        issuer: name.map(Into::into),
        authorized_parties: match kind {
            IssuerKind::Clerk => vec!["https://app.test".into(), "https://other.test".into()],
            IssuerKind::Legacy => Vec::new(),
        },
        missing_party: MissingParty::Refuse,
        audience: Vec::new(),
        leeway_seconds: 5,
        max_lifetime_seconds: None,
        claims: ClaimNames::default(),
        keys,
    }
}

pub(crate) fn compile(issuers: &[Issuer]) -> IssuerSet {
    let (set, faults) = IssuerSet::compile(issuers);
    assert!(faults.is_empty(), "{faults:?}");
    set
}

/// One token in one setting.
pub(crate) struct Case<'a> {
    pub(crate) issuers: &'a IssuerSet,
    pub(crate) source: Source,
    pub(crate) now: u64,
    pub(crate) limits: Limits,
    pub(crate) native: &'a dyn NativeVerifier,
}

impl<'a> Case<'a> {
    pub(crate) fn new(issuers: &'a IssuerSet) -> Self {
        Self { issuers, source: Source::Header, now: NOW, limits: Limits::default(), native: &NoNative }
    }

    /// `None` expects claims, a code expects that refusal.
    pub(crate) fn check(&self, label: &str, token: &[u8], expect: Option<Code>) -> Option<VerifiedClaims> {
        let got = verify(token, self.source, self.issuers, self.now, &self.limits, self.native);
        let code = got.as_ref().err().map(|fault| fault.code());
        assert_eq!(code, expect, "{label}: {got:?}");
        got.ok()
    }
}

/// Replaces parts of a JSON text; each part must occur, so that a case cannot lose its meaning unnoticed.
pub(crate) fn edited(base: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(base.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1)
    })
}

/// Every check, as a function with this attribute.
macro_rules! every_check {
    ($($test:tt)+) => {
        #[$($test)+] fn clerk_tokens() { checks::clerk::tokens(); }
        #[$($test)+] fn clerk_claims() { checks::clerk::claims(); }
        #[$($test)+] fn clerk_parties() { checks::clerk::parties(); }
        #[$($test)+] fn clerk_times() { checks::clerk::times(); }
        #[$($test)+] fn legacy_tokens() { checks::legacy::tokens(); }
        #[$($test)+] fn legacy_claims() { checks::legacy::claims(); }
        #[$($test)+] fn legacy_every_algorithm() { checks::legacy::every_algorithm(); }
        #[$($test)+] fn choice_of_issuer_and_key() { checks::choice::issuer_and_key(); }
        #[$($test)+] fn choice_a_key_given_as_pem_has_no_name() { checks::choice::a_key_given_as_pem_has_no_name(); }
        #[$($test)+] fn choice_several_keys_alike() { checks::choice::several_keys_alike(); }
        #[$($test)+] fn choice_algorithm_confusion() { checks::choice::algorithm_confusion(); }
        #[$($test)+] fn flips_of_every_bit() { checks::flips::every_bit(); }
        #[$($test)+] fn flips_of_every_bit_host() { checks::flips::every_bit_with_host(); }
        #[$($test)+] fn hostile_bytes() { checks::hostile::bytes(); }
        #[$($test)+] fn hostile_shapes() { checks::hostile::shapes(); }
        #[$($test)+] fn hostile_json() { checks::hostile::json(); }
        #[$($test)+] fn bounds_depth() { checks::bounds::depth(); }
        #[$($test)+] fn bounds_numbers() { checks::bounds::numbers(); }
        #[$($test)+] fn bounds_lengths() { checks::bounds::lengths(); }
        #[$($test)+] fn host_answers() { checks::host::answers(); }
        #[$($test)+] fn host_gets_der() { checks::host::gets_der(); }
        #[$($test)+] fn keys_are_checked() { checks::keys::are_checked(); }
        #[$($test)+] fn keys_of_a_set() { checks::keys::of_a_set(); }
        #[$($test)+] fn keys_change_the_generation() { checks::keys::change_the_generation(); }
        #[$($test)+] fn keys_refuse_odd_signatures() { checks::keys::refuse_odd_signatures(); }
    };
}
pub(crate) use every_check;
