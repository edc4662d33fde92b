//! What the benchmarks measure, as data: a VM that knows its people, and requests as Envoy hands them over.
//! It must not measure anything itself. The same in every run: nothing here is random.

pub mod assertion;
pub mod budget;
pub mod plot;
pub mod process;
pub mod scenes;
pub mod spread;

use std::{cell::RefCell, collections::HashMap};

use tollgate_core::{
    engine::{Call, Engine, Now, Seeds, Step, Turn, Until, World},
    request::{Pairs, RequestView},
    settings::Compiled,
    verify::{HashName, NativeVerifier},
};
use tollgate_protocol::{
    Cursor, Identity,
    config::PluginConfig,
    edge::{Outcome, ResolveAnswer, Settings},
};

/// The time of every request, in milliseconds of unix time.
pub const NOW: Now = Now(1_900_000_000_000);

/// A host without native crypto, whose shared data is a map.
#[derive(Debug, Default)]
pub struct Host(RefCell<HashMap<String, Vec<u8>>>);

impl NativeVerifier for Host {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl World for Host {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        self.0.borrow().get(slot).cloned()
    }

    fn shared_set(&self, slot: &str, value: &[u8]) {
        self.0.borrow_mut().insert(slot.to_owned(), value.to_vec());
    }

    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.shared_get(slot).map(|value| (value, 1))
    }

    fn shared_swap(&self, slot: &str, value: &[u8], _: u32) -> bool {
        self.shared_set(slot, value);
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A header map as Envoy hands it over: the headers of a browser's request, and one more.
pub fn header_map(path: &str, name: &str, value: &str) -> Vec<u8> {
    let headers = [
        (":authority", "api.example.com"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "https"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
        ),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "31108412-b7d0-40d8-af92-f75293259c2e"),
        (name, value),
    ];
    let size = |length: usize| u32::try_from(length).expect("small").to_le_bytes();
    let mut map = size(headers.len()).to_vec();
    for (name, value) in headers {
        map.extend(size(name.len()));
        map.extend(size(value.len()));
    }
    for (name, value) in headers {
        for text in [name, value] {
            map.extend(text.as_bytes());
            map.push(0);
        }
    }
    map
}

/// An engine with settings, that follows its feed.
///
/// # Panics
/// If the settings cannot be compiled.
pub fn engine(settings: &Settings) -> Engine {
    let config = br#"{"control_plane":{"cluster":"c","edge_secret":"0123456789abcdef"}}"#;
    let config = PluginConfig::parse(config).expect("a configuration");
    let mut engine = Engine::new(&config, Seeds { hash: [1, 2, 3, 4], nonce: [5; 16] });
    engine.use_settings(Compiled::compile(settings).expect("settings").0);
    engine.heard(NOW);
    engine.start_at(&Cursor::new("bench".into(), 1));
    engine
}

/// Decides one request.
///
/// # Panics
/// If the map cannot be read.
pub fn decide(engine: &mut Engine, map: &[u8], host: &Host) -> Step {
    let request = RequestView::read(Pairs::open(map).expect("a map"));
    engine.decide(&request, Turn::First, NOW, host)
}

/// Makes the first request of somebody and answers for the control plane, so that the next ones find them known.
///
/// # Panics
/// If the request does not ask who it is.
pub fn introduce(engine: &mut Engine, map: &[u8], host: &Host, identity: Identity) {
    let step = decide(engine, map, host);
    let Step::Wait(wait) = step else { panic!("{step:?}") };
    let (Until::Identity(subject), Some(Call::Resolve(..))) = (wait.until, wait.call) else {
        panic!("nothing was asked")
    };
    let as_of = Cursor::new("bench".into(), 1);
    let answer = ResolveAnswer { as_of, outcome: Outcome::Identity(identity) };
    let _ = engine.answered(subject, Some(answer), NOW, host);
    assert!(matches!(decide(engine, map, host), Step::Done(_)), "still not known");
}

/// The machine and the commit that figures are of.
pub fn machine() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    // Not those that this process may run on: a benchmark may have bound itself to some.
    let cores = model.lines().filter(|line| line.starts_with("processor")).count();
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    // What benchmarks write themselves is no change of what they measure.
    let changes = git(&["status", "--porcelain", "--", ":/", ":/!BENCHMARKS.md", ":/!benches/plots"]);
    let commit = git(&["describe", "--always"]) + if changes.is_empty() { "" } else { "-dirty" };
    format!("Machine: {}, {cores} cores. Commit: {commit}.", name.unwrap_or("unknown"))
}

/// Puts a part's tables between its marks in BENCHMARKS.md; the rest of it stays.
///
/// # Errors
/// If the file cannot be read or written, or has no such marks.
pub fn write_part(part: &str, text: &str) -> std::io::Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../BENCHMARKS.md");
    let (begin, end) = (format!("<!-- {part}: begin (written by `make bench`) -->"), format!("<!-- {part}: end -->"));
    let former = std::fs::read_to_string(file)?;
    let marks = former.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) =
        marks.ok_or_else(|| std::io::Error::other(format!("{file} has no marks for the tables of {part}")))?;
    std::fs::write(file, format!("{head}{begin}\n\n{text}\n{end}{tail}"))
}
