//! Where in the text of a policy a fault stands. It must not judge the text.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::policy::PolicyFault;

/// Line and column, from 1; the column counts characters.
pub type Place = (usize, usize);

/// Where a fault stands, if its place can be told: the key that it names, else the route.
pub fn locate(text: &str, fault: &PolicyFault) -> Option<Place> {
    let offset = match DeTable::parse(text) {
        Ok(table) => offset(&table, &fault.place)?,
        Err(error) => error.span()?.start,
    };
    let before = text.get(..offset)?;
    let line = before.bytes().filter(|byte| *byte == b'\n').count().checked_add(1)?;
    let start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
    let column = before.get(start..)?.chars().count().checked_add(1)?;
    Some((line, column))
}

/// The beginning of `routes[3] (/a/b).scopes` or of a key at the top.
fn offset(table: &Spanned<DeTable<'_>>, place: &str) -> Option<usize> {
    if let Some(path) = place.strip_prefix("limits.") {
        return in_limits(table.as_ref(), path);
    }
    let Some(rest) = place.strip_prefix("routes[") else {
        return key(table.as_ref(), place);
    };
    let (number, rest) = rest.split_once(']')?;
    let routes = table.as_ref().get("routes")?.as_ref();
    let route: &Spanned<DeValue<'_>> = routes.as_array()?.get(number.parse::<usize>().ok()?)?;
    // A path may hold dots; a key does not.
    let name = rest.rsplit_once(").").map(|(_, name)| name);
    let in_route = name.and_then(|name| key(route.as_ref().as_table()?, name));
    Some(in_route.unwrap_or(route.span().start))
}

/// `calls.tiers.pro`: the innermost part of it that is there.
fn in_limits(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let mut found = key(table, "limits")?;
    let mut inner = table.get("limits")?.as_ref().as_table();
    for name in path.split('.') {
        let Some(here) = inner else { break };
        let Some(at) = key(here, name) else { break };
        found = at;
        inner = here.get(name).and_then(|value| value.as_ref().as_table());
    }
    Some(found)
}

fn key(table: &DeTable<'_>, name: &str) -> Option<usize> {
    table.iter().find(|(key, _)| key.as_ref() == name).map(|(key, _)| key.span().start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::policy;

    #[test]
    fn faults_are_found_in_the_text() {
        let text = "default = \"open\"\n\n[[routes]]\npath = \"/a.b\"\n  roles = [\"root\"]\n[[routes]]\nmethods = [\"get\"]\n";
        let faults = policy::parse(text).unwrap_err();
        let places: Vec<(String, Option<Place>)> =
            faults.iter().map(|fault| (fault.place.clone(), locate(text, fault))).collect();
        let expected = [
            ("default", Some((1, 1))),
            ("routes[0] (/a.b).roles", Some((5, 3))),
            ("routes[1] (no path).path", Some((6, 1))),
            ("routes[1] (no path).methods", Some((7, 1))),
        ];
        assert_eq!(places, expected.map(|(place, at)| (place.to_owned(), at)));
        let text = "[limits.a]\nby = \"user\"\ntiers = { free = \"1/s\", pro = \"1\" }\n[limits.b]\nrate = \"1/s\"\n";
        let faults = policy::parse(text).unwrap_err();
        let places: Vec<(String, Option<Place>)> =
            faults.iter().map(|fault| (fault.place.clone(), locate(text, fault))).collect();
        let expected = [("limits.a.tiers.pro", Some((3, 25))), ("limits.b.by", Some((4, 9)))];
        assert_eq!(places, expected.map(|(place, at)| (place.to_owned(), at)));
        let broken = "default = \"deny\"\n[[routes]\n";
        let faults = policy::parse(broken).unwrap_err();
        assert_eq!(locate(broken, &faults[0]).map(|(line, _)| line), Some(2));
    }
}
