//! What a route says about its cost: `1`, `{ header = "x-tokens-used", at_least = 1 }` or
//! `{ body = "usage.total_tokens", at_least = 1, reserve = 50 }`. It must not know a route.

use tollgate_protocol::policy::{Cost, Counted};
use toml::{Table, Value};

const FORM: &str = "must be a whole number from 1 to 1000000000, or a table with header or body, and at_least and reserve \
                    where wanted: { header = \"x-tokens-used\", at_least = 1 }";
const HEADER: &str = "header must be a name in lower case such as \"x-tokens-used\", 64 characters at most";
const BODY: &str = "body must be a member such as \"usage.total_tokens\": 1 to 8 names of 1 to 64 characters";
const AT_LEAST: &str = "at_least must be a whole number from 0 to 1000000000";
const RESERVE: &str = "reserve must be a whole number from 1 to 1000000000, and not less than at_least";
const ONE: &str = "must have header or body, and not both";
const KNOWN: &str = "has an unknown key (known: header, body, at_least, reserve)";

/// Headers that say something else, and that no answer can do without.
const NOT_THESE: [&str; 5] = ["content-length", "content-type", "transfer-encoding", "connection", "set-cookie"];

/// Reads the value of `cost`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(value: &Value) -> Result<Cost, &'static str> {
    match value {
        Value::Integer(_) => {
            let tokens = amount(value, 1).ok_or(FORM)?;
            Ok(Cost { counted: Counted::Fixed, at_least: tokens, reserve: tokens })
        }
        Value::Table(table) => counted(table),
        _ => Err(FORM),
    }
}

fn counted(table: &Table) -> Result<Cost, &'static str> {
    if table.keys().any(|key| !["header", "body", "at_least", "reserve"].contains(&key.as_str())) {
        return Err(KNOWN);
    }
    let counted = match (table.get("header"), table.get("body")) {
        (Some(header), None) => {
            let name = header.as_str().filter(|name| !NOT_THESE.contains(name)).ok_or(HEADER)?;
            Counted::Header(name.to_owned())
        }
        (None, Some(body)) => Counted::Body(body.as_str().ok_or(BODY)?.split('.').map(str::to_owned).collect()),
        _ => return Err(ONE),
    };
    let at_least = table.get("at_least").map_or(Some(1), |value| amount(value, 0)).ok_or(AT_LEAST)?;
    let reserve = table.get("reserve").map_or(Some(at_least.max(1)), |value| amount(value, 1)).ok_or(RESERVE)?;
    if reserve < at_least {
        return Err(RESERVE);
    }
    let cost = Cost { counted, at_least, reserve };
    let problem = if matches!(cost.counted, Counted::Header(_)) { HEADER } else { BODY };
    if cost.is_sound() { Ok(cost) } else { Err(problem) }
}

fn amount(value: &Value, least: u64) -> Option<u64> {
    let amount = u64::try_from(value.as_integer()?).ok()?;
    (least..=Cost::MOST).contains(&amount).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Cost, &'static str> {
        let table: Table = format!("cost = {text}").parse().unwrap();
        read(&table["cost"])
    }

    #[test]
    fn every_form_is_read() {
        let header = || Counted::Header("x-tokens-used".into());
        let body = || Counted::Body(vec!["usage".into(), "total_tokens".into()]);
        for (text, counted, at_least, reserve) in [
            ("1", Counted::Fixed, 1, 1),
            ("1000000000", Counted::Fixed, 1_000_000_000, 1_000_000_000),
            (r#"{ header = "x-tokens-used" }"#, header(), 1, 1),
            (r#"{ header = "x-tokens-used", at_least = 0 }"#, header(), 0, 1),
            (r#"{ header = "x-tokens-used", at_least = 7 }"#, header(), 7, 7),
            (r#"{ body = "usage.total_tokens", at_least = 2, reserve = 50 }"#, body(), 2, 50),
        ] {
            assert_eq!(parsed(text), Ok(Cost { counted, at_least, reserve }), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, problem) in [
            ("0", FORM),
            ("-1", FORM),
            ("1000000001", FORM),
            ("1.5", FORM),
            (r#""1""#, FORM),
            ("{ at_least = 1 }", ONE),
            (r#"{ header = "a", body = "b" }"#, ONE),
            (r#"{ header = "X-Tokens" }"#, HEADER),
            (r#"{ header = "content-length" }"#, HEADER),
            (r#"{ header = "" }"#, HEADER),
            (r#"{ body = "a..b" }"#, BODY),
            (r#"{ body = "a.b.c.d.e.f.g.h.i" }"#, BODY),
            (r#"{ body = "a", at_least = -1 }"#, AT_LEAST),
            (r#"{ body = "a", reserve = 0 }"#, RESERVE),
            (r#"{ body = "a", at_least = 5, reserve = 4 }"#, RESERVE),
            (r#"{ body = "a", most = 4 }"#, KNOWN),
        ] {
            assert_eq!(parsed(text), Err(problem), "{text}");
        }
    }
}
