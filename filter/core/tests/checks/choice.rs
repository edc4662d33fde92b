//! Which issuer and which key a token is held against, and what a forger gains from choosing.

use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use tollgate_core::verify::{Alg, VerifyFault, verify};
use tollgate_protocol::Code;
use tollgate_protocol::issuer::IssuerKind;

use super::forge::{Rsa, Signer, base64, hmac};
use super::{CLAIMS, Case, HEADER, LEGACY, NOW, compile, edited, issuer};

const ONE: &str = "https://one.test";
const TWO: &str = "https://two.test";

pub(crate) fn issuer_and_key() {
    use Code::*;
    let (first, second) = (Signer::rsa(Alg::Rs256, Rsa::One), Signer::rsa(Alg::Rs256, Rsa::Two));
    let secret = Signer::new(Alg::Hs256);
    let issuers = compile(&[
        issuer(IssuerKind::Clerk, Some(ONE), vec![first.jwk(Some("ins_one"))]),
        issuer(IssuerKind::Clerk, Some(TWO), vec![second.jwk(Some("ins_two"))]),
        issuer(IssuerKind::Legacy, None, vec![secret.jwk(None), first.jwk(Some("rsa"))]),
    ]);
    let case = Case::new(&issuers);
    let clerk = |signer: &Signer, kid: &str, iss: &str| {
        signer.token(&edited(HEADER, &[("ins_one", kid)]), edited(CLAIMS, &[("https://clerk.test", iss)]).as_bytes())
    };
    for (label, token, expect) in [
        ("first", clerk(&first, "ins_one", ONE), None),
        ("second", clerk(&second, "ins_two", TWO), None),
        ("first's key signs for second", clerk(&first, "ins_one", TWO), Some(TokenUnknownKey)),
        ("first's key under second's name", clerk(&first, "ins_two", TWO), Some(TokenBadSignature)),
        ("second's key under first's name", clerk(&second, "ins_one", ONE), Some(TokenBadSignature)),
        ("a legacy key's name", clerk(&first, "rsa", ONE), Some(TokenUnknownKey)),
    ] {
        case.check(label, &token, expect);
    }
    let unnamed = edited(LEGACY, &[(r#""iss":"https://legacy.test","#, "")]);
    for (label, signer, header, expect) in [
        ("no kid", &secret, r#"{"alg":"HS256"}"#, None),
        ("by kid", &first, r#"{"alg":"RS256","kid":"rsa"}"#, None),
        ("unknown kid goes to the key without", &secret, r#"{"alg":"HS256","kid":"x"}"#, None),
        ("unknown kid never goes to another", &first, r#"{"alg":"RS256","kid":"x"}"#, Some(TokenAlgorithm)),
        ("no kid never goes to a named key", &first, r#"{"alg":"RS256"}"#, Some(TokenAlgorithm)),
        ("kid of the other", &secret, r#"{"alg":"HS256","kid":"rsa"}"#, Some(TokenAlgorithm)),
    ] {
        case.check(label, &signer.token(header, unnamed.as_bytes()), expect);
    }
    // The Clerk key cannot speak for the legacy issuer: its token has no kid there, or another key's.
    let token = second.token(r#"{"alg":"RS256","kid":"rsa"}"#, unnamed.as_bytes());
    case.check("Clerk key, legacy issuer", &token, Some(TokenBadSignature));

    let fault = |token: &[u8]| verify(token, case.source, &issuers, NOW, &case.limits, case.native).unwrap_err();
    assert_eq!(fault(&clerk(&first, "ins_x", ONE)), VerifyFault::UnknownKey { issuer: Some(ONE.into()) });
    let header = edited(HEADER, &[(r#""kid":"ins_one","#, "")]);
    let nameless = first.token(&header, edited(CLAIMS, &[("https://clerk.test", ONE)]).as_bytes());
    assert_eq!(fault(&nameless), VerifyFault::KeyNotNamed);
}

pub(crate) fn a_key_given_as_pem_has_no_name() {
    let (given, other) = (Signer::rsa(Alg::Rs256, Rsa::One), Signer::rsa(Alg::Rs256, Rsa::Two));
    let set = compile(&[issuer(IssuerKind::Clerk, Some("https://clerk.test"), vec![given.jwk(None)])]);
    let case = Case::new(&set);
    case.check("any kid", &given.token(HEADER, CLAIMS.as_bytes()), None);
    case.check("another key", &other.token(HEADER, CLAIMS.as_bytes()), Some(Code::TokenBadSignature));
    let header = edited(HEADER, &[(r#""kid":"ins_one","#, "")]);
    case.check("no kid", &given.token(&header, CLAIMS.as_bytes()), Some(Code::TokenUnknownKey));
}

pub(crate) fn several_keys_alike() {
    let (old, new) = (Signer::rsa(Alg::Rs256, Rsa::One), Signer::rsa(Alg::Rs256, Rsa::Two));
    let token = |signer: &Signer| signer.token(HEADER, CLAIMS.as_bytes());
    let set = |signers: &[&Signer]| {
        let keys = signers.iter().map(|signer| signer.jwk(Some("ins_one"))).collect();
        compile(&[issuer(IssuerKind::Clerk, Some("https://clerk.test"), keys)])
    };
    let (before, during, after) = (set(&[&old]), set(&[&new, &old]), set(&[&new]));
    for (label, issuers, signer, expect) in [
        ("old key before", &before, &old, None),
        ("new key before", &before, &new, Some(Code::TokenBadSignature)),
        ("old key during", &during, &old, None),
        ("new key during", &during, &new, None),
        ("old key after", &after, &old, Some(Code::TokenBadSignature)),
        ("new key after", &after, &new, None),
    ] {
        Case::new(issuers).check(label, &token(signer), expect);
    }
}

/// A public key is no secret: whoever uses it as one for HMAC must fail, in every spelling of it.
pub(crate) fn algorithm_confusion() {
    let private = Rsa::One.private();
    let public = private.to_public_key();
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    let spellings: Vec<Vec<u8>> = vec![
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        pem.replace('\n', "\r\n").into_bytes(),
        public.to_public_key_der().unwrap().as_bytes().to_vec(),
        public.to_pkcs1_pem(LineEnding::LF).unwrap().into_bytes(),
        public.to_pkcs1_der().unwrap().as_bytes().to_vec(),
        Rsa::One.modulus(),
        public.n().to_be_bytes().to_vec(),
        base64(&Rsa::One.modulus()).into_bytes(),
        Vec::new(),
    ];
    let rsa = Signer::rsa(Alg::Rs256, Rsa::One);
    let clerk = compile(&[issuer(IssuerKind::Clerk, Some("https://clerk.test"), vec![rsa.jwk(Some("ins_one"))])]);
    let legacy = compile(&[issuer(
        IssuerKind::Legacy,
        Some("https://legacy.test"),
        vec![rsa.jwk(Some("ins_one")), Signer::new(Alg::Hs256).jwk(None)],
    )]);
    for secret in &spellings {
        for alg in [Alg::Hs256, Alg::Hs384, Alg::Hs512] {
            for (issuers, payload) in [(&clerk, CLAIMS), (&legacy, LEGACY)] {
                // HMAC announced: not the key's algorithm.
                let header = edited(HEADER, &[("RS256", alg.as_str())]);
                let message = format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()));
                let signature = base64(&hmac(alg, secret, message.as_bytes()));
                Case::new(issuers).check(
                    "HMAC announced",
                    format!("{message}.{signature}").as_bytes(),
                    Some(Code::TokenAlgorithm),
                );
                // RS256 announced over an HMAC: no signature.
                let message = format!("{}.{}", base64(HEADER.as_bytes()), base64(payload.as_bytes()));
                let signature = base64(&hmac(alg, secret, message.as_bytes()));
                Case::new(issuers).check(
                    "RS256 announced",
                    format!("{message}.{signature}").as_bytes(),
                    Some(Code::TokenBadSignature),
                );
            }
            // The legacy issuer has a secret, but another one.
            let message = format!(
                "{}.{}",
                base64(format!(r#"{{"alg":"{}"}}"#, alg.as_str()).as_bytes()),
                base64(LEGACY.as_bytes())
            );
            let signature = base64(&hmac(alg, secret, message.as_bytes()));
            let expect = if alg == Alg::Hs256 { Code::TokenBadSignature } else { Code::TokenAlgorithm };
            Case::new(&legacy).check("no kid", format!("{message}.{signature}").as_bytes(), Some(expect));
        }
    }
    for payload in [CLAIMS, LEGACY] {
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"none","kid":"ins_one"}"#,
            r#"{"alg":"NONE","kid":"ins_one"}"#,
            r#"{"alg":"","kid":"ins_one"}"#,
        ] {
            for signature in ["", "AA"] {
                let token = format!("{}.{}.{signature}", base64(header.as_bytes()), base64(payload.as_bytes()));
                let issuers = if payload == CLAIMS { &clerk } else { &legacy };
                Case::new(issuers).check("none", token.as_bytes(), Some(Code::TokenAlgorithm));
            }
        }
    }
}
