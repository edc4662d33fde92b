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

#[cfg(not(target_arch = "wasm32"))]
mod beside_serde_json {
    use proptest::prelude::*;
    use serde_json::Value as Other;

    use super::*;

    fn any_value() -> impl Strategy<Value = Other> {
        let leaf = prop_oneof![
            Just(Other::Null),
            any::<bool>().prop_map(Other::from),
            any::<u64>().prop_map(Other::from),
            any::<i64>().prop_map(Other::from),
            any::<f64>().prop_map(Other::from),
            any::<String>().prop_map(Other::from),
        ];
        leaf.prop_recursive(4, 48, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Other::from),
                prop::collection::btree_map("[a-c\"\\\\\u{e9}]{0,3}", inner, 0..8)
                    .prop_map(|members| Other::Object(members.into_iter().collect())),
            ]
        })
    }

    fn same(one: &Value<'_>, other: &Other) -> bool {
        match (one, other) {
            (Value::Null, Other::Null) => true,
            (Value::Bool(one), Other::Bool(other)) => one == other,
            (Value::Whole(one), other) => other.as_u64() == Some(*one),
            (Value::Number, Other::Number(other)) => other.as_u64().is_none(),
            (Value::Text(one), Other::String(other)) => one == other,
            (Value::Array(one), Other::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
            }
            (Value::Object(one), Other::Object(other)) => {
                one.members.len() == other.len()
                    && other.iter().all(|(name, other)| one.get(name).is_some_and(|one| same(one, other)))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(members in prop::collection::btree_map(any::<String>(), any_value(), 0..40)) {
            let text = Other::Object(members.into_iter().collect()).to_string();
            let other: Other = serde_json::from_str(&text).unwrap();
            let read = Object::read(text.as_bytes(), 16).map(Value::Object);
            prop_assert!(read.is_ok_and(|read| same(&read, &other)), "{text}");
        }

        #[test]
        fn what_is_read_of_anything_is_what_the_other_reads(value in any_value(), at: prop::sample::Index, byte: u8) {
            let mut bytes = serde_json::json!({ "a": value, "b": 1 }).to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Object::read(&bytes, 16) {
                let other: Other = serde_json::from_slice(&bytes).unwrap();
                prop_assert!(same(&Value::Object(read), &other), "{:?}", String::from_utf8(bytes));
            }
        }
    }
}
