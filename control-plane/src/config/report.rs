//! Every setting with the value that holds and where it comes from, to be shown: secrets never, addresses without what
//! they open. It must not judge a value; faults come from loading.

use std::path::{Path, PathBuf};

use super::{
    Config, ConfigFault, Source,
    bind::Binder,
    settings::{self, Setting},
};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The settings file.
    File(PathBuf),
    /// This name in the environment.
    Environment(&'static str),
}

impl core::fmt::Display for Origin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// One setting as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub setting: Setting,
    /// What holds; `None`: nothing. Never a secret.
    pub value: Option<String>,
    /// Where from.
    pub origin: Origin,
}

/// All settings.
#[derive(Debug)]
pub struct Report {
    /// Each of them.
    pub settings: Vec<Shown>,
    /// What keeps `tollgate serve` from starting with them.
    pub faults: Vec<ConfigFault>,
}

impl Report {
    /// Reads the settings from where [`Config::load`] does.
    pub fn of(source: &dyn Source, file: Option<&Path>) -> Self {
        let faults = Config::load(source, file).err().unwrap_or_default();
        let from = Binder::new(source, file);
        Self { settings: settings::ALL.iter().map(|setting| show(&from, source, setting)).collect(), faults }
    }
}

fn show(from: &Binder<'_>, source: &dyn Source, setting: &Setting) -> Shown {
    let in_file = || Some((file_text(from.file.get(setting.key)?), Origin::File(from.path.clone()?)));
    let in_environment = source.get(setting.env).map(|text| (text, Origin::Environment(setting.env)));
    let (text, origin) =
        in_environment.or_else(in_file).unwrap_or_else(|| (setting.default.to_owned(), Origin::Default));
    let value = match text.trim() {
        "" => None,
        text if setting.is_secret() => Some(format!("<hidden, {} characters>", text.chars().count())),
        text => Some(without_password(text)),
    };
    Shown { setting: *setting, value, origin }
}

fn file_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(file_text).collect::<Vec<_>>().join(", "),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(truth) => truth.to_string(),
        toml::Value::Datetime(date) => date.to_string(),
        toml::Value::Table(_) => "(a table)".to_owned(),
    }
}

/// Options of addresses that hold what opens something.
const SECRET_OPTIONS: [&str; 5] = ["password", "token", "secret", "key", "properties"];

/// An address without user, password and options that are secret; any other text as it is.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // Everything before the last '@' is hidden: a password that was not written as %XX may hold anything.
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, rest)| format!("<hidden>@{rest}"));
    let Some((place, options)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let option = |option: &str| match option.split_once('=') {
        Some((name, _)) if SECRET_OPTIONS.iter().any(|word| name.to_ascii_lowercase().contains(word)) => {
            format!("{name}=<hidden>")
        }
        _ => option.to_owned(),
    };
    let options: Vec<String> = options.split('&').map(option).collect();
    format!("{scheme}://{place}?{}", options.join("&"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn addresses_are_shown_without_what_they_open() {
        for (address, shown) in [
            ("sqlite:///var/lib/t.db", "sqlite:///var/lib/t.db"),
            ("mongodb://h/d", "mongodb://h/d"),
            ("mongodb://u:hunter2@h,i/d?replicaSet=r", "mongodb://<hidden>@h,i/d?replicaSet=r"),
            ("mongodb://u:hunt@er2@h/d", "mongodb://<hidden>@h/d"),
            ("mongodb://u:hunt/er?2@h/d", "mongodb://<hidden>@h/d"),
            (
                "mongodb://h/d?tlsCertificateKeyFilePassword=hunter2&w=1",
                "mongodb://h/d?tlsCertificateKeyFilePassword=<hidden>&w=1",
            ),
            ("redis://:hunter2@h:6379/0", "redis://<hidden>@h:6379/0"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[test]
    fn every_setting_says_where_it_comes_from_and_no_secret_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        std::fs::write(&file, "api_listen = \"127.0.0.1:1\"\nedge_listen = \"127.0.0.1:2\"\n[legacy]\nsecret = \"0123456789012345678901234567890hunter2\"").unwrap();
        let environment: BTreeMap<String, String> = [
            ("TOLLGATE_EDGE_LISTEN", "127.0.0.1:3"),
            ("TOLLGATE_EDGE_SECRET", "a-secret-of-hunter2"),
            ("TOLLGATE_STORE", "mongodb://u:hunter2@h/d"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let report = Report::of(&environment, Some(&file));
        assert_eq!(report.settings.len(), settings::ALL.len());
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        assert!(!format!("{report:?}").contains("hunter2"));
        let of = |key: &str| {
            let shown = report.settings.iter().find(|shown| shown.setting.key == key).unwrap();
            (shown.value.clone().unwrap_or_default(), shown.origin.to_string())
        };
        assert_eq!(of("log.format"), ("text".into(), "default".into()));
        assert_eq!(of("api_listen"), ("127.0.0.1:1".into(), file.display().to_string()));
        assert_eq!(of("edge_listen"), ("127.0.0.1:3".into(), "environment TOLLGATE_EDGE_LISTEN".into()));
        assert_eq!(of("edge_secret").0, "<hidden, 19 characters>");
        assert_eq!(of("legacy.secret"), ("<hidden, 38 characters>".into(), file.display().to_string()));
        assert_eq!(of("store").0, "mongodb://<hidden>@h/d");
    }
}
