//! Clerk session tokens: the matrix of Clerk facts 8, "Tokens".

use tollgate_core::verify::{Alg, IssuerSet, Source};
use tollgate_protocol::issuer::{Issuer, IssuerKind, MissingParty};
use tollgate_protocol::{Code, Method};

use super::forge::Signer;
use super::{CLAIMS, Case, HEADER, NOW, compile, edited, issuer};

fn clerk(change: impl FnOnce(&mut Issuer)) -> IssuerSet {
    let mut clerk =
        issuer(IssuerKind::Clerk, Some("https://clerk.test"), vec![Signer::new(Alg::Rs256).jwk(Some("ins_one"))]);
    change(&mut clerk);
    compile(&[clerk])
}

type Edits<'a> = &'a [(&'a str, &'a str)];

fn token(header: Edits<'_>, claims: Edits<'_>) -> Vec<u8> {
    Signer::new(Alg::Rs256).token(&edited(HEADER, header), edited(CLAIMS, claims).as_bytes())
}

pub(crate) fn tokens() {
    use Code::*;
    let issuers = clerk(|_| ());
    let case = Case::new(&issuers);
    let table: &[(&str, Edits<'_>, Edits<'_>, Option<Code>)] = &[
        ("good, format 2", &[], &[], None),
        ("good, format 1", &[], &[(r#","v":2"#, ""), (r#""jti":"j1","#, ""), (r#""sts":"active","#, "")], None),
        ("unknown format", &[], &[(r#""v":2"#, r#""v":3"#)], None),
        ("unknown header parameter", &[(r#""typ""#, r#""oiat":1,"typ""#)], &[], None),
        ("thumbprint", &[(r#""typ""#, r#""x5t":"lDpwLQbzRZmu4fjajvn3KWAx1pk","typ""#)], &[], None),
        ("another issuer's aud", &[], &[(r#""v":2"#, r#""aud":"https://api.test","v":2"#)], None),
        // typ and cat
        ("no typ", &[(r#","typ":"JWT""#, "")], &[], None),
        ("typ in lower case", &[(r#""typ":"JWT""#, r#""typ":"jwt""#)], &[], Some(TokenWrongClass)),
        ("OAuth access token", &[(r#""typ":"JWT""#, r#""typ":"at+jwt""#)], &[], Some(TokenWrongClass)),
        ("OAuth, long form", &[(r#""typ":"JWT""#, r#""typ":"application/at+jwt""#)], &[], Some(TokenWrongClass)),
        ("typ is null", &[(r#""typ":"JWT""#, r#""typ":null"#)], &[], Some(TokenMalformed)),
        ("typ is a number", &[(r#""typ":"JWT""#, r#""typ":1"#)], &[], Some(TokenMalformed)),
        ("no cat", &[(r#""cat":"cl_B7d4PD111AAA","#, "")], &[], None),
        ("cat ignored by the instance", &[("cl_B7d4PD111AAA", "cl_I7d4PD111III")], &[], None),
        ("template token", &[("cl_B7d4PD111AAA", "cl_B7d4PD222AAA")], &[], Some(TokenWrongClass)),
        ("machine token", &[("cl_B7d4PD111AAA", "cl_B7d4PD333AAA")], &[], Some(TokenWrongClass)),
        ("unknown cat", &[("cl_B7d4PD111AAA", "cl_x")], &[], Some(TokenWrongClass)),
        ("empty cat", &[("cl_B7d4PD111AAA", "")], &[], Some(TokenWrongClass)),
        ("cat is null", &[(r#""cl_B7d4PD111AAA""#, "null")], &[], Some(TokenMalformed)),
        // header parameters that nobody may bring
        ("crit", &[(r#""typ""#, r#""crit":["exp"],"typ""#)], &[], Some(TokenMalformed)),
        ("jwk", &[(r#""typ""#, r#""jwk":{"kty":"RSA"},"typ""#)], &[], Some(TokenMalformed)),
        ("jku", &[(r#""typ""#, r#""jku":"https://evil.test","typ""#)], &[], Some(TokenMalformed)),
        ("x5u", &[(r#""typ""#, r#""x5u":"https://evil.test","typ""#)], &[], Some(TokenMalformed)),
        ("x5c", &[(r#""typ""#, r#""x5c":["AA"],"typ""#)], &[], Some(TokenMalformed)),
        ("x5c is null", &[(r#""typ""#, r#""x5c":null,"typ""#)], &[], Some(TokenMalformed)),
        ("b64", &[(r#""typ""#, r#""b64":false,"typ""#)], &[], Some(TokenMalformed)),
        ("zip", &[(r#""typ""#, r#""zip":"DEF","typ""#)], &[], Some(TokenMalformed)),
        ("nested token", &[(r#""typ""#, r#""cty":"JWT","typ""#)], &[], Some(TokenMalformed)),
        // kid
        ("no kid", &[(r#""kid":"ins_one","#, "")], &[], Some(TokenUnknownKey)),
        ("empty kid", &[("ins_one", "")], &[], Some(TokenMalformed)),
        ("unknown kid", &[("ins_one", "ins_two")], &[], Some(TokenUnknownKey)),
        ("kid in another case", &[("ins_one", "INS_one")], &[], Some(TokenUnknownKey)),
        ("kid is a number", &[(r#""ins_one""#, "1")], &[], Some(TokenMalformed)),
        // algorithm
        ("none", &[("RS256", "none")], &[], Some(TokenAlgorithm)),
        ("None", &[("RS256", "None")], &[], Some(TokenAlgorithm)),
        ("HS256", &[("RS256", "HS256")], &[], Some(TokenAlgorithm)),
        ("RS384", &[("RS256", "RS384")], &[], Some(TokenAlgorithm)),
        ("PS256", &[("RS256", "PS256")], &[], Some(TokenAlgorithm)),
        ("ES256", &[("RS256", "ES256")], &[], Some(TokenAlgorithm)),
        ("lower case", &[("RS256", "rs256")], &[], Some(TokenAlgorithm)),
        ("HS256 and unknown kid", &[("RS256", "HS256"), ("ins_one", "ins_x")], &[], Some(TokenAlgorithm)),
        ("no alg", &[(r#""alg":"RS256","#, "")], &[], Some(TokenMalformed)),
        ("alg is an array", &[(r#""RS256""#, r#"["RS256"]"#)], &[], Some(TokenMalformed)),
        // issuer
        ("wrong issuer", &[], &[("https://clerk.test", "https://evil.test")], Some(TokenWrongIssuer)),
        ("issuer with slash", &[], &[("https://clerk.test", "https://clerk.test/")], Some(TokenWrongIssuer)),
        ("issuer in upper case", &[], &[("https://clerk.test", "https://CLERK.test")], Some(TokenWrongIssuer)),
        ("no issuer", &[], &[(r#""iss":"https://clerk.test","#, "")], Some(TokenWrongIssuer)),
        ("issuer is null", &[], &[(r#""https://clerk.test""#, "null")], Some(TokenMalformed)),
        ("issuer in an array", &[], &[(r#""https://clerk.test""#, r#"["https://clerk.test"]"#)], Some(TokenMalformed)),
    ];
    for (label, header, claims, expect) in table {
        case.check(label, &token(header, claims), *expect);
    }
}

pub(crate) fn claims() {
    use Code::*;
    let issuers = clerk(|clerk| clerk.max_lifetime_seconds = Some(600));
    let case = Case::new(&issuers);
    let long = "a".repeat(65);
    let table: &[(&str, Edits<'_>, Option<Code>)] = &[
        // class
        ("machine", &[("user_1", "mch_1")], Some(TokenWrongClass)),
        ("organisation", &[("user_1", "org_1")], Some(TokenWrongClass)),
        ("no id", &[("user_1", "user_")], Some(TokenWrongClass)),
        ("punctuation", &[("user_1", "user_1/../2")], Some(TokenWrongClass)),
        ("line feed", &[("user_1", r"user_1\n")], Some(TokenWrongClass)),
        ("long id", &[("user_1", &format!("user_{long}"))], Some(TokenWrongClass)),
        ("no sub", &[(r#","sub":"user_1""#, "")], Some(TokenMalformed)),
        ("sub is a number", &[(r#""user_1""#, "1")], Some(TokenMalformed)),
        ("template token without cat or sid", &[(r#""sid":"sess_1","#, "")], Some(TokenWrongClass)),
        ("another sid", &[("sess_1", "client_1")], Some(TokenWrongClass)),
        ("empty sid", &[("sess_1", "")], Some(TokenWrongClass)),
        ("sid is null", &[(r#""sess_1""#, "null")], Some(TokenMalformed)),
        // session
        ("no sts", &[(r#""sts":"active","#, "")], None),
        ("pending", &[("active", "pending")], Some(SessionPending)),
        ("unknown sts", &[("active", "foo")], Some(TokenWrongClass)),
        ("sts is true", &[(r#""active""#, "true")], Some(TokenMalformed)),
        // lifetime
        ("longest", &[("1900000060", "1900000600")], None),
        ("too long", &[("1900000060", "1900000601")], Some(TokenMalformed)),
        ("exp is iat", &[("1900000060", "1900000000")], Some(TokenMalformed)),
        ("exp before iat", &[("1900000060", "1899999999")], Some(TokenMalformed)),
        ("no exp", &[(r#""exp":1900000060,"#, "")], Some(TokenMalformed)),
        ("no iat", &[(r#""iat":1900000000,"#, "")], Some(TokenMalformed)),
        ("no nbf", &[(r#""nbf":1899999990,"#, "")], Some(TokenMalformed)),
        ("jti is a number", &[(r#""j1""#, "1")], Some(TokenMalformed)),
    ];
    for (label, claims, expect) in table {
        case.check(label, &token(&[], claims), *expect);
    }

    let rich = token(
        &[],
        &[(
            r#""v":2"#,
            r#""v":2,"email":"Ada@Example.com","email_verified":true,"name":"Ada Løvelace","act":{"iss":"x","sid":"sess_2","sub":"user_9"},"fea":"o:dashboard,o:teams","o":{"id":"org_1","per":"manage,read","fpm":"3,2"}"#,
        )],
    );
    let claims = case.check("rich", &rich, None).unwrap();
    assert_eq!(claims.method(), Method::Clerk);
    assert_eq!(claims.issuer(), Some("https://clerk.test"));
    assert_eq!(claims.subject(), "user_1");
    assert_eq!(claims.session_id(), Some("sess_1"));
    assert_eq!(claims.token_id(), Some("j1"));
    assert_eq!(claims.key_id(), Some("ins_one"));
    assert_eq!((claims.issued_at(), claims.expires_at()), (Some(NOW), NOW + 60));
    assert_eq!((claims.email(), claims.email_verified()), (Some("Ada@Example.com"), true));
    assert_eq!(claims.name(), Some("Ada Løvelace"));
    assert_eq!((claims.is_impersonated(), claims.actor()), (true, Some("user_9")));
    let scopes: Vec<&str> = claims.scopes().iter().map(|scope| &**scope).collect();
    assert_eq!(scopes, ["org:dashboard:manage", "org:dashboard:read", "org:teams:read"]);
    assert_eq!(claims.generation(), issuers.generation());
    assert!(!format!("{claims:?}").contains("Ada"));

    for (label, extra, email, verified, impersonated) in [
        ("verified as a string", r#""email":"a@b.c","email_verified":"true""#, Some("a@b.c"), false, false),
        ("verified as a number", r#""email":"a@b.c","email_verified":1"#, Some("a@b.c"), false, false),
        ("unverified", r#""email":"a@b.c","email_verified":false"#, Some("a@b.c"), false, false),
        ("no word on it", r#""email":"a@b.c""#, Some("a@b.c"), false, false),
        ("no address", r#""email":null,"email_verified":true"#, None, false, false),
        ("empty address", r#""email":"","email_verified":true"#, None, false, false),
        ("address with line feed", r#""email":"a@b.c\r\nx: y","email_verified":true"#, None, false, false),
        ("act is null", r#""act":null"#, None, false, false),
        ("act without sub", r#""act":{}"#, None, false, true),
        ("act is a string", r#""act":"user_9""#, None, false, true),
    ] {
        let claims = case.check(label, &token(&[], &[(r#""v":2"#, extra)]), None).unwrap();
        assert_eq!((claims.email(), claims.email_verified()), (email, verified), "{label}");
        assert_eq!((claims.is_impersonated(), claims.actor()), (impersonated, None), "{label}");
    }
}

pub(crate) fn parties() {
    use Code::TokenWrongParty as Wrong;
    use MissingParty::{Accept, AcceptFromHeader, Refuse};
    let missing = token(&[], &[(r#""azp":"https://app.test","#, "")]);
    for (rule, header, cookie) in
        [(Refuse, Some(Wrong), Some(Wrong)), (AcceptFromHeader, None, Some(Wrong)), (Accept, None, None)]
    {
        let issuers = clerk(|clerk| clerk.missing_party = rule);
        let mut case = Case::new(&issuers);
        let claims = case.check("missing, header", &missing, header);
        case.check("wrong", &token(&[], &[("https://app.test", "https://evil.test")]), Some(Wrong));
        case.check("empty", &token(&[], &[("https://app.test", "")]), Some(Wrong));
        case.check("with slash", &token(&[], &[("https://app.test", "https://app.test/")]), Some(Wrong));
        case.check("number", &token(&[], &[(r#""https://app.test""#, "1")]), Some(Code::TokenMalformed));
        case.check("null", &token(&[], &[(r#""https://app.test""#, "null")]), Some(Code::TokenMalformed));
        case.check("second", &token(&[], &[("https://app.test", "https://other.test")]), None);
        case.source = Source::Cookie;
        case.check("missing, cookie", &missing, cookie);
        case.check("good, cookie", &token(&[], &[]), None);
        if let Some(claims) = claims {
            assert_eq!(claims.allowed_from(Source::Header).err().map(|fault| fault.code()), header);
            assert_eq!(claims.allowed_from(Source::Cookie).err().map(|fault| fault.code()), cookie);
        }
    }
    let unchecked = clerk(|clerk| clerk.authorized_parties.clear());
    Case::new(&unchecked).check("no list", &token(&[], &[("https://app.test", "https://evil.test")]), None);
    Case::new(&unchecked).check("no list, missing", &missing, None);

    let issuers = clerk(|clerk| clerk.audience = vec!["a".into(), "b".into()]);
    let case = Case::new(&issuers);
    for (aud, expect) in [
        (r#""aud":"b","v":2"#, None),
        (r#""aud":["x","a"],"v":2"#, None),
        (r#""aud":"c","v":2"#, Some(Code::TokenWrongAudience)),
        (r#""aud":[],"v":2"#, Some(Code::TokenWrongAudience)),
        (r#""v":2"#, Some(Code::TokenWrongAudience)),
        (r#""aud":["a",1],"v":2"#, Some(Code::TokenMalformed)),
        (r#""aud":{"a":1},"v":2"#, Some(Code::TokenMalformed)),
        (r#""aud":null,"v":2"#, Some(Code::TokenMalformed)),
    ] {
        case.check(aud, &token(&[], &[(r#""v":2"#, aud)]), expect);
    }
}

pub(crate) fn times() {
    use Code::{TokenExpired, TokenNotYetValid};
    let issuers = clerk(|_| ());
    let good = token(&[], &[]);
    let late = token(&[], &[("1899999990", "1900000020")]);
    let kept = Case::new(&issuers).check("kept", &good, None).unwrap();
    for (label, token, now, expect) in [
        ("iat 6 s ahead", &good, NOW - 6, Some(TokenNotYetValid)),
        ("iat 5 s ahead", &good, NOW - 5, None),
        ("exp 4 s ago", &good, NOW + 64, None),
        ("exp 5 s ago", &good, NOW + 65, Some(TokenExpired)),
        ("nbf 6 s ahead", &late, NOW + 14, Some(TokenNotYetValid)),
        ("nbf 5 s ahead", &late, NOW + 15, None),
        ("the beginning of time", &good, 0, Some(TokenNotYetValid)),
        ("the end of time", &good, u64::MAX, Some(TokenExpired)),
    ] {
        let case = Case { now, ..Case::new(&issuers) };
        case.check(label, token, expect);
        if core::ptr::eq(token, &good) {
            assert_eq!(kept.check_times(now).err().map(|fault| fault.code()), expect, "kept: {label}");
        }
    }
}
