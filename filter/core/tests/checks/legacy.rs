//! Tokens of the older sign-in.

use tollgate_core::verify::{Alg, VerifyFault, verify};
use tollgate_protocol::issuer::IssuerKind;
use tollgate_protocol::{Code, Method};

use super::forge::{Rsa, Signer};
use super::{Case, LEGACY, NOW, compile, edited, issuer};

const PLAIN: &str = r#"{"alg":"HS256"}"#;

type Edits<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn tokens() {
    use Code::*;
    let signer = Signer::new(Alg::Hs256);
    let issuers = compile(&[issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer.jwk(None)])]);
    let case = Case::new(&issuers);
    let long = format!(r#""sub":"{}""#, "a".repeat(257));
    let longest = format!(r#""sub":"{}""#, "a".repeat(256));
    let table: &[(&str, &str, Edits<'_>, Option<Code>)] = &[
        ("good", PLAIN, &[], None),
        ("typ", r#"{"alg":"HS256","typ":"JWT"}"#, &[], None),
        ("typ in lower case", r#"{"alg":"HS256","typ":"jwt"}"#, &[], None),
        ("another typ", r#"{"alg":"HS256","typ":"at+jwt"}"#, &[], Some(TokenWrongClass)),
        ("cat means nothing here", r#"{"alg":"HS256","cat":"cl_B7d4PD222AAA"}"#, &[], None),
        ("kid of a key that has none", r#"{"alg":"HS256","kid":"x"}"#, &[], None),
        ("another algorithm", r#"{"alg":"HS384"}"#, &[], Some(TokenAlgorithm)),
        ("none", r#"{"alg":"none"}"#, &[], Some(TokenAlgorithm)),
        ("crit", r#"{"alg":"HS256","crit":[]}"#, &[], Some(TokenMalformed)),
        ("no iat", PLAIN, &[(r#""iat":1900000000,"#, "")], None),
        ("no exp", PLAIN, &[(r#""exp":1900000060,"#, "")], Some(TokenMalformed)),
        ("expired", PLAIN, &[("1900000060", "1899999995"), ("1900000000", "1899999000")], Some(TokenExpired)),
        ("nbf ahead", PLAIN, &[(r#""exp""#, r#""nbf":1900000006,"exp""#)], Some(TokenNotYetValid)),
        ("nbf is a string", PLAIN, &[(r#""exp""#, r#""nbf":"1","exp""#)], Some(TokenMalformed)),
        ("iat is null", PLAIN, &[("1900000000", "null")], Some(TokenMalformed)),
        ("no sub", PLAIN, &[(r#","sub":"42""#, "")], Some(TokenMalformed)),
        ("empty sub", PLAIN, &[(r#""42""#, r#""""#)], Some(TokenMalformed)),
        ("sub is a number", PLAIN, &[(r#""42""#, "42")], Some(TokenMalformed)),
        ("sub with line feed", PLAIN, &[("42", r"4\n2")], Some(TokenMalformed)),
        ("longest sub", PLAIN, &[(r#""sub":"42""#, &longest)], None),
        ("too long a sub", PLAIN, &[(r#""sub":"42""#, &long)], Some(TokenMalformed)),
        ("sid", PLAIN, &[(r#""exp""#, r#""sid":"s-1","exp""#)], None),
        ("sid with line feed", PLAIN, &[(r#""exp""#, r#""sid":"s\r\nx: y","exp""#)], Some(TokenMalformed)),
        ("empty sid", PLAIN, &[(r#""exp""#, r#""sid":"","exp""#)], Some(TokenMalformed)),
        ("no issuer", PLAIN, &[(r#""iss":"https://legacy.test","#, "")], Some(TokenWrongIssuer)),
        ("aud is not looked at", PLAIN, &[(r#""exp""#, r#""aud":7,"exp""#)], None),
    ];
    for (label, header, edits, expect) in table {
        case.check(label, &signer.token(header, edited(LEGACY, edits).as_bytes()), *expect);
    }

    let unnamed = compile(&[issuer(IssuerKind::Legacy, None, vec![signer.jwk(None)])]);
    let case = Case::new(&unnamed);
    let without = signer.token(PLAIN, edited(LEGACY, &[(r#""iss":"https://legacy.test","#, "")]).as_bytes());
    assert_eq!(case.check("issuer without a name", &without, None).unwrap().issuer(), None);
    case.check("a name that is not declared", &signer.token(PLAIN, LEGACY.as_bytes()), Some(TokenWrongIssuer));
}

pub(crate) fn claims() {
    let signer = Signer::new(Alg::Hs256);
    let mut legacy = issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer.jwk(Some("k1"))]);
    legacy.max_lifetime_seconds = Some(60);
    legacy.claims.email = "mail".into();
    let issuers = compile(&[legacy]);
    let case = Case::new(&issuers);
    let header = r#"{"alg":"HS256","kid":"k1"}"#;
    let token = |edits: Edits<'_>| signer.token(header, edited(LEGACY, edits).as_bytes());

    let rich = token(&[(r#""sub":"42""#, r#""sub":"42","jti":"t","sid":"s","mail":"a@b.c","scope":"read  write\tx""#)]);
    let claims = case.check("rich", &rich, None).unwrap();
    assert_eq!(claims.method(), Method::Legacy);
    assert_eq!((claims.subject(), claims.key_id()), ("42", Some("k1")));
    assert_eq!((claims.token_id(), claims.session_id()), (Some("t"), Some("s")));
    assert_eq!((claims.email(), claims.email_verified()), (Some("a@b.c"), false));
    assert_eq!(claims.scopes().iter().map(|scope| &**scope).collect::<Vec<_>>(), ["read", "write", "x"]);

    for (extra, scopes) in [
        (r#""scopes":["read","write"]"#, &["read", "write"][..]),
        (r#""scopes":["read",7,"","a b","a\u0000","ä","a\"b"]"#, &["read"]),
        (r#""scopes":"read""#, &[]),
        (r#""scope":["read"],"scopes":["write"]"#, &["write"]),
        (r#""org_permissions":["org:a:b"]"#, &[]),
    ] {
        let token = token(&[(r#""sub":"42""#, &format!(r#""sub":"42",{extra}"#))]);
        let claims = case.check(extra, &token, None).unwrap();
        assert_eq!(claims.scopes().iter().map(|scope| &**scope).collect::<Vec<_>>(), scopes, "{extra}");
    }

    case.check("too long a life", &token(&[("1900000060", "1900000061")]), Some(Code::TokenMalformed));
    let undated = (r#""iat":1900000000,"#, "");
    case.check("undated, 60 s left", &token(&[undated]), None);
    case.check("undated, 61 s left", &token(&[undated, ("1900000060", "1900000061")]), Some(Code::TokenMalformed));
}

pub(crate) fn every_algorithm() {
    for alg in Alg::ALL {
        let signers = [Signer::new(*alg), Signer::rsa(*alg, Rsa::Long2049)];
        for signer in signers {
            let issuers = compile(&[issuer(IssuerKind::Legacy, Some("https://legacy.test"), vec![signer.jwk(None)])]);
            let case = Case::new(&issuers);
            for other in Alg::ALL {
                let header = format!(r#"{{"alg":"{}"}}"#, other.as_str());
                let expect = (alg != other).then_some(Code::TokenAlgorithm);
                case.check(&format!("{alg:?} {header}"), &signer.token(&header, LEGACY.as_bytes()), expect);
            }
            let stranger = Signer::rsa(*alg, Rsa::Two);
            let header = format!(r#"{{"alg":"{}"}}"#, alg.as_str());
            if matches!(alg.as_str().get(..2), Some("RS" | "PS")) {
                let token = stranger.token(&header, LEGACY.as_bytes());
                case.check("another key", &token, Some(Code::TokenBadSignature));
            }
            // The two halves of two good tokens are no token.
            let one = signer.token(&header, LEGACY.as_bytes());
            let two = signer.token(&header, edited(LEGACY, &[("42", "43")]).as_bytes());
            let cut = |token: &[u8]| token.iter().rposition(|byte| *byte == b'.').unwrap();
            let mixed = [&one[..cut(&one)], &two[cut(&two)..]].concat();
            let fault = verify(&mixed, case.source, &issuers, NOW, &case.limits, case.native).unwrap_err();
            assert_eq!(fault, VerifyFault::BadSignature, "{alg:?}");
        }
    }
}
