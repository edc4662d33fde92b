//! An issuer whose key set can misbehave in every way that one has.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// A key set with this key.
    Good(&'static str),
    /// A web page, as a captive portal gives.
    Html,
    /// 200 without a body.
    Empty,
    /// A set without keys.
    NoKeys,
    /// A set whose only key is too short.
    WeakKey,
    /// 500 with a good set of another key.
    Error,
    /// A redirect to a good set of another key.
    Redirect,
    /// 10 MB.
    Huge,
    /// Half an answer, then silence.
    Slow,
    /// Half an answer, then hangs up.
    Truncated,
    /// JSON that is no key set.
    WrongJson,
    /// A set with a shared secret only.
    Symmetric,
    /// Hangs up.
    HangUp,
}

impl Mood {
    /// Every way in which it does not give a good set.
    pub(crate) const BAD: [Self; 12] = [
        Self::Html,
        Self::Empty,
        Self::NoKeys,
        Self::WeakKey,
        Self::Error,
        Self::Redirect,
        Self::Huge,
        Self::Slow,
        Self::Truncated,
        Self::WrongJson,
        Self::Symmetric,
        Self::HangUp,
    ];
}

/// A running issuer.
pub(crate) struct FakeIssuer {
    pub(crate) url: String,
    mood: Arc<Mutex<Mood>>,
    fetches: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeIssuer {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
        let (mood, fetches) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicUsize::new(0)));
        let (shared, counted, base) = (Arc::clone(&mood), Arc::clone(&fetches), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared), Arc::clone(&counted), base.clone()));
            }
        });
        Self { url, mood, fetches, task }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn set_of(kid: &str, bytes: usize) -> String {
    // A modulus is told from another one by the key's name: no token is verified here.
    let fill = kid.bytes().fold(1_u8, u8::wrapping_add) | 0x81;
    let n = URL_SAFE_NO_PAD.encode(vec![fill; bytes]);
    json!({"keys": [{"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": n, "e": "AQAB"}]}).to_string()
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

async fn answer(mut stream: TcpStream, mood: Arc<Mutex<Mood>>, fetches: Arc<AtomicUsize>, base: String) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap_or(0);
    fetches.fetch_add(1, Ordering::SeqCst);
    let elsewhere = String::from_utf8_lossy(&request[..read]).starts_with("GET /elsewhere");
    let mood = if elsewhere { Mood::Good("elsewhere") } else { *mood.lock().unwrap_or_else(PoisonError::into_inner) };
    let text = match mood {
        Mood::Good(kid) => reply("200 OK", "Content-Type: application/json\r\n", &set_of(kid, 256)),
        Mood::Html => reply("200 OK", "Content-Type: text/html\r\n", "<html><body>Sign in to the Wi-Fi</body></html>"),
        Mood::Empty => reply("200 OK", "", ""),
        Mood::NoKeys => reply("200 OK", "", "{\"keys\":[]}"),
        Mood::WeakKey => reply("200 OK", "", &set_of("weak", 128)),
        Mood::Error => reply("500 Internal Server Error", "", &set_of("of-an-error", 256)),
        Mood::Redirect => reply("302 Found", &format!("Location: {}\r\n", base.replace("/jwks", "/elsewhere")), ""),
        Mood::Huge => {
            let padding = " ".repeat(10 << 20);
            reply("200 OK", "", &format!("{}{padding}", set_of("huge", 256)))
        }
        Mood::Slow => {
            let half = format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}", &set_of("slow", 256)[..50]);
            // The other side may have gone: that is its affair.
            let _ = stream.write_all(half.as_bytes()).await;
            return std::future::pending().await;
        }
        Mood::Truncated => {
            let whole = reply("200 OK", "", &set_of("truncated", 256));
            whole[..whole.len() - 20].to_owned()
        }
        Mood::WrongJson => reply("200 OK", "Content-Type: application/json\r\n", "{\"keys\":{\"kid\":\"wrong\"}}"),
        Mood::Symmetric => {
            let key = json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode([7; 64])});
            reply("200 OK", "", &json!({ "keys": [key] }).to_string())
        }
        Mood::HangUp => return,
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
