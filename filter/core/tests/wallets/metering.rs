//! What an answer costs: tables of answers, each cut at every byte; random documents against a whole parser.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::Value;
use tollgate_core::credits::{Finder, Meter};
use tollgate_protocol::policy::{Cost, Counted};

const JSON: &str = "application/json; charset=utf-8";
const EVENTS: &str = "text/event-stream";

fn by_body(path: &str, at_least: u64) -> Meter {
    let path = path.split('.').map(str::to_owned).collect();
    Meter::new(Rc::new(Cost { counted: Counted::Body(path), at_least, reserve: at_least.max(1) }))
}

/// What a body costs, at least 1, however it is cut in two, and byte for byte.
#[track_caller]
fn check(content_type: &str, body: &str, wanted: u64) {
    let meter = || {
        let mut meter = by_body("usage.total_tokens", 1);
        meter.headers(content_type.as_bytes(), false);
        meter
    };
    for cut in 0..=body.len() {
        let (head, tail) = body.as_bytes().split_at(cut);
        let mut meter = meter();
        meter.body(head);
        meter.body(tail);
        assert_eq!(meter.cost(), wanted, "cut at {cut}: {body}");
    }
    let mut meter = meter();
    body.as_bytes().chunks(1).for_each(|byte| meter.body(byte));
    assert_eq!(meter.cost(), wanted, "byte for byte: {body}");
}

