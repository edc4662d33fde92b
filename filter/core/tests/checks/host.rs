//! The host's own verifier: what it is asked, and what its answer means.

use std::cell::RefCell;

use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs8::DecodePublicKey as _;
use sha2::{Sha256, Sha384, Sha512};
use tollgate_core::verify::{Alg, HashName, Key, NativeVerifier, NoNative};
use tollgate_protocol::Code;
use tollgate_protocol::issuer::IssuerKind;

use super::forge::{Rsa, Signer};
use super::{Case, LEGACY, compile, issuer};

/// A host that verifies from nothing but what it is given: the key's DER and the signature's DER.
pub(crate) struct RustHost;

impl NativeVerifier for RustHost {
    fn verify(&self, hash: HashName, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        if let Ok(key) = rsa::PublicKey::from_public_key_der(spki_der) {
            return Some(match hash {
                HashName::Sha256 => key.pkcs1v15_verify::<Sha256>(message, signature).is_ok(),
                HashName::Sha384 => key.pkcs1v15_verify::<Sha384>(message, signature).is_ok(),
                HashName::Sha512 => key.pkcs1v15_verify::<Sha512>(message, signature).is_ok(),
            });
        }
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(spki_der) {
            let signature = p256::ecdsa::Signature::from_der(signature).expect("DER of a P-256 signature");
            return Some(key.verify(message, &signature).is_ok());
        }
        let key = p384::ecdsa::VerifyingKey::from_public_key_der(spki_der).expect("DER of some key");
        let signature = p384::ecdsa::Signature::from_der(signature).expect("DER of a P-384 signature");
        Some(key.verify(message, &signature).is_ok())
    }
}

/// Writes down what it is asked and answers what it is told to.
struct Scripted {
    answer: Option<bool>,
    asked: RefCell<Vec<HashName>>,
}

impl NativeVerifier for Scripted {
    fn verify(&self, hash: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        self.asked.borrow_mut().push(hash);
        self.answer
    }
}

pub(crate) fn answers() {
    for alg in Alg::ALL {
        let signer = Signer::new(*alg);
        let issuers = compile(&[issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer.jwk(None)])]);
        let good = signer.token(&format!(r#"{{"alg":"{}"}}"#, alg.as_str()), LEGACY.as_bytes());
        let asked = matches!(alg, Alg::Rs256 | Alg::Rs384 | Alg::Rs512 | Alg::Es256 | Alg::Es384);
        for (answer, expect) in
            [(Some(true), None), (None, None), (Some(false), asked.then_some(Code::TokenBadSignature))]
        {
            let host = Scripted { answer, asked: RefCell::default() };
            Case { native: &host, ..Case::new(&issuers) }.check(&format!("{alg:?} {answer:?}"), &good, expect);
            let times = usize::from(asked);
            assert_eq!(host.asked.borrow().as_slice(), &[alg.hash()][..times], "{alg:?}");
        }
    }
}

pub(crate) fn gets_der() {
    for alg in [Alg::Rs256, Alg::Rs384, Alg::Rs512, Alg::Es256, Alg::Es384] {
        for rsa in [Rsa::One, Rsa::Long2049] {
            let signer = Signer::rsa(alg, rsa);
            let key = Key::from_jwk(&signer.jwk(None), IssuerKind::Legacy).unwrap();
            // Enough messages for r and s that begin with zero bits and with one bits.
            for message in 0..64_u8 {
                let signature = signer.sign(&[message]);
                assert!(key.verify(&[message], &signature, &RustHost), "{alg:?} {message}");
                assert!(!key.verify(&[message, 0], &signature, &RustHost), "{alg:?} {message}");
                assert!(key.verify(&[message], &signature, &NoNative), "{alg:?} {message}");
                assert!(!key.verify(&[message, 0], &signature, &NoNative), "{alg:?} {message}");
            }
            // What cannot be a signature does not get to the host, even one that would accept it.
            let host = Scripted { answer: Some(true), asked: RefCell::default() };
            let good = signer.sign(b"m");
            for bad in [&good[1..], &[&good[..], &[0]].concat(), &[], &good[..good.len() - 1]] {
                assert!(!key.verify(b"m", bad, &host), "{alg:?}");
            }
            if matches!(alg, Alg::Es256 | Alg::Es384) {
                assert!(!key.verify(b"m", &vec![0; good.len()], &host));
                assert!(!key.verify(b"m", &vec![0xff; good.len()], &host));
            }
            assert!(host.asked.borrow().is_empty());
        }
    }
}
