//! Deliveries as Svix signs them. It must not know what is delivered.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::http::Request;

/// A delivery, not sent yet.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Id of the message.
    pub id: String,
    /// Unix seconds of this attempt.
    pub timestamp: String,
    /// The body.
    pub body: String,
}

impl Delivery {
    /// A delivery at this moment.
    pub fn new(id: &str, now: u64, body: impl ToString) -> Self {
        Self { id: id.to_owned(), timestamp: now.to_string(), body: body.to_string() }
    }

    /// The signature with a secret (`whsec_…`).
    ///
    /// # Panics
    /// If it is no secret.
    pub fn signature(&self, secret: &str) -> String {
        let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a secret");
        let mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is fine");
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        format!("v1,{}", STANDARD.encode(mac.chain_update(signed).finalize().into_bytes()))
    }

    /// The request with a signature.
    pub fn request(&self, path: &str, signature: &str) -> Request {
        Request::post(path, self.body.clone())
            .header("Content-Type", "application/json")
            .header("svix-id", &self.id)
            .header("svix-timestamp", &self.timestamp)
            .header("svix-signature", signature)
    }

    /// The request as it should be.
    ///
    /// # Panics
    /// If it is no secret.
    pub fn signed(&self, path: &str, secret: &str) -> Request {
        self.request(path, &self.signature(secret))
    }
}
