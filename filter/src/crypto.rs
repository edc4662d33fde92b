//! Envoy's own signature check, the foreign function `verify_signature` (Envoy since 1.30): RSA PKCS#1 v1.5 and ECDSA.
//! Whether it is there and tells right from wrong is tried once, with a known answer, before it is believed.

use tollgate_core::verify::{HashName, Key, NativeVerifier};
use tollgate_protocol::issuer::{IssuerKind, Jwk};

use crate::host;

/// Asks Envoy. `None`: there is no such function, or its answer cannot be read.
pub(crate) fn verify_signature(hash: HashName, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
    let size = spki_der.len().saturating_add(signature.len()).saturating_add(message.len()).saturating_add(32);
    let mut arguments = Vec::with_capacity(size);
    for (field, bytes) in [(1, hash.as_str().as_bytes()), (2, spki_der), (3, signature), (4, message)] {
        put_bytes(&mut arguments, field, bytes);
    }
    read_result(&host::foreign("verify_signature", &arguments)?)
}

/// Appends a length-delimited field (Protocol Buffers encoding, wire type 2).
fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push((field << 3) | 2);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
    out.extend_from_slice(bytes);
}

/// Reads `VerifySignatureResult`: field 1, a bool, absent where it is false; field 2, an error text, is not needed.
fn read_result(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] | [0x12, ..] | [0x08, 0, ..] => Some(false),
        [0x08, 1, ..] => Some(true),
        _ => None,
    }
}

/// Envoy's function, before it is trusted: counts nothing, decides nothing.
struct OnTrial;

impl NativeVerifier for OnTrial {
    fn verify(&self, hash: HashName, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        // `Some(false)` on trial for what cannot be had, so that the pure fall-back does not answer in its place.
        Some(verify_signature(hash, spki_der, signature, message).unwrap_or(false))
    }
}

const TRIAL_MESSAGE: &[u8] = b"tollgate self-test";
const TRIAL_MODULUS: &str = "vjjzjChtVi_nkalv4NUSorWtAaSw1dYtI-Wf-HJo7vb9IUZcZh5V97z8KOQcNzn5aD79wJSMqw_yZwM9zM3dR9EeWCsHfQ1TG5xdve2MkMIrhKnWp5jRFLlH72mMWYFFWTEBlCVruqQa4YBN_AFQfyIFr_OdABlAUpIOeRDcKh8S5t2arObbsieSkwWELnzybOTmST73y1LMpLTHqvdovFsyLij3slACKD8dqYYTxtAddV8m3gMe1Tk4M5wmvHkiylS8azRk-BBqqm9VW6pi4d7ell3GwPVw9O4-ovHggeTXmg7w3OMXs7_AYfCEdPsUgFfhlvQuEbvirouB_IJjGw";
const TRIAL_SIGNATURE: &str = "OpHkrviLubHL6-3NRfiIyyOQWWy21EZQKnxglYmvba70rn15sLPVlRV6A00VByfM79u5QBWT-zuKlrEny31cwbv7EwR8k1HXqXX5U_Y7TqhfluAsXfRzpzfCF3jqWl6PTSixtFFvJ1GiKBdWQqUeef3wwyXzMKDlnng4zwYO1-KYC5iqokTcCepQAiLOoB4PZdvcVfVfk9cMXBsSFpOOsK0u7AuGEDRnn7z5lHy8f8e9SlMvsui7PRkCBrlS5Hh3CCHQHP5Uwoh6OTj6LE4USzy_t14iHHlG7ndpQtvOhip4s7ME4J6IfIqrpsvGVmqogV3glsazK_eAma3flyR3og";

/// Whether Envoy's verifier is there, accepts a good signature and refuses a bad one. The key's other half was
/// thrown away.
pub(crate) fn native_works() -> bool {
    let jwk = Jwk {
        kty: "RSA".into(),
        alg: "RS256".into(),
        kid: None,
        crv: None,
        n: Some(TRIAL_MODULUS.into()),
        e: Some("AQAB".into()),
        x: None,
        y: None,
        k: None,
    };
    let (Ok(key), Some(signature)) =
        (Key::from_jwk(&jwk, IssuerKind::Legacy), tollgate_core::base64url(TRIAL_SIGNATURE))
    else {
        return false;
    };
    key.verify(TRIAL_MESSAGE, &signature, &OnTrial) && !key.verify(b"tollgate self-tesT", &signature, &OnTrial)
}
