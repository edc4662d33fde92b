//! The repository's rules about itself, as tests. They read sources as text: a rule that the compiler can hold
//! belongs to the compiler, and stands here only where it cannot.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every file of the repository under `folder` whose name ends in one of `endings`, with its text, sorted by path.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(&*name, "target" | ".git" | ".tools" | ".tollgate" | "dist") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let shown = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
                found.push((shown, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing under {folder}: the rule would hold for no file");
    found
}

/// Sources that ship: no tests, no benchmarks.
fn shipped() -> Vec<(String, String)> {
    ["protocol/src", "filter/json/src", "filter/core/src", "filter/src", "filter/pack/src", "control-plane/src"]
        .into_iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .filter(|(path, _)| !path.contains("/tests/") && !path.ends_with("/tests.rs"))
        .map(|(path, text)| {
            let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            (path, text[..end].to_owned())
        })
        .collect()
}

#[track_caller]
fn nothing(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// The lines of `sources` that hold one of `words`, but for those in `except`.
fn lines_with(sources: &[(String, String)], words: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| !except.contains(&path.as_str())) {
        for (number, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//") || line.trim_start().starts_with("# ");
            if !is_comment && words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

/// Names of the crates that a crate needs at run time, with all of theirs.
fn dependencies(package: &str) -> Vec<String> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn dependencies_point_one_way() {
    let rules: [(&str, &[&str]); 4] = [
        ("tollgate-protocol", &["tollgate-core", "tollgate", "proxy-wasm", "tokio", "getrandom", "axum"]),
        ("tollgate-core", &["tollgate-filter", "tollgate", "proxy-wasm", "tokio", "getrandom", "axum", "reqwest"]),
        ("tollgate-filter", &["tollgate", "tokio", "getrandom", "axum", "reqwest"]),
        ("tollgate", &["tollgate-filter", "proxy-wasm"]),
    ];
    for (package, forbidden) in rules {
        let needed = dependencies(package);
        assert!(needed.iter().any(|name| name == package), "cargo tree has changed: {needed:?}");
        for name in forbidden {
            assert!(!needed.iter().any(|needed| needed == name), "{package} must not need {name}");
        }
    }
}

#[test]
fn the_core_has_no_clock_no_randomness_and_no_world() {
    let mut sources = files("filter/core/src", &[".rs"]);
    sources.extend(files("filter/json/src", &[".rs"]));
    sources.extend(files("protocol/src", &[".rs"]));
    let words = [
        "std::time",
        "SystemTime",
        "Instant::",
        "std::env",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::io",
        "thread_rng",
        "OsRng",
        "println!",
        "proxy_wasm",
    ];
    nothing(lines_with(&sources, &words, &[]), "the core reached for the world");
}

#[test]
fn host_calls_stand_in_one_file() {
    let found = lines_with(&files("filter/src", &[".rs"]), &["proxy_wasm::", "fn proxy_"], &["filter/src/host.rs"]);
    nothing(found, "host calls outside filter/src/host.rs");
    let exports = lines_with(&files("filter/src", &[".rs"]), &["no_mangle"], &["filter/src/callbacks.rs"]);
    nothing(exports, "callbacks outside filter/src/callbacks.rs");
}

#[test]
fn a_stage_imports_only_what_stands_before_it() {
    // What each module of the core may name with `crate::`.
    let allowed: [(&str, &[&str]); 10] = [
        ("request", &[]),
        ("verify", &["verify"]),
        ("extract", &["request", "verify"]),
        ("policy", &["limits"]),
        ("cache", &[]),
        // Of the engine only what it counts by: the moment and the memory that workers share.
        ("limits", &["cache", "engine"]),
        ("decide", &["policy"]),
        ("credits", &[]),
        ("respond", &["credits", "decide", "extract", "limits", "policy", "request", "settings"]),
        ("settings", &["policy", "verify"]),
    ];
    let mut found = Vec::new();
    for (path, text) in shipped() {
        let Some(inside) = path.strip_prefix("filter/core/src/") else { continue };
        let module = inside.split(['/', '.']).next().expect("a module");
        let Some((_, allowed)) = allowed.iter().find(|(name, _)| *name == module) else { continue };
        // `use crate::{a, b::c}` and `crate::a::b` alike: the first segment counts.
        let squeezed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for rest in squeezed.split("crate::").skip(1) {
            let group =
                rest.strip_prefix('{').and_then(|group| group.split_once("};")).map_or(rest, |(group, _)| group);
            let is_group = rest.starts_with('{');
            let names: Vec<&str> = if is_group { top_level(group) } else { vec![group] };
            for name in names {
                let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if !name.is_empty() && name != module && !allowed.contains(&name) {
                    found.push(format!("{path} imports crate::{name}"));
                }
            }
        }
    }
    nothing(found, "a stage looked ahead");
}

/// Splits `a::{b, c}, d` at its outer commas.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

#[test]
fn the_control_plane_is_layered() {
    let sources = shipped();
    let under = |folder: &str| -> Vec<(String, String)> {
        sources.iter().filter(|(path, _)| path.starts_with(folder)).cloned().collect()
    };
    nothing(lines_with(&under("control-plane/src/http"), &["rusqlite", "mongodb"], &[]), "http named a driver");
    nothing(
        lines_with(&under("control-plane/src/service"), &["axum", "rusqlite", "mongodb::"], &[]),
        "a service named axum or a driver",
    );
    nothing(
        lines_with(&under("control-plane/src/domain"), &["axum", "rusqlite", "mongodb", "crate::http"], &[]),
        "the domain looked out",
    );
    nothing(lines_with(&under("control-plane/src/store"), &["StatusCode", "axum"], &[]), "a store named a status");
    // `tollgate explain` shows what the filter itself decides; a server has nothing to do with that.
    let server: Vec<_> = under("control-plane/src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with("control-plane/src/cli/"))
        .collect();
    nothing(
        lines_with(&server, &["tollgate_core"], &[]),
        "the control plane named the filter's core outside its commands",
    );
    nothing(
        lines_with(&under("control-plane/src/cli"), &["rusqlite", "mongodb::", "axum"], &[]),
        "a command named a driver",
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut sources: Vec<_> = files(".", &[".rs"]);
    sources.retain(|(path, _)| !path.contains("/vectors/data"));
    let found = sources
        .iter()
        .filter(|(_, text)| !text.starts_with("//!") && !text.starts_with("#!["))
        .map(|(path, _)| path.clone());
    nothing(found.collect(), "no //! header");
}

#[test]
fn files_stay_small() {
    let found = files(".", &[".rs", ".sh", "Makefile"]).into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > 500).then(|| format!("{path}: {lines} lines"))
    });
    nothing(found.collect(), "over 500 lines");
}

#[test]
fn nothing_is_left_for_later() {
    let sources: Vec<_> = files(".", &[".rs", ".toml", ".yaml", ".md", "Makefile"])
        .into_iter()
        .filter(|(path, _)| path != "tests/tests/tidy.rs")
        .collect();
    let words = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore", "HACK"];
    nothing(lines_with(&sources, &words, &["clippy.toml"]), "left for later");
}

/// Tests are chosen by the name of their target alone: of two with one name, each tier would run both.
#[test]
fn no_two_test_targets_have_one_name() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
    };
    let (core, others) = (names("filter/core/tests"), names("tests/tests"));
    assert!(core.len() > 3 && others.len() > 8, "{core:?} {others:?}");
    nothing(core.intersection(&others).cloned().collect(), "test targets with one name");
}

#[test]
fn reserved_headers_and_codes_are_written_once() {
    let sources = shipped();
    let headers = lines_with(&sources, &["\"x-auth-", "\"x-api-key\""], &["protocol/src/headers.rs"]);
    nothing(headers, "a reserved header is written outside protocol/src/headers.rs");
    // Words that are settings or answers of other formats as well cannot be told apart as text; these can.
    let codes: Vec<String> = tollgate_protocol::Code::ALL.iter().map(|code| format!("\"{}\"", code.as_str())).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    nothing(lines_with(&sources, &codes, &["protocol/src/code.rs"]), "a code is written outside protocol/src/code.rs");
}

#[test]
fn paths_named_in_the_documents_exist() {
    let mut found = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md", "SECURITY.md", "CONTRIBUTING.md"] {
        let Ok(text) = fs::read_to_string(root().join(document)) else {
            assert!(document == "CONTRIBUTING.md", "{document} is missing");
            continue;
        };
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c))
                && !word.starts_with('/');
            // What is made by building or running is not in the repository.
            let is_made = ["dist/", "target/", ".tollgate", ".tools"].iter().any(|made| word.starts_with(made));
            let known_not_paths = ["application/problem", "application/json", "text/plain", "at/", "openid/"];
            let is_other = known_not_paths.iter().any(|other| word.starts_with(other));
            if is_path && !is_made && !is_other && !root().join(word).exists() {
                found.push(format!("{document}: {word}"));
            }
        }
    }
    nothing(found, "a document names what is not there");
}

