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
    let offset = match fault.at {
        Some(at) => at,
        None => offset(DeTable::parse(text).ok()?.as_ref(), &fault.place)?,
    };
    let before = text.get(..offset)?;
    let line = before.bytes().filter(|byte| *byte == b'\n').count().checked_add(1)?;
    let start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
    let column = before.get(start..)?.chars().count().checked_add(1)?;
    Some((line, column))
}

/// The beginning of `routes[3] (/a/b).scopes`, or of a key at the top or below it, such as `limits.calls.rate`.
fn offset(table: &DeTable<'_>, place: &str) -> Option<usize> {
    let Some(rest) = place.strip_prefix("routes[") else {
        return below(table, place);
    };
    let (number, rest) = rest.split_once(']')?;
    let routes = table.get("routes")?.as_ref();
    let route: &Spanned<DeValue<'_>> = routes.as_array()?.get(number.parse::<usize>().ok()?)?;
    // A path may hold dots; a key does not.
    let name = rest.rsplit_once(").").map(|(_, name)| name);
    let in_route = name.and_then(|name| key(route.as_ref().as_table()?, name));
    Some(in_route.unwrap_or(route.span().start))
}

/// As much of `a.b.c` as there is.
fn below(table: &DeTable<'_>, place: &str) -> Option<usize> {
    let (first, rest) = place.split_once('.').unwrap_or((place, ""));
    let here = key(table, first)?;
    let inner = table.get(first).and_then(|value| value.as_ref().as_table()).filter(|_| !rest.is_empty());
    Some(inner.and_then(|inner| below(inner, rest)).unwrap_or(here))
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
        let twice = "[[routes]]\npath = \"/a\"\n\n[[routes]]\nauth = \"none\"\npath = \"/a\"\n";
        let faults = policy::parse(twice).unwrap_err();
        assert_eq!(faults.iter().map(|fault| locate(twice, fault)).collect::<Vec<_>>(), [Some((6, 1))]);
    }

    #[test]
    fn every_fault_of_a_text_that_is_no_toml_is_found() {
        let broken = "default = deny\n[[routes]\npath = \"/a\"\n[[routes]]\npath = \"/b\n";
        let faults = policy::parse(broken).unwrap_err();
        let lines: Vec<usize> = faults.iter().filter_map(|fault| locate(broken, fault)).map(|(line, _)| line).collect();
        assert_eq!((faults.len(), lines), (3, vec![1, 2, 5]), "{faults:?}");
    }
}
