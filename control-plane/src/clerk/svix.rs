//! The signature of a webhook, as Svix and Standard Webhooks make it (`https://docs.svix.com/receiving/verifying-payloads/
//! how-manual`): HMAC-SHA256 over `id.timestamp.body`. It must not know what the body says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::Timestamp;

/// How far the time of an attempt may be from now, in seconds, either way.
const TOLERANCE_SECONDS: u64 = 300;
/// Shortest key, in bytes. Svix makes 24; what is shorter than this was not copied whole.
const LEAST_KEY: usize = 16;
/// Longest id of a delivery, in bytes.
const MAX_ID: usize = 128;
/// Most signatures of a header that are looked at.
const MAX_SIGNATURES: usize = 16;

/// A signing secret of an endpoint. `Debug` shows that it is there, never what it is.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl core::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Why a text is no signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// It begins otherwise.
    #[error("must begin with whsec_: it is shown in Clerk's dashboard with the endpoint of the webhook")]
    Prefix,
    /// The rest is no base64.
    #[error("is not base64 after its prefix: check that it was copied whole")]
    Encoding,
    /// It is too short.
    #[error("is shorter than any signing secret: check that it was copied whole")]
    Short,
}

impl SigningSecret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// Says what is wrong, without the text.
    pub fn parse(text: &str) -> Result<Self, SecretFault> {
        let encoded = text.strip_prefix("whsec_").ok_or(SecretFault::Prefix)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretFault::Encoding)?);
        if key.len() < LEAST_KEY { Err(SecretFault::Short) } else { Ok(Self(key)) }
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        Some(
            [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
                .into_iter()
                .fold(mac, |mac, part| mac.chain_update(part)),
        )
    }
}

/// The three headers of a delivery, each of which was there once.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'h> {
    /// Id of the delivery.
    pub id: &'h str,
    /// Unix seconds of this attempt.
    pub timestamp: &'h str,
    /// Signatures, separated by spaces.
    pub signature: &'h str,
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// A header is missing, or there more than once, or makes no sense.
    #[error("the headers of a signed delivery are missing, doubled or unreadable")]
    Headers,
    /// It was sent too long ago, or is yet to be sent.
    #[error("the time of the attempt is more than {TOLERANCE_SECONDS} s from now")]
    Time,
    /// No signature was made with one of the secrets.
    #[error("no signature is of one of the secrets")]
    Signature,
}

impl SignatureFault {
    /// The word that stands for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "bad_headers",
            Self::Time => "bad_time",
            Self::Signature => "bad_signature",
        }
    }
}

