//! One bit of a good token is changed, anywhere: it is refused, and for a reason that fits the place.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate_core::verify::{Alg, IssuerSet, NativeVerifier, NoNative, Source, verify};
use tollgate_protocol::Code;
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::IssuerKind;

use super::forge::{Signer, base64};
use super::host::RustHost;
use super::{CLAIMS, Case, HEADER, LEGACY, NOW, compile, issuer};

/// Inside wasm RSA is slower: there each byte has one of its bits changed, another for each byte.
const ALL_BITS: bool = cfg!(not(target_arch = "wasm32"));

pub(crate) fn every_bit() {
    every_bit_with(&NoNative);
}

pub(crate) fn every_bit_with_host() {
    every_bit_with(&RustHost);
}

fn every_bit_with(native: &dyn NativeVerifier) {
    for alg in Alg::ALL {
        let signer = Signer::new(*alg);
        let issuers = compile(&[
            issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer.jwk(Some("k1"))]),
            issuer(IssuerKind::Legacy, None, vec![signer.jwk(None)]),
        ]);
        let header = format!(r#"{{"alg":"{}","kid":"k1","typ":"JWT"}}"#, alg.as_str());
        flip(&issuers, native, &signer.token(&header, LEGACY.as_bytes()));
    }
    let signer = Signer::new(Alg::Rs256);
    let issuers = compile(&[issuer(IssuerKind::Clerk, Some("https://clerk.test"), vec![signer.jwk(Some("ins_one"))])]);
    flip(&issuers, native, &signer.token(HEADER, CLAIMS.as_bytes()));
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Header,
    Payload,
    Signature,
}

fn flip(issuers: &IssuerSet, native: &dyn NativeVerifier, token: &[u8]) {
    Case { native, ..Case::new(issuers) }.check("unchanged", token, None);
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let (payload_at, signature_at) = (parts[0].len() + 1, parts[0].len() + parts[1].len() + 2);
    // In the token as sent.
    for (at, bit) in bits(token.len()) {
        let mut changed = token.to_vec();
        changed[at] ^= 1 << bit;
        let part = match at {
            _ if at >= signature_at => Part::Signature,
            _ if at >= payload_at => Part::Payload,
            _ => Part::Header,
        };
        refused(issuers, native, &changed, part, token[at] == b'.');
    }
    // In what the segments mean.
    for (part, index) in [(Part::Header, 0), (Part::Payload, 1), (Part::Signature, 2)] {
        let decoded = URL_SAFE_NO_PAD.decode(parts[index]).unwrap();
        for (at, bit) in bits(decoded.len()) {
            let mut changed = decoded.clone();
            changed[at] ^= 1 << bit;
            let mut segments: Vec<String> =
                parts.iter().map(|part| String::from_utf8((*part).to_vec()).unwrap()).collect();
            segments[index] = base64(&changed);
            refused(issuers, native, segments.join(".").as_bytes(), part, false);
        }
    }
}

fn bits(bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..bytes).flat_map(|at| (0..8).map(move |bit| (at, bit))).filter(|(at, bit)| ALL_BITS || at % 8 == *bit)
}

fn refused(issuers: &IssuerSet, native: &dyn NativeVerifier, token: &[u8], part: Part, was_dot: bool) {
    let got = verify(token, Source::Header, issuers, NOW, &Limits::default(), native);
    let code = got.as_ref().map_err(|fault| fault.code()).map(|_| ()).expect_err("a changed token was accepted");
    let fits = match part {
        _ if was_dot => code == Code::TokenMalformed,
        // Which of the two follows from the alphabet: what is base64url at all is a signature that does not hold.
        Part::Signature if decodes(token) => code == Code::TokenBadSignature,
        Part::Signature => code == Code::TokenMalformed,
        Part::Payload => matches!(code, Code::TokenMalformed | Code::TokenWrongIssuer | Code::TokenBadSignature),
        Part::Header => matches!(
            code,
            Code::TokenMalformed
                | Code::TokenAlgorithm
                | Code::TokenUnknownKey
                | Code::TokenWrongClass
                | Code::TokenBadSignature
        ),
    };
    assert!(fits, "{code} in {}", String::from_utf8_lossy(token));
}

fn decodes(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    let all = parts.by_ref().take(3).filter(|part| URL_SAFE_NO_PAD.decode(part).is_ok()).count() == 3;
    all && parts.next().is_none()
}
