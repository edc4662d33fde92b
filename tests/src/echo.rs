//! What the echo backend saw of a request. It must not know what should have been there.

use serde_json::Value;

use crate::http::Answer;

/// One request as it reached the backend.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Bytes of the body.
    pub body_bytes: u64,
    headers: Value,
}

impl Seen {
    /// Reads the echo backend's answer.
    ///
    /// # Panics
    /// If it is not one: with what came instead.
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "not let through: {}", answer.text());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}")).to_owned();
        Self {
            method: text("method"),
            path: text("path"),
            body_bytes: json["body_bytes"].as_u64().unwrap_or_else(|| panic!("no body: {json}")),
            headers: json["headers"].clone(),
        }
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        match &self.headers[name] {
            Value::String(value) => vec![value],
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The value of a header that may come once at most.
    ///
    /// # Panics
    /// If it comes more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} comes more than once: {values:?}");
        values.first().copied()
    }

    /// The names of all headers that begin so.
    pub fn names(&self, prefix: &str) -> Vec<&str> {
        let names = self.headers.as_object().into_iter().flatten();
        names.map(|(name, _)| name.as_str()).filter(|name| name.starts_with(prefix)).collect()
    }

    /// Whether a text is anywhere in the headers.
    pub fn has_anywhere(&self, text: &str) -> bool {
        self.headers.to_string().contains(text)
    }
}
