//! Brings file and environment together and collects every fault on the way. It must not know a single setting.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    fault::ConfigFault,
    settings::{self, Setting},
    source::Source,
};

/// Values by setting, and what was wrong so far.
pub(super) struct Binder<'s> {
    source: &'s dyn Source,
    pub(super) file: BTreeMap<String, toml::Value>,
    pub(super) path: Option<PathBuf>,
    pub(super) faults: Vec<ConfigFault>,
}

impl<'s> Binder<'s> {
    /// Reads the file, if there is one. What is wrong with it becomes faults.
    pub(super) fn new(source: &'s dyn Source, path: Option<&Path>) -> Self {
        let mut binder = Self { source, file: BTreeMap::new(), path: None, faults: Vec::new() };
        let named = path.map(PathBuf::from).or_else(|| source.get(settings::CONFIG_FILE_ENV).map(PathBuf::from));
        if let Some(path) = named {
            match std::fs::read_to_string(&path) {
                Ok(text) => binder.take_file(&path, &text),
                Err(source) => binder.faults.push(ConfigFault::Unreadable { path, source }),
            }
        }
        binder
    }

    fn take_file(&mut self, path: &Path, text: &str) {
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(fault) => {
                let line = fault.span().map(|span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
                let problem = match line {
                    Some(line) => format!("line {line}: {}", fault.message()),
                    None => fault.message().to_owned(),
                };
                return self.faults.push(ConfigFault::Syntax { path: path.to_owned(), problem });
            }
        };
        flatten("", table, &mut self.file);
        self.path = Some(path.to_owned());
        for key in self.file.keys() {
            if !settings::ALL.iter().any(|setting| setting.key == key) {
                let near = near(key);
                self.faults.push(ConfigFault::UnknownKey { path: path.to_owned(), key: key.clone(), near });
            }
        }
    }

    /// A text, trimmed. Numbers and booleans of the file are taken by their text.
    pub(super) fn text(&mut self, setting: &Setting) -> Option<String> {
        if let Some(value) = self.source.get(setting.env) {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
        let text = match self.file.get(setting.key)? {
            toml::Value::String(text) => text.trim().to_owned(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                self.value(setting, "must be a text");
                return None;
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// A list: an array of texts in the file, or one text with commas.
    pub(super) fn list(&mut self, setting: &Setting) -> Vec<String> {
        let from_file = if self.source.get(setting.env).is_none() { self.file.get(setting.key) } else { None };
        if let Some(toml::Value::Array(values)) = from_file {
            let texts: Option<Vec<String>> =
                values.iter().map(|value| value.as_str().map(|text| text.trim().to_owned())).collect();
            return texts.unwrap_or_else(|| {
                self.value(setting, "must be an array of texts");
                Vec::new()
            });
        }
        let text = self.text(setting).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Tables: an array of them in the file, or the text of one.
    pub(super) fn tables(&mut self, setting: &Setting) -> Vec<toml::Table> {
        let given = match self.source.get(setting.env) {
            Some(text) => match toml::from_str::<toml::Table>(&format!("it = {text}")) {
                Ok(mut table) => table.remove("it"),
                Err(_) => {
                    self.value(
                        setting,
                        "must be an array of inline tables, such as [{name = \"eu\", issuer = \"https://…\"}]",
                    );
                    return Vec::new();
                }
            },
            None => self.file.get(setting.key).cloned(),
        };
        let tables = match given {
            None => return Vec::new(),
            Some(toml::Value::Array(values)) => values.into_iter().map(toml::Value::try_into).collect(),
            Some(_) => Err(serde::de::Error::custom("no array")),
        };
        tables.unwrap_or_else(|_: toml::de::Error| {
            self.value(setting, "must be an array of tables");
            Vec::new()
        })
    }

    /// A value that parses, or the parsed default. `parse` says what is wrong.
    pub(super) fn parsed<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.text(setting);
        let text = given.as_deref().unwrap_or(setting.default);
        if text.is_empty() {
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.value(setting, problem);
                None
            }
        }
    }

    /// Notes that a setting's value cannot be used.
    pub(super) fn value(&mut self, setting: &Setting, problem: impl Into<String>) {
        self.faults.push(ConfigFault::Value { key: setting.key, env: setting.env, problem: problem.into() });
    }

    /// Notes that a setting is not there.
    pub(super) fn missing(&mut self, setting: &Setting, problem: &'static str) {
        self.faults.push(ConfigFault::Missing { key: setting.key, env: setting.env, problem });
    }
}

fn flatten(prefix: &str, table: toml::Table, out: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let full = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&full, inner, out),
            other => {
                out.insert(full, other);
            }
        }
    }
}

/// A known key that has the same last part, or differs by its separators only.
fn near(key: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace(['_', '-', '.'], "").to_ascii_lowercase();
    let last = key.rsplit('.').next().unwrap_or(key);
    let candidates = settings::ALL.iter().map(|setting| setting.key);
    candidates.clone().find(|known| plain(known) == plain(key)).or_else(|| {
        candidates.clone().find(|known| known.rsplit('.').next().is_some_and(|tail| plain(tail) == plain(last)))
    })
}

/// A lifetime in whole seconds, written `90s`, `15m`, `12h` or `30d`: at least a second, at most `most_seconds`.
pub(super) fn lifetime(text: &str, most_seconds: u64) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match seconds {
        Some(seconds) if (1..=most_seconds).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("must be between 1s and {}h", most_seconds / 3600)),
        None => Err("must be a whole number with a unit, such as 90s, 15m, 12h or 30d".to_owned()),
    }
}

/// `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

/// A whole number with a unit: `200ms`, `30s`, `5m`, `1h`. At least 10 ms, at most a day.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match millis {
        Some(millis) if (10..=86_400_000).contains(&millis) => Ok(Duration::from_millis(millis)),
        Some(_) => Err("must be between 10ms and 24h".to_owned()),
        None => Err("must be a whole number with a unit, such as 200ms, 30s, 5m or 1h".to_owned()),
    }
}
