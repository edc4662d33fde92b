//! A Backend API that can misbehave in every way that one has.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// The user.
    Good,
    /// The user, a moment later.
    Slowly,
    /// A user whom Clerk lets in no more.
    Banned,
    /// A user whose address is not verified.
    Unverified,
    /// Another user.
    Other,
    /// 404.
    Unknown,
    /// 401.
    Refuses,
    /// 429 with `Retry-After`.
    Limits,
    /// 500 with the user.
    Error,
    /// A redirect to the user.
    Redirect,
    /// A web page.
    Html,
    /// 10 MB.
    Huge,
    /// Half an answer, then silence.
    Silence,
    /// Hangs up.
    HangUp,
}

/// A running Backend API.
pub(crate) struct FakeApi {
    pub(crate) url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Good)), Arc::new(Mutex::new(Vec::new())));
        let (shared, noted) = (Arc::clone(&mood), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mood = *shared.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::spawn(answer(stream, mood, Arc::clone(&noted)));
            }
        });
        Self { url, mood, asked, task }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// The requests so far, in lower case.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

async fn answer(mut stream: TcpStream, mood: Mood, asked: Arc<Mutex<Vec<String>>>) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    let mut user = super::user(&id, &format!("{id}@x.test"), 0);
    match mood {
        Mood::Banned => user["banned"] = true.into(),
        Mood::Unverified => user["email_addresses"][0]["verification"]["status"] = "unverified".into(),
        Mood::Other => user["id"] = "user_other".into(),
        _ => {}
    }
    let user = user.to_string();
    let text = match mood {
        Mood::Good | Mood::Banned | Mood::Unverified | Mood::Other => reply("200 OK", "", &user),
        Mood::Slowly => {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            reply("200 OK", "", &user)
        }
        Mood::Unknown => reply("404 Not Found", "", "{\"errors\":[{\"code\":\"resource_not_found\"}]}"),
        Mood::Refuses => reply("401 Unauthorized", "", "{\"errors\":[{\"code\":\"clerk_key_invalid\"}]}"),
        Mood::Limits => reply("429 Too Many Requests", "Retry-After: 7\r\n", "{}"),
        Mood::Error => reply("500 Internal Server Error", "", &user),
        Mood::Redirect => reply("302 Found", &format!("Location: {path}?again\r\n"), ""),
        Mood::Html => reply("200 OK", "Content-Type: text/html\r\n", "<html>Sign in to the Wi-Fi</html>"),
        Mood::Huge => reply("200 OK", "", &format!("{user}{}", " ".repeat(10 << 20))),
        Mood::Silence => {
            let half = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", user.len(), &user[..50]);
            // The other side may have gone: that is its affair.
            let _ = stream.write_all(half.as_bytes()).await;
            return std::future::pending().await;
        }
        Mood::HangUp => return,
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
