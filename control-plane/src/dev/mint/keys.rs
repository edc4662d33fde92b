//! The RSA key of a token issuer. It must not know what is signed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use getrandom::SysRng;
use rsa::{
    PrivateKey,
    pkcs1v15::SigningKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
    signature::{SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{MintFault, random_base62, signing_input, with_signature};

/// Clerk's key size.
const BITS: usize = 2048;

/// A private RSA key and the name under which its public half is published.
#[derive(Clone)]
pub struct IssuerKey {
    private: PrivateKey,
    kid: String,
}

impl std::fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn fault(error: impl std::fmt::Display) -> MintFault {
    MintFault::Rsa(error.to_string())
}

impl IssuerKey {
    /// Makes a key with a new name of Clerk's form, `ins_…`. Takes a good part of a second.
    ///
    /// # Errors
    /// [`MintFault`] if the system gives no randomness.
    pub fn generate() -> Result<Self, MintFault> {
        let private = PrivateKey::new(&mut SysRng, BITS).map_err(fault)?;
        Ok(Self { private, kid: format!("ins_{}", random_base62(27)?) })
    }

    /// Reads a key from PKCS#8 PEM.
    ///
    /// # Errors
    /// [`MintFault::Rsa`] if it is not a usable RSA key.
    pub fn from_pem(pem: &str, kid: &str) -> Result<Self, MintFault> {
        Ok(Self { private: PrivateKey::from_pkcs8_pem(pem).map_err(fault)?, kid: kid.to_owned() })
    }

    /// The private key as PKCS#8 PEM.
    ///
    /// # Errors
    /// [`MintFault::Rsa`] if it cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, MintFault> {
        self.private.to_pkcs8_pem(LineEnding::LF).map_err(fault)
    }

    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The same key under another name.
    #[must_use]
    pub fn named(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The public half as a JSON Web Key, as Clerk publishes it.
    pub fn public_jwk(&self) -> Value {
        let member = |bytes: &[u8]| {
            let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
            URL_SAFE_NO_PAD.encode(bytes.get(start..).unwrap_or_default())
        };
        json!({
            "use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256",
            "n": member(&self.private.n_bytes()),
            "e": member(&self.private.e_bytes()),
        })
    }

    /// The underlying key, for tests that sign in other ways.
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// Signs a header and claims with RS256.
    ///
    /// # Errors
    /// [`MintFault::Rsa`] if the key cannot sign.
    pub fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> Result<String, MintFault> {
        let input = signing_input(header, claims);
        let signature = SigningKey::<Sha256>::new(self.private.clone()).try_sign(input.as_bytes()).map_err(fault)?;
        Ok(with_signature(&input, &signature.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_publishes_only_its_public_half() {
        let key = IssuerKey::generate().unwrap();
        let again = IssuerKey::from_pem(&key.to_pem().unwrap(), key.kid()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        let jwk = key.public_jwk();
        assert_eq!(jwk["e"], "AQAB");
        assert_eq!(jwk["n"].as_str().unwrap().len(), 342);
        let names: Vec<_> = jwk.as_object().unwrap().keys().cloned().collect();
        assert!(["d", "p", "q"].iter().all(|secret| !names.contains(&(*secret).to_owned())));
        assert!(!format!("{key:?}").contains(jwk["n"].as_str().unwrap()));
        assert!(IssuerKey::from_pem("nonsense", "k").is_err());
    }
}