#[test]
fn a_member_of_a_json_body() {
    for (body, wanted) in [
        (r#"{"usage":{"total_tokens":42}}"#, 42),
        (r#"{"usage": {"prompt_tokens": 7, "total_tokens" : 42 , "x": 1}, "id": 5}"#, 42),
        (r#"{"a":[1,{"usage":{"total_tokens":7}}],"usage":{"total_tokens":8}}"#, 8),
        (r#"{"a":{"usage":{"total_tokens":7}}}"#, 1),
        (r#"{"usage":[{"total_tokens":7}]}"#, 1),
        (r#"[{"usage":{"total_tokens":7}}]"#, 1),
        (r#"{"usage":{"a":{"total_tokens":7},"total_tokens":9}}"#, 9),
        (r#"{"usage":{"total_tokens":{"total_tokens":7}}}"#, 1),
        (r#"{"usage":{"total_tokens":"7"}}"#, 1),
        (r#"{"usage":{"total_tokens":null}}"#, 1),
        (r#"{"usage":{"total_tokens":-7}}"#, 1),
        (r#"{"usage":{"total_tokens":0}}"#, 1),
        (r#"{"usage":{"total_tokens":7.2}}"#, 8),
        (r#"{"usage":{"total_tokens":1.5e2}}"#, 150),
        (r#"{"usage":{"total_tokens":1e300}}"#, Cost::MOST),
        (r#"{"usage":{"total_tokens":99999999999999999999999999999999999}}"#, 1),
        (r#"{"usage":{"total_tokens":true},"total_tokens":7}"#, 1),
        (r#"{"text":"\"usage\":{\"total_tokens\":7}","usage":{"total_tokens":9}}"#, 9),
        (r#"{"text":"{\\","usage":{"total_tokens":9}}"#, 9),
        (r#"{"us\u0061ge":{"total\u005ftokens":9}}"#, 9),
        (r#"{"usage\u0000":{"total_tokens":9}}"#, 1),
        (r#"{"usage\ud83d":{"total_tokens":9}}"#, 1),
        (r#"{"usage":{"total_tokens":9}}{"usage":{"total_tokens":10}}"#, 10),
        (r#"{"usage":{"total_tokens":9},"usage":{"total_tokens":10}}"#, 10),
        (r#"{"usage":{"total_tokens":9"#, 1),
        (r#"{"usage":{"total_tokens":9}"#, 9),
        (r#"}{"usage":{"total_tokens":9}}"#, 1),
        (r#"{"usagé":{"total_tokens":9},"usag":{"total_tokens":9},"usagee":{"total_tokens":9}}"#, 1),
        ("", 1),
        ("no json at all", 1),
        (r#"{"usage":{"total_tokens":"#, 1),
    ] {
        check(JSON, body, wanted);
    }
    let deep = format!(r#"{{"a":{}{}, "usage":{{"total_tokens":9}}}}"#, "[".repeat(60), "]".repeat(60));
    check(JSON, &deep, 9);
    let too_deep = format!(r#"{{"a":{}{}, "usage":{{"total_tokens":9}}}}"#, "[".repeat(70), "]".repeat(70));
    check(JSON, &too_deep, 1);
}

#[test]
fn a_member_of_the_last_event_that_has_it() {
    let event = |tokens: &str| format!("data: {{\"choices\":[],\"usage\":{tokens}}}\n\n");
    let stream = format!(
        "{}{}{}data: [DONE]\n\n",
        event("null"),
        event(r#"{"total_tokens":5}"#),
        event(r#"{"total_tokens":17,"x":1}"#)
    );
    check(EVENTS, &stream, 17);
    check(EVENTS, &stream.replace('\n', "\r\n"), 17);
    check(EVENTS, &stream.replace('\n', "\r"), 17);
    check("Text/Event-Stream;charset=utf-8", &stream, 17);
    for (body, wanted) in [
        // Several lines of one event are one document.
        ("event: done\ndata: {\"usage\":\ndata: {\"total_tokens\":\ndata:6}}\n\n", 6),
        // What an event leaves open is over with it.
        ("data: {\"usage\":{\n\ndata: {\"usage\":{\"total_tokens\":3}}\n\n", 3),
        ("data:{\"usage\":{\"total_tokens\":3}}\n\ndata: {\"other\":\"}\n\n", 3),
        (": {\"usage\":{\"total_tokens\":3}}\n\n", 1),
        ("datax: {\"usage\":{\"total_tokens\":3}}\n\n", 1),
        ("dat: {\"usage\":{\"total_tokens\":3}}\n\n", 1),
        ("id: {\"usage\":{\"total_tokens\":3}}\n\n", 1),
        ("data\ndata: {\"usage\":{\"total_tokens\":3}}\n\n", 3),
        // The connection ended before the event did.
        ("data: {\"usage\":{\"total_tokens\":3}}", 3),
        ("data: {\"usage\":{\"total_tokens\":3", 1),
    ] {
        check(EVENTS, body, wanted);
    }
}

#[test]
fn headers_and_trailers_count_and_what_is_nonsense_does_not() {
    let cost = |at_least| Cost { counted: Counted::Header("x-tokens-used".into()), at_least, reserve: at_least.max(1) };
    let meter = |at_least| Meter::new(Rc::new(cost(at_least)));
    for (values, at_least, wanted) in [
        (vec![], 1, 1),
        (vec![], 0, 0),
        (vec!["12"], 1, 12),
        (vec![" 12 "], 1, 12),
        (vec!["12"], 20, 20),
        (vec!["12", "15"], 1, 15),
        (vec!["12", "x"], 1, 12),
        (vec!["-3"], 1, 1),
        (vec!["1.1"], 1, 2),
        (vec!["NaN"], 1, 1),
        (vec!["inf"], 1, 1),
        (vec!["99999999999999999999"], 1, Cost::MOST),
    ] {
        let mut meter = meter(at_least);
        assert_eq!(meter.header_name(), Some("x-tokens-used"));
        values.iter().for_each(|value| meter.header(value.as_bytes()));
        assert!(!meter.wants_body() && !meter.reads_body());
        assert_eq!(meter.cost(), wanted, "{values:?}");
    }
    let mut free = meter(5);
    free.header(b"7");
    free.is_free();
    assert_eq!(free.cost(), 0, "no backend was reached");
    let fixed = Meter::new(Rc::new(Cost { counted: Counted::Fixed, at_least: 3, reserve: 3 }));
    assert_eq!((fixed.cost(), fixed.header_name(), fixed.wants_body()), (3, None, false));
}

#[test]
fn an_encoded_body_is_not_read() {
    let mut meter = by_body("n", 2);
    assert!(meter.wants_body());
    meter.headers(JSON.as_bytes(), true);
    assert!(!meter.reads_body());
    meter.body(br#"{"n":9}"#);
    assert_eq!(meter.cost(), 2);
}

fn document() -> impl Strategy<Value = Value> {
    let name = || prop_oneof![Just("usage"), Just("total_tokens"), Just("a\"\\b"), Just("é😀"), Just("")];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..1_000_000_u64).prop_map(Value::from),
        "[a-z\"\\\\{}\\[\\]:,é\u{1F600}\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let members = proptest::collection::vec((name(), inner.clone()), 0..5);
        let object = members.prop_map(|members| {
            Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        });
        prop_oneof![proptest::collection::vec(inner, 0..4).prop_map(Value::from), object.clone(), object]
    })
}

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    let name = prop_oneof![Just("usage"), Just("total_tokens"), Just("a\"\\b"), Just("é😀"), Just("")];
    proptest::collection::vec(name, 1..4)
}

/// All as `\u…`, which is another way to write the same.
fn escaped(json: &str) -> String {
    let mut out = String::new();
    let mut in_text = false;
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                in_text = !in_text;
                out.push('"');
            }
            '\\' => {
                out.push('\\');
                out.extend(characters.next());
            }
            _ if in_text => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            other => out.push(other),
        }
    }
    out
}

fn found(path: &[&str], pieces: &[&[u8]]) -> Option<u64> {
    let mut finder = Finder::new(path.iter().map(|name| (*name).into()).collect());
    pieces.iter().for_each(|piece| finder.read(piece));
    finder.found()
}

proptest! {
    #[test]
    fn it_finds_what_a_whole_parser_finds(document in document(), path in path(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6), pretty: bool) {
        let mut wanted = Some(&document);
        for name in &path {
            wanted = wanted.and_then(|value| value.as_object()?.get(*name));
        }
        let wanted = wanted.and_then(Value::as_u64);
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        for text in [text.clone(), escaped(&text)] {
            // The end of a bare number is not seen; of members it is.
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            ends.sort_unstable();
            ends.push(text.len());
            let mut from = 0;
            let pieces: Vec<&[u8]> = ends.iter().map(|end| {
                let piece = &text.as_bytes()[from..*end];
                from = *end;
                piece
            }).collect();
            prop_assert_eq!(found(&path, &pieces), wanted, "{}", text);
        }
    }

    #[test]
    fn anything_at_all_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400), events: bool) {
        let mut meter = by_body("a", 1);
        meter.headers(if events { EVENTS } else { JSON }.as_bytes(), false);
        meter.body(&bytes);
        let whole = meter.cost();
        let mut meter = by_body("a", 1);
        meter.headers(if events { EVENTS } else { JSON }.as_bytes(), false);
        bytes.chunks(1).for_each(|byte| meter.body(byte));
        prop_assert_eq!(whole, meter.cost());
    }
}
