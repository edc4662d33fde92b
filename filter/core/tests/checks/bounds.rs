//! Depth, numbers and lengths at and beyond their bounds.

use tollgate_core::verify::{Alg, IssuerSet};
use tollgate_protocol::Code::*;
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::IssuerKind;

use super::forge::Signer;
use super::{Case, LEGACY, compile, edited, issuer};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn signer() -> Signer {
    Signer::new(Alg::Hs256)
}

fn issuers() -> IssuerSet {
    compile(&[issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer().jwk(None)])])
}

pub(crate) fn depth() {
    let issuers = issuers();
    let wide = Limits { token_bytes: 1 << 20, claim_depth: 8 };
    let case = Case { limits: wide, ..Case::new(&issuers) };
    let with = |value: &str| edited(LEGACY, &[(r#""sub""#, &format!(r#""x":{value},"sub""#))]);
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for levels in [1, 6, 7, 8, 100, 127, 128, 129, 500, 3_000, 10_000, 100_000] {
            let inner = if open == "[" { "" } else { "1" };
            let whole = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
            let open_ended = open.repeat(levels);
            let expect = (levels > 7).then_some(TokenMalformed);
            case.check("payload", &signer().token(HEADER, with(&whole).as_bytes()), expect);
            case.check("payload, cut off", &signer().token(HEADER, with(&open_ended).as_bytes()), Some(TokenMalformed));
            case.check("only depth", &signer().token(HEADER, open_ended.as_bytes()), Some(TokenMalformed));
            let header = edited(HEADER, &[(r#""typ""#, &format!(r#""x":{whole},"typ""#))]);
            case.check("header", &signer().token(&header, LEGACY.as_bytes()), expect);
            let iss = edited(LEGACY, &[(r#""https://legacy.test""#, &whole)]);
            case.check("iss", &signer().token(HEADER, iss.as_bytes()), Some(TokenMalformed));
        }
    }
    // The widest depth that can be set, and beyond: serde_json's own limit is still there.
    for claim_depth in [32, usize::MAX] {
        let limits = Limits { token_bytes: 1 << 20, claim_depth };
        let bomb = with(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
        Case { limits, ..Case::new(&issuers) }.check(
            "bomb",
            &signer().token(HEADER, bomb.as_bytes()),
            Some(TokenMalformed),
        );
    }
}

pub(crate) fn numbers() {
    let issuers = issuers();
    let case = Case::new(&issuers);
    for name in ["exp", "iat", "nbf"] {
        for value in [
            r#""1900000060""#,
            "1900000060.0",
            "1900000060.5",
            "1.90000006e9",
            "19e8",
            "-1",
            "-0",
            "-1900000060",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e308",
            "1e400",
            "99999999999999999999999999999999",
            "NaN",
            "Infinity",
            "0x10",
            "01",
            "+1",
            "null",
            "true",
            "[]",
            "{}",
            "[1900000060]",
            r#""""#,
        ] {
            let claims = match name {
                "nbf" => edited(LEGACY, &[(r#""exp""#, &format!(r#""nbf":{value},"exp""#))]),
                "exp" => edited(LEGACY, &[("1900000060", value)]),
                _ => edited(LEGACY, &[("1900000000", value)]),
            };
            case.check(&claims, &signer().token(HEADER, claims.as_bytes()), Some(TokenMalformed));
        }
    }
    // 2^53 is the last that counts.
    let far = edited(LEGACY, &[("1900000060", "9007199254740992")]);
    assert_eq!(case.check("2^53", &signer().token(HEADER, far.as_bytes()), None).unwrap().expires_at(), 1 << 53);
    let zero = edited(LEGACY, &[("1900000060", "0"), (r#""iat":1900000000,"#, "")]);
    case.check("exp is 0", &signer().token(HEADER, zero.as_bytes()), Some(TokenExpired));
    let since = edited(LEGACY, &[("1900000000", "0")]);
    case.check("iat is 0", &signer().token(HEADER, since.as_bytes()), None);
}

pub(crate) fn lengths() {
    let issuers = issuers();
    let padded = |bytes: usize| edited(LEGACY, &[(r#""sub""#, &format!(r#""x":"{}","sub""#, "a".repeat(bytes)))]);
    let token = |bytes: usize| signer().token(HEADER, padded(bytes).as_bytes());
    let base = token(0).len();
    for limit in [256_usize, 1024, 8192, 60_000] {
        let case = Case { limits: Limits { token_bytes: limit, claim_depth: 8 }, ..Case::new(&issuers) };
        for over in -3_isize..=3 {
            let more = limit.saturating_sub(base).saturating_mul(3) / 4;
            let token = token(more.saturating_add_signed(over));
            let expect = (token.len() > limit).then_some(TokenMalformed);
            case.check(&format!("{} of {limit}", token.len()), &token, expect);
        }
    }
    let case = Case::new(&issuers);
    for junk in ["a", ".", "eyJ", "=", "a.", "[", "\u{0}"] {
        for times in [1, 2, 3, 100, 2_000, 20_000] {
            case.check("junk", junk.repeat(times).as_bytes(), Some(TokenMalformed));
        }
    }
    case.check("60 KB", &[b'a'; 60_000], Some(TokenMalformed));
    case.check("9 KiB", &token(9 * 1024), Some(TokenMalformed));
    let kid = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "a".repeat(257));
    case.check("long kid", &signer().token(&kid, LEGACY.as_bytes()), Some(TokenMalformed));
    // Optional facts that are too long are no facts; the token is good.
    let long = edited(LEGACY, &[(r#""sub""#, &format!(r#""email":"{0}","name":"{0}","sub""#, "a".repeat(1_025)))]);
    let claims = case.check("long facts", &signer().token(HEADER, long.as_bytes()), None).unwrap();
    assert_eq!((claims.email(), claims.name()), (None, None));
    let many = (0..900).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
    let scopes = edited(LEGACY, &[(r#""sub""#, &format!(r#""scope":"{many}","sub""#))]);
    let claims = case.check("many scopes", &signer().token(HEADER, scopes.as_bytes()), None).unwrap();
    assert_eq!(claims.scopes().len(), 512);
}
