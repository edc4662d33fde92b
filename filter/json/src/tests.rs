//! What is strict and what is not, against a second reading of the same text by `serde_json` alone.

use super::*;

fn check(text: &str, depth: usize, accepted: bool) {
    assert_eq!(Object::read(text.as_bytes(), depth).is_ok(), accepted, "{text} at depth {depth}");
}

#[test]
fn one_object_without_repetition() {
    for (text, accepted) in [
        ("{}", true),
        (" {\"a\":1} \n", true),
        (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#, true),
        (r#"{"a":1,"a":1}"#, false),
        (r#"{"a":1,"\u0061":2}"#, false),
        (r#"{"x":{"a":1,"a":1}}"#, false),
        (r#"{"x":[[{"a":1,"a":1}]]}"#, false),
        (r#"{"a":1}{"#, false),
        (r#"{"a":1},"#, false),
        (r#"{"a":1,}"#, false),
        (r#"{"a":"\ud800"}"#, false),
        (r#"{"a":1e400}"#, false),
        (r#"{"a":NaN}"#, false),
        (r#"{"a":01}"#, false),
        (r#"{'a':1}"#, false),
        ("\u{feff}{}", false),
        ("", false),
        ("[]", false),
        ("1", false),
        ("null", false),
        ("\"a\"", false),
    ] {
        check(text, 8, accepted);
    }
    assert_eq!(Object::read(b"{\"a\":\"\xff\"}", 8), Err(NotStrict));
}

#[test]
fn a_name_is_found_twice_wherever_it_stands_and_however_many_there_are() {
    for number in [2, 3, 23, 24, 25, 26, 500] {
        let names: Vec<String> = (0..number).map(|name| format!("\"n{name}\":{name}")).collect();
        check(&format!("{{{}}}", names.join(",")), 8, true);
        for (one, other) in [(0, 1), (0, number - 1), (number - 2, number - 1), (number / 3, number / 2)] {
            if one != other {
                let mut names = names.clone();
                names[other] = format!("\"n{one}\":null");
                check(&format!("{{{}}}", names.join(",")), 8, false);
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    check("{}", 1, true);
    check(r#"{"a":[]}"#, 1, false);
    check(r#"{"a":[]}"#, 2, true);
    check(r#"{"a":[{}]}"#, 2, false);
    check(r#"{"a":[{}]}"#, 3, true);
    for levels in [127, 128, 129, 10_000, 1_000_000] {
        check(&format!("{{\"a\":{}", "[".repeat(levels)), 8, false);
        check(&"{\"a\":".repeat(levels), 8, false);
        // serde_json's own limit holds where ours is set too wide.
        check(&format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels)), usize::MAX, levels < 127);
    }
}

#[test]
fn values_are_what_the_text_says() {
    let text = r#"{"t":"x\n","p":"plain","w":7,"z":0,"n":-1,"f":1.0,"e":1e3,"b":true,"0":null,"a":[1,"2"],"o":{"\u0069":"in"}}"#;
    let object = Object::read(text.as_bytes(), 8).unwrap();
    let get = |name: &str| object.get(name).unwrap().clone();
    assert_eq!(get("t"), Value::Text("x\n".into()));
    assert!(matches!(get("p"), Value::Text(Cow::Borrowed("plain"))), "it is borrowed");
    assert_eq!((get("w"), get("z")), (Value::Whole(7), Value::Whole(0)));
    assert_eq!((get("n"), get("f"), get("e")), (Value::Number, Value::Number, Value::Number));
    assert_eq!((get("b"), get("0")), (Value::Bool(true), Value::Null));
    assert_eq!(get("a").as_array(), Some(&[Value::Whole(1), Value::Text("2".into())][..]));
    assert_eq!(get("o").as_object().and_then(|inner| inner.get("i")?.as_str()), Some("in"));
    assert_eq!(object.get("absent"), None);
    assert_eq!((get("w").as_u64(), get("f").as_u64(), get("p").as_u64()), (Some(7), None, None));
}
