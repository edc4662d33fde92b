//! Bytes from someone who wants a panic or two readings of one token.

use tollgate_core::verify::{Alg, IssuerSet};
use tollgate_protocol::Code;
use tollgate_protocol::Code::*;
use tollgate_protocol::issuer::IssuerKind;

use super::forge::{Signer, base64};
use super::{Case, LEGACY, compile, edited, issuer};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn signer() -> Signer {
    Signer::new(Alg::Hs256)
}

fn issuers() -> IssuerSet {
    compile(&[issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer().jwk(None)])])
}

pub(crate) fn bytes() {
    let issuers = issuers();
    let case = Case::new(&issuers);
    let all: Vec<u8> = (0..=255).collect();
    case.check("empty", b"", Some(TokenMalformed));
    case.check("all bytes", &all, Some(TokenMalformed));
    let good = signer().token(HEADER, LEGACY.as_bytes());
    for byte in 0..=255_u8 {
        case.check("one byte", &[byte], Some(TokenMalformed));
        case.check("three segments of it", &[byte, b'.', byte, b'.', byte], Some(TokenMalformed));
        for at in [0, good.len()] {
            let mut longer = good.clone();
            longer.insert(at, byte);
            case.check("inserted", &longer, Some(inserted(byte, at)));
        }
        // As a byte of the header and of the payload, where JSON does not want it.
        let raw = |header: &[u8], payload: &[u8]| {
            let message = format!("{}.{}", base64(header), base64(payload));
            let signature = base64(&signer().sign(message.as_bytes()));
            format!("{message}.{signature}").into_bytes()
        };
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let expect = (!space).then_some(TokenMalformed);
        case.check("after the header", &raw(&[HEADER.as_bytes(), &[byte]].concat(), LEGACY.as_bytes()), expect);
        case.check("before the header", &raw(&[&[byte], HEADER.as_bytes()].concat(), LEGACY.as_bytes()), expect);
        case.check("after the payload", &raw(HEADER.as_bytes(), &[LEGACY.as_bytes(), &[byte]].concat()), expect);
        case.check("before the payload", &raw(HEADER.as_bytes(), &[&[byte], LEGACY.as_bytes()].concat()), expect);
    }
    let not_utf8 = [&LEGACY.as_bytes()[..LEGACY.len() - 1], b",\"x\":\"\xc3\x28\"}"].concat();
    case.check("payload not UTF-8", &signer().token(HEADER, &not_utf8), Some(TokenMalformed));
}

/// One more base64 character gives a length that no bytes have, or bytes that are no JSON; a dot one more segment.
fn inserted(byte: u8, at: usize) -> Code {
    let alphabet = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // The signature of HS256 has 43 characters; a 44th gives 33 bytes.
    if at != 0 && alphabet { TokenBadSignature } else { TokenMalformed }
}

pub(crate) fn shapes() {
    let issuers = issuers();
    let case = Case::new(&issuers);
    let good = String::from_utf8(signer().token(HEADER, LEGACY.as_bytes())).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    for (token, expect) in [
        (good.clone(), None),
        (format!("{h}.{p}.{s}."), Some(TokenMalformed)),
        (format!("{h}.{p}.{s}.{s}"), Some(TokenMalformed)),
        (format!("{h}.{p}.{s}.{s}.{s}"), Some(TokenMalformed)),
        (format!(".{h}.{p}.{s}"), Some(TokenMalformed)),
        (format!("{h}.{p}"), Some(TokenMalformed)),
        (format!("{h}.{p}."), Some(TokenBadSignature)),
        (format!("{h}..{s}"), Some(TokenMalformed)),
        (format!(".{p}.{s}"), Some(TokenMalformed)),
        ("..".into(), Some(TokenMalformed)),
        ("...".into(), Some(TokenMalformed)),
        (format!("{h}.{p}.{s}="), Some(TokenMalformed)),
        (format!("{h}.{p}=.{s}"), Some(TokenMalformed)),
        (format!("{h}={p}.{s}"), Some(TokenMalformed)),
        (format!(" {good}"), Some(TokenMalformed)),
        (format!("{good}\n"), Some(TokenMalformed)),
        (format!("{good},{good}"), Some(TokenMalformed)),
        (format!("Bearer {good}"), Some(TokenMalformed)),
        (good.replace('.', ":"), Some(TokenMalformed)),
    ] {
        case.check(&token, token.as_bytes(), expect);
    }
    // A 43rd character of a 32-byte signature holds four bits that mean nothing: only zero is a token.
    let last = s.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for character in alphabet.chars() {
        let token = format!("{h}.{p}.{}{character}", &s[..s.len() - 1]);
        let index = alphabet.find(character).unwrap();
        let expect = match index % 4 {
            _ if character == last => None,
            0 => Some(TokenBadSignature),
            _ => Some(TokenMalformed),
        };
        case.check(&token, token.as_bytes(), expect);
    }
}

pub(crate) fn json() {
    let issuers = issuers();
    let case = Case::new(&issuers);
    for (header, expect) in [
        (r#"{"alg":"HS256"}"#, None),
        (r#" { "alg" : "HS256" } "#, None),
        (r#"{"alg":"HS256"}"#, None),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Some(TokenMalformed)),
        (r#"{"alg":"none","alg":"HS256"}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256","\u0061lg":"none"}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256","x":{"a":1,"a":2}}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256","x":[{"a":1,"a":2}]}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256","kid":"a","kid":"b"}"#, Some(TokenMalformed)),
        (r#"{"ALG":"HS256"}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256",}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256"}{}"#, Some(TokenMalformed)),
        (r#"{"alg":"HS256"//}"#, Some(TokenMalformed)),
        (r#"["HS256"]"#, Some(TokenMalformed)),
        (r#""HS256""#, Some(TokenMalformed)),
        ("null", Some(TokenMalformed)),
        ("{}", Some(TokenMalformed)),
        ("", Some(TokenMalformed)),
    ] {
        case.check(header, &signer().token(header, LEGACY.as_bytes()), expect);
    }
    for (edit, expect) in [
        ((r#""sub":"42""#, r#""sub":"42","sub":"43""#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"42","s\u0075b":"43""#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"42","x":{"a":1,"a":1}"#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"42","x":[[{"a":1,"a":1}]]"#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"42","x":{"a":1},"y":{"a":1}"#), None),
        ((r#""iss""#, r#""iss":"https://legacy.test","iss""#), Some(TokenMalformed)),
        ((r#""exp""#, r#""exp":1,"exp""#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"\ud800""#), Some(TokenMalformed)),
        ((r#""sub":"42""#, r#""sub":"42\u0000""#), Some(TokenMalformed)),
        ((r#""sub":"42"}"#, r#""sub":"42""#), Some(TokenMalformed)),
        ((r#""sub":"42"}"#, r#""sub":"42"}}"#), Some(TokenMalformed)),
    ] {
        case.check(edit.1, &signer().token(HEADER, edited(LEGACY, &[edit]).as_bytes()), expect);
    }
    for payload in ["", "{}", "[]", "null", "\"x\"", "1", "[{}]"] {
        let expect = if payload == "{}" { TokenWrongIssuer } else { TokenMalformed };
        case.check(payload, &signer().token(HEADER, payload.as_bytes()), Some(expect));
    }
}