#[test]
fn no_shipped_envoy_configuration_can_fail_open() {
    let sources = files("envoy", &[".yaml", ".yml", ".toml", ".json"]);
    let found = lines_with(&sources, &["FAIL_OPEN", "fail_open", "failure_mode_allow"], &[]);
    nothing(found, "an Envoy configuration fails open");
    let whole: Vec<_> = sources.iter().filter(|(path, _)| path.ends_with("/envoy.yaml")).collect();
    assert!(whole.len() >= 2, "the configurations have moved");
    for wanted in [
        "failure_policy: FAIL_RELOAD",
        "normalize_path: true",
        "merge_slashes: true",
        "path_with_escaped_slashes_action:",
        "headers_with_underscores_action: REJECT_REQUEST",
        "stream_idle_timeout:",
        "%FILTER_STATE(wasm.tollgate.user_id:PLAIN)%",
        "%FILTER_STATE(wasm.tollgate.code:PLAIN)%",
        "http_protocol_options: {enable_trailers: true}",
    ] {
        for (path, text) in &whole {
            assert!(text.contains(wanted), "{path} lacks '{wanted}'");
            let (cors, ours, router) =
                ("name: envoy.filters.http.cors", "- name: tollgate\n", "name: envoy.filters.http.router");
            let places =
                [cors, ours, router].map(|name| text.find("http_filters:").and_then(|at| text[at..].find(name)));
            assert!(places[0].is_some() && places.is_sorted(), "{path}: CORS, then Tollgate, then the router");
        }
    }
}

#[test]
fn every_target_that_the_readme_names_is_in_the_makefile() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let targets: Vec<&str> = readme
        .split("make ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        .filter(|target| readme.contains(&format!("`make {target}`")) || readme.contains(&format!("\nmake {target}")))
        .collect();
    assert!(targets.contains(&"run") && targets.contains(&"test"), "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:")), "the Makefile has no target '{target}'");
    }
}
