//! Tricks with paths against readers that were written without looking at the core: whatever of them a backend or a proxy
//! may do to a path that the core takes, it comes to the same rule. It must not use the core's own reading.

use proptest::prelude::*;
use tollgate_core::policy::{CompiledPolicy, unambiguous};
use tollgate_protocol::policy::{Policy, Route};

fn policy() -> CompiledPolicy {
    let routes = [("/admin/**", "admin"), ("/open/**", "open"), ("/{other}", "one"), ("/{other}/**", "more")];
    let route = |(path, role): (&str, &str)| Route { path: path.into(), roles: vec![role.into()], ..Route::default() };
    CompiledPolicy::compile(&Policy { routes: routes.map(route).to_vec(), ..Policy::default() }).unwrap()
}

fn rule(policy: &CompiledPolicy, path: &[u8]) -> Option<String> {
    policy.rule(b"GET", b"h", path).map(|met| met.rule.roles[0].to_string())
}

/// What is encoded, once; what is no encoding stays.
fn decode(path: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let digits = path.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if path[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Segments `.` and `..` (RFC 3986 section 5.2.4).
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    for (place, segment) in segments.iter().enumerate() {
        let is_last = place + 1 == segments.len();
        match *segment {
            b"." | b".." => {
                if *segment == b".." {
                    kept.pop();
                }
                if is_last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    kept.iter().flat_map(|segment| [b"/", *segment].concat()).collect()
}

fn merge(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|one, before| *one == b'/' && *before == b'/');
    out
}

/// As Windows does.
fn turn(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// Parameters of segments, as servlets read them.
fn cut(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/').skip(1);
    segments.flat_map(|segment| [b"/", segment.split(|byte| *byte == b';').next().unwrap()].concat()).collect()
}

/// A decoder of UTF-8 that takes the low bits of whatever comes, for as many bytes as the first one says.
fn lenient(path: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let (first, more) = match path[at] {
            byte @ 0xc0..=0xdf => (u32::from(byte & 0x1f), 1),
            byte @ 0xe0..=0xef => (u32::from(byte & 0x0f), 2),
            byte @ 0xf0..=0xf7 => (u32::from(byte & 0x07), 3),
            byte => (u32::from(byte), 0),
        };
        let rest = path.iter().skip(at + 1).take(more);
        let character = rest.fold(first, |sum, byte| (sum << 6) | u32::from(byte & 0x3f));
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => out.push(byte),
            _ => out.extend(path.iter().skip(at).take(more + 1)),
        }
        at += more + 1;
    }
    out
}

/// Until the first zero, as languages with such texts do.
fn until_zero(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == 0).next().unwrap().to_vec()
}

/// Reads a path in every way that somebody is known to.
fn readings(path: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (once, twice) = (decode(path), decode(&decode(path)));
    let mut all = vec![
        ("dots, then decoded", decode(&resolve(path))),
        ("dots, decoded, dots", resolve(&decode(&resolve(path)))),
        ("slashes merged, then dots, then decoded", decode(&resolve(&merge(path)))),
        ("cut, then decoded", decode(&cut(path))),
        ("nothing decoded", resolve(&merge(&cut(&turn(path))))),
    ];
    for (name, read) in [("decoded once", once), ("decoded twice", twice)] {
        all.push((name, resolve(&read)));
        all.push((name, merge(&read)));
        all.push((name, resolve(&turn(&read))));
        all.push((name, resolve(&merge(&turn(&read)))));
        all.push((name, resolve(&cut(&read))));
        all.push((name, until_zero(&read)));
        all.push((name, resolve(&turn(&lenient(&read)))));
        all.push((name, read));
    }
    all
}

/// Whether the core takes it; if so, everybody meets the same rule.
#[track_caller]
fn check(policy: &CompiledPolicy, path: &[u8]) -> bool {
    let Ok(taken) = unambiguous(path) else { return false };
    let met = rule(policy, taken);
    for (how, read) in readings(taken) {
        let (shown, read_as) = (String::from_utf8_lossy(path), String::from_utf8_lossy(&read));
        assert_eq!(rule(policy, &read), met, "{shown}: {how}, it is {read_as}");
    }
    true
}

const PLAIN: [&str; 6] = ["/admin/x", "/open/x", "/open/admin/x", "/x/admin", "/x", "/admins"];
/// What is put between two characters.
const BETWEEN: [&str; 32] = [
    "/",
    "//",
    "/./",
    "/../",
    "/..",
    "..",
    ".",
    "%2f",
    "%2F",
    "%2e%2e/",
    "%2e",
    "%5c",
    "\\",
    ";x",
    ";",
    "/..;/",
    "%3b",
    "%00",
    "%",
    "%2",
    "%zz",
    "#",
    "%23",
    "?",
    "%3f",
    "%252f",
    "%c0%ae",
    "%c0%af",
    "%e0%80%af",
    "%20",
    "%C3%A9",
    "%21",
];

/// Ways to write one character.
fn written(byte: u8) -> [String; 6] {
    let (high, low) = (0xc0 | (byte >> 6), 0x80 | (byte & 0x3f));
    [
        format!("%{byte:02x}"),
        format!("%{byte:02X}"),
        format!("%25{byte:02x}"),
        format!("%{high:02x}%{low:02x}"),
        format!("%e0%{:02x}%{low:02x}", 0x80 | (byte >> 6)),
        format!("%f0%80%{:02x}%{low:02x}", 0x80 | (byte >> 6)),
    ]
}

#[test]
fn no_trick_reaches_a_rule_that_another_reader_would_not() {
    let policy = policy();
    let (mut taken, mut refused) = (0, 0);
    for plain in PLAIN {
        assert!(check(&policy, plain.as_bytes()), "{plain}");
        for at in 0..=plain.len() {
            let (head, tail) = plain.split_at(at);
            let mut tricky: Vec<String> = BETWEEN.iter().map(|trick| format!("{head}{trick}{tail}")).collect();
            if let Some(byte) = tail.bytes().next() {
                tricky.extend(written(byte).map(|written| format!("{head}{written}{}", &tail[1..])));
            }
            for path in tricky {
                *(if check(&policy, path.as_bytes()) { &mut taken } else { &mut refused }) += 1;
            }
        }
    }
    // Neither everything nor nothing is taken.
    assert!(taken > 200 && refused > 1_000, "{taken} taken, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_tricks_together_do(
        plain in prop::sample::select(PLAIN.to_vec()),
        tricks in prop::collection::vec((0..12_usize, prop::sample::select(BETWEEN.to_vec())), 1..4),
    ) {
        let mut path = plain.to_owned();
        for (at, trick) in tricks {
            path.insert_str(at.min(path.len()), trick);
        }
        check(&policy(), path.as_bytes());
    }

    #[test]
    fn nor_do_any_bytes(path in prop::collection::vec(prop::sample::select(b"/.%25ce0af\\;adminope\x00\xc0".to_vec()), 0..24)) {
        check(&policy(), &[b"/".as_slice(), &path].concat());
    }
}
