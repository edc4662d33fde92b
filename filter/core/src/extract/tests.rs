//! Tables over one `check`: which credential decides.

use tollgate_protocol::Code;

use super::*;

fn view<'a>(headers: &[(&'a str, &'a [u8])]) -> RequestView<'a> {
    let mut view = RequestView::default();
    for (name, value) in headers {
        match *name {
            "key" => view.api_key.add_for_test(value),
            "auth" => view.authorization.add_for_test(value),
            "cookie" => view.cookies.push(value),
            other => panic!("{other}"),
        }
    }
    view
}

impl<'a> Field<'a> {
    fn add_for_test(&mut self, value: &'a [u8]) {
        *self = if *self == Field::Absent { Field::One(value) } else { Field::Many };
    }
}

#[track_caller]
fn check(headers: &[(&str, &[u8])], expect: Result<Option<Credential<'_>>, Code>) {
    assert_eq!(extract(&view(headers), true).map_err(ExtractFault::code), expect);
}

#[test]
fn the_first_carrier_that_is_present_decides() {
    use Credential::{ApiKey, Token};
    check(&[], Ok(None));
    check(&[("key", b"sk_a"), ("auth", b"Bearer x.y.z")], Ok(Some(ApiKey(b"sk_a"))));
    check(&[("auth", b"Bearer sk_a")], Ok(Some(ApiKey(b"sk_a"))));
    check(&[("auth", b"Bearer x.y.z"), ("cookie", b"__session=c")], Ok(Some(Token(b"x.y.z", Source::Header))));
    check(&[("cookie", b"a=b; __session=c; d=e")], Ok(Some(Token(b"c", Source::Cookie))));
    check(&[("auth", b"bEARER   x")], Ok(Some(Token(b"x", Source::Header))));
    check(&[("key", b"anything at all")], Ok(Some(ApiKey(b"anything at all"))));
    check(&[("cookie", b"__session=; a=b")], Ok(None));
}

#[test]
fn present_and_bad_never_falls_through() {
    check(&[("key", b""), ("auth", b"Bearer good")], Err(Code::ApiKeyMalformed));
    check(&[("key", b"a"), ("key", b"a")], Err(Code::AmbiguousCredential));
    check(&[("auth", b"Bearer a,Bearer b")], Err(Code::AmbiguousCredential));
    check(&[("auth", b"Bearer a"), ("auth", b"Bearer a")], Err(Code::AmbiguousCredential));
    check(&[("cookie", b"__session=a"), ("cookie", b"__session=b")], Err(Code::AmbiguousCredential));
    for bad in [&b""[..], b"Bearer", b"Bearer ", b"Basic abc", b"Bearer a b", b"\xff\xfe", b"Bearer\ta", b"sk_a"] {
        check(&[("auth", bad), ("cookie", b"__session=c")], Err(Code::MalformedCredential));
    }
}

#[test]
fn every_byte_at_every_place_of_a_token_is_seen() {
    let good = b"Bearer AAAAAAAAAAAAAAAAAAAAAA";
    for (place, byte) in (7..good.len()).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
        let mut value = *good;
        value[place] = byte;
        let is_at_an_end = place == 7 || place == good.len() - 1;
        match byte {
            b',' => check(&[("auth", &value)], Err(Code::AmbiguousCredential)),
            b' ' | b'\t' | b'\n' | b'\x0c' | b'\r' if is_at_an_end => {
                let token = value[7..].trim_ascii();
                check(&[("auth", &value)], Ok(Some(Credential::Token(token, Source::Header))));
            }
            b' ' | b'\t' | b'\n' | b'\x0c' | b'\r' => check(&[("auth", &value)], Err(Code::MalformedCredential)),
            _ => check(&[("auth", &value)], Ok(Some(Credential::Token(&value[7..], Source::Header)))),
        }
    }
}

#[test]
fn a_cookie_counts_only_where_the_route_takes_it() {
    assert_eq!(extract(&view(&[("cookie", b"__session=c")]), false), Ok(None));
}

#[test]
fn the_session_cookies_are_cut_out_of_the_others() {
    assert_eq!(without_session(&[b"a=1; __session=x; b=2", b"__session_Ab1=y;c=3"]), Some(b"a=1; b=2; c=3".to_vec()));
    assert_eq!(without_session(&[b"__session=x"]), None);
    assert_eq!(without_session(&[b"__sessions=x"]), Some(b"__sessions=x".to_vec()));
}