impl Headers<'_> {
    /// Whether the attempt is of this time. Nothing is believed yet.
    ///
    /// # Errors
    /// [`SignatureFault::Headers`] or [`SignatureFault::Time`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), SignatureFault> {
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(1..=MAX_ID).contains(&self.id.len()) || !self.id.bytes().all(named) {
            return Err(SignatureFault::Headers);
        }
        let seconds: u64 = self.timestamp.parse().map_err(|_| SignatureFault::Headers)?;
        // What is signed is the text: only the one way of writing a number is one ("+1" and "01" would parse, too).
        if seconds.to_string() != self.timestamp {
            return Err(SignatureFault::Headers);
        }
        if seconds.abs_diff(now.unix_seconds()) > TOLERANCE_SECONDS { Err(SignatureFault::Time) } else { Ok(()) }
    }

    /// Whether one of the signatures was made with one of the secrets. Each comparison takes the same time whatever
    /// differs.
    ///
    /// # Errors
    /// [`SignatureFault`] says why the delivery is not believed.
    pub fn verify(&self, secrets: &[SigningSecret], body: &[u8], now: Timestamp) -> Result<(), SignatureFault> {
        self.check_time(now)?;
        let signatures = self.signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        for signature in signatures.take(MAX_SIGNATURES) {
            let Ok(given) = STANDARD.decode(signature) else { continue };
            for secret in secrets {
                let mac = secret.mac(self.id, self.timestamp, body).ok_or(SignatureFault::Signature)?;
                if mac.verify_slice(&given).is_ok() {
                    return Ok(());
                }
            }
        }
        Err(SignatureFault::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Svix's documentation.
    const SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    const ID: &str = "msg_loFOjxBNrRLzqYUf";
    const TIME: &str = "1731705121";
    const BODY: &[u8] = br#"{"event_type":"ping","data":{"success":true}}"#;
    const SIGNATURE: &str = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=";
    const SENT: i64 = 1_731_705_121;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    fn verify(headers: Headers<'_>, body: &[u8], now: i64) -> Result<(), SignatureFault> {
        let other = secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        headers.verify(&[other, secret(SECRET)], body, Timestamp::from_seconds(now))
    }

    #[test]
    fn the_published_example_is_believed() {
        let headers = Headers { id: ID, timestamp: TIME, signature: SIGNATURE };
        assert_eq!(verify(headers, BODY, SENT), Ok(()));
        assert_eq!(headers.verify(&[], BODY, Timestamp::from_seconds(SENT)), Err(SignatureFault::Signature));
        for (moved, expected) in
            [(-301, Err(SignatureFault::Time)), (-300, Ok(())), (300, Ok(())), (301, Err(SignatureFault::Time))]
        {
            assert_eq!(verify(headers, BODY, SENT + moved), expected, "{moved} s");
        }
    }

    #[test]
    fn of_several_signatures_one_is_enough_and_other_versions_do_not_count() {
        let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let (v1a, v2) = (SIGNATURE.replace("v1", "v1a"), SIGNATURE.replace("v1", "v2"));
        let good = [format!("{wrong} {SIGNATURE}"), format!("v1,%% {v2} {SIGNATURE} {wrong}")];
        for signature in &good {
            assert_eq!(verify(Headers { id: ID, timestamp: TIME, signature }, BODY, SENT), Ok(()), "{signature}");
        }
        let late = format!("{} {SIGNATURE}", [wrong; MAX_SIGNATURES].join(" "));
        let bare = SIGNATURE.trim_start_matches("v1,");
        for signature in ["", "v1,", "v1", wrong, &v1a, &v2, bare, &late, &SIGNATURE.replace(',', "=")] {
            let found = verify(Headers { id: ID, timestamp: TIME, signature }, BODY, SENT);
            assert_eq!(found, Err(SignatureFault::Signature), "{signature}");
        }
    }

    #[test]
    fn what_was_altered_is_refused() {
        let altered = BODY.to_ascii_uppercase();
        let headers = Headers { id: ID, timestamp: TIME, signature: SIGNATURE };
        assert_eq!(verify(headers, &altered, SENT), Err(SignatureFault::Signature));
        assert_eq!(verify(headers, b"", SENT), Err(SignatureFault::Signature));
        assert_eq!(verify(Headers { id: "msg_other", ..headers }, BODY, SENT), Err(SignatureFault::Signature));
        assert_eq!(verify(Headers { timestamp: "1731705122", ..headers }, BODY, SENT), Err(SignatureFault::Signature));
        let long = "x".repeat(MAX_ID + 1);
        for id in ["", "a.b", "a b", "é", &long] {
            assert_eq!(verify(Headers { id, ..headers }, BODY, SENT), Err(SignatureFault::Headers), "{id}");
        }
        for timestamp in ["", "x", "-1", "+1731705121", "01731705121", "1731705121.0", "99999999999999999999999"] {
            let found = verify(Headers { timestamp, ..headers }, BODY, SENT);
            assert_eq!(found, Err(SignatureFault::Headers), "{timestamp}");
        }
    }

    #[test]
    fn secrets_are_read_and_not_printed() {
        assert_eq!(SigningSecret::parse("plJ3nmyCDGBKInavdOK15jsl").err(), Some(SecretFault::Prefix));
        assert_eq!(SigningSecret::parse("whsec_%%").err(), Some(SecretFault::Encoding));
        for short in ["whsec_", "whsec_AAAA"] {
            assert_eq!(SigningSecret::parse(short).err(), Some(SecretFault::Short), "{short}");
        }
        assert_eq!(format!("{:?}", secret(SECRET)), "SigningSecret(…)");
    }
}
