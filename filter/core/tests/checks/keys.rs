//! Keys: what is refused when they are loaded, and what no key accepts.

use tollgate_core::verify::{Alg, IssuerSet, Key, KeyReason, NoNative};
use tollgate_protocol::issuer::{Issuer, IssuerKind, Jwk, MissingParty};

use super::forge::{Rsa, SECRET, Signer, base64};
use super::{compile, issuer};

fn check(label: &str, jwk: &Jwk, kind: IssuerKind, expect: Result<(), KeyReason>) {
    let got = Key::from_jwk(jwk, kind).map(|_| ()).map_err(|fault| fault.reason);
    assert_eq!(got, expect, "{label}");
}

fn edit(alg: Alg, change: impl FnOnce(&mut Jwk)) -> Jwk {
    let mut jwk = Signer::new(alg).jwk(Some("k"));
    change(&mut jwk);
    jwk
}

/// A number of so many bits, all of them one.
fn ones(bits: usize) -> String {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] >>= (8 - bits % 8) % 8;
    base64(&bytes)
}

pub(crate) fn are_checked() {
    use IssuerKind::{Clerk, Legacy};
    use KeyReason::*;
    for alg in Alg::ALL {
        let jwk = Signer::new(*alg).jwk(Some("k"));
        check("good", &jwk, Legacy, Ok(()));
        let for_clerk = matches!(alg, Alg::Rs256 | Alg::Rs384 | Alg::Rs512);
        check("for Clerk", &jwk, Clerk, if for_clerk { Ok(()) } else { Err(AlgNotAllowed) });
        for other in Alg::ALL.iter().filter(|other| other.as_str()[..2] != alg.as_str()[..2]) {
            let same_type = ["RS", "PS"].contains(&&alg.as_str()[..2]) && ["RS", "PS"].contains(&&other.as_str()[..2]);
            let renamed = Jwk { alg: other.as_str().into(), ..jwk.clone() };
            let refused = Key::from_jwk(&renamed, Legacy).is_err();
            assert_eq!(refused, !same_type, "{alg:?} as {other:?}");
        }
        for word in ["none", "", "ES512", "ES256K", "RSA-OAEP", "Ed25519", "rs256", "A256KW"] {
            check(word, &Jwk { alg: word.into(), ..jwk.clone() }, Legacy, Err(AlgUnknown));
        }
        check("kty", &Jwk { kty: "rsa".into(), ..jwk.clone() }, Legacy, Err(Kty));
        check("empty kid", &Jwk { kid: Some(String::new()), ..jwk.clone() }, Legacy, Err(Kid));
        check("long kid", &Jwk { kid: Some("k".repeat(257)), ..jwk.clone() }, Legacy, Err(Kid));
        check("no kid", &Jwk { kid: None, ..jwk.clone() }, Legacy, Ok(()));
    }
    let rs = |change: fn(&mut Jwk)| edit(Alg::Rs256, change);
    check("Clerk key that was given as PEM", &rs(|jwk| jwk.kid = None), Clerk, Ok(()));
    check("no n", &rs(|jwk| jwk.n = None), Legacy, Err(Missing("n")));
    check("no e", &rs(|jwk| jwk.e = None), Legacy, Err(Missing("e")));
    check("empty n", &rs(|jwk| jwk.n = Some(String::new())), Legacy, Err(Missing("n")));
    check("padded n", &rs(|jwk| jwk.n = jwk.n.take().map(|n| n + "=")), Legacy, Err(Encoding("n")));
    check("n in base64", &rs(|jwk| jwk.n = Some("+/+/".into())), Legacy, Err(Encoding("n")));
    check("endless n", &rs(|jwk| jwk.n = Some("A".repeat(4096))), Legacy, Err(Encoding("n")));
    check("n is zero", &rs(|jwk| jwk.n = Some(base64(&[0; 256]))), Legacy, Err(ModulusBits(0)));
    let zeros = base64(&[&[0, 0][..], &Rsa::One.modulus()].concat());
    check("zeros before n", &edit(Alg::Rs256, |jwk| jwk.n = Some(zeros)), Legacy, Ok(()));
    let mut even = Rsa::One.modulus();
    even[255] ^= 1;
    check("even n", &edit(Alg::Rs256, |jwk| jwk.n = Some(base64(&even))), Legacy, Err(Modulus));
    for (bits, clerk, legacy) in [
        (1, Err(ModulusBits(1)), Err(ModulusBits(1))),
        (512, Err(ModulusBits(512)), Err(ModulusBits(512))),
        (1024, Err(ModulusBits(1024)), Err(ModulusBits(1024))),
        (2047, Err(ModulusBits(2047)), Err(ModulusBits(2047))),
        (2048, Ok(()), Ok(())),
        (4096, Ok(()), Ok(())),
        (4097, Err(ModulusBits(4097)), Ok(())),
        (8192, Err(ModulusBits(8192)), Ok(())),
        (8193, Err(ModulusBits(8193)), Err(ModulusBits(8193))),
    ] {
        let jwk = edit(Alg::Rs256, |jwk| jwk.n = Some(ones(bits)));
        check(&format!("{bits} bits"), &jwk, Clerk, clerk);
        check(&format!("{bits} bits"), &jwk, Legacy, legacy);
    }
    for (e, expect) in [
        (&[3][..], Ok(())),
        (&[0, 0, 3], Ok(())),
        (&[1, 0, 1], Ok(())),
        (&[0xff, 0xff, 0xff, 0xff], Ok(())),
        (&[0], Err(Exponent)),
        (&[1], Err(Exponent)),
        (&[2], Err(Exponent)),
        (&[1, 0, 0], Err(Exponent)),
        (&[1, 0, 0, 0, 1], Err(Exponent)),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 1], Err(Exponent)),
        (&[0xff; 200], Err(Exponent)),
    ] {
        check(&format!("e {e:?}"), &edit(Alg::Rs256, |jwk| jwk.e = Some(base64(e))), Legacy, expect);
    }
    for (alg, other, size) in [(Alg::Es256, "P-384", 32), (Alg::Es384, "P-256", 48)] {
        check("curve", &edit(alg, |jwk| jwk.crv = Some(other.into())), Legacy, Err(Crv));
        check("no curve", &edit(alg, |jwk| jwk.crv = None), Legacy, Err(Crv));
        check("no y", &edit(alg, |jwk| jwk.y = None), Legacy, Err(Missing("y")));
        check("short x", &edit(alg, |jwk| jwk.x = Some(base64(&vec![1; size - 1]))), Legacy, Err(Point));
        check("long x", &edit(alg, |jwk| jwk.x = Some(base64(&vec![1; size + 1]))), Legacy, Err(Point));
        check("not on the curve", &edit(alg, |jwk| jwk.y = jwk.x.clone()), Legacy, Err(Point));
        check("x above the field", &edit(alg, |jwk| jwk.x = Some(base64(&vec![0xff; size]))), Legacy, Err(Point));
        check(
            "origin",
            &edit(alg, |jwk| {
                jwk.x = Some(base64(&vec![0; size]));
                jwk.y = jwk.x.clone();
            }),
            Legacy,
            Err(Point),
        );
    }
    check("Ed448", &edit(Alg::EdDsa, |jwk| jwk.crv = Some("Ed448".into())), Legacy, Err(Crv));
    let order_four = [0; 32];
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [&order_four[..], &identity, &[0xff; 32], &[2; 31], &[2; 33]] {
        check("Ed25519 point", &edit(Alg::EdDsa, |jwk| jwk.x = Some(base64(weak))), Legacy, Err(Point));
    }
    for (alg, least) in [(Alg::Hs256, 32), (Alg::Hs384, 48), (Alg::Hs512, 64)] {
        for got in 1..=64 {
            let jwk = edit(alg, |jwk| jwk.k = Some(base64(&SECRET[..got])));
            check("secret", &jwk, Legacy, if got < least { Err(SecretLength { got, least }) } else { Ok(()) });
        }
        assert!(!format!("{:?}", Key::from_jwk(&edit(alg, |_| ()), Legacy)).contains(&base64(SECRET)));
    }
}

pub(crate) fn of_a_set() {
    use KeyReason::*;
    let good = |kid: &str| Signer::new(Alg::Rs256).jwk(Some(kid));
    let keys: Vec<Jwk> = (0..40).map(|n| good(&format!("k{n}"))).collect();
    let alike: Vec<Jwk> = (0..6).map(|_| good("same")).collect();
    let mixed = vec![Signer::new(Alg::Es256).jwk(Some("ec")), Signer::new(Alg::Hs256).jwk(Some("oct")), good("rsa")];
    let (set, faults) = IssuerSet::compile(&[
        issuer(IssuerKind::Clerk, Some("https://a"), keys),
        issuer(IssuerKind::Clerk, Some("https://b"), alike),
        issuer(IssuerKind::Clerk, Some("https://c"), mixed),
        issuer(IssuerKind::Legacy, Some("https://c"), Vec::new()),
        issuer(IssuerKind::Clerk, None, Vec::new()),
        issuer(IssuerKind::Legacy, Some(""), Vec::new()),
        issuer(IssuerKind::Legacy, None, Vec::new()),
        issuer(IssuerKind::Legacy, None, Vec::new()),
    ]);
    let counted = |issuer: Option<&str>, reason| {
        faults.iter().filter(|fault| fault.issuer.as_deref() == issuer && fault.reason == reason).count()
    };
    assert_eq!(counted(Some("https://a"), TooMany), 8);
    assert_eq!(counted(Some("https://b"), TooManyAlike), 2);
    assert_eq!(counted(Some("https://c"), AlgNotAllowed), 2);
    assert_eq!(counted(Some("https://c"), IssuerRepeated), 1);
    assert_eq!(counted(None, IssuerUnnamed), 1);
    assert_eq!(counted(Some(""), IssuerUnnamed), 1);
    assert_eq!(counted(None, IssuerRepeated), 1);
    assert_eq!(faults.len(), 16);
    assert_eq!(faults[0].to_string(), "issuer https://a, key k32: its issuer has too many keys");
    for (name, known) in [(Some("https://a"), true), (Some("https://c"), true), (None, true), (Some(""), false)] {
        assert_eq!(set.has_issuer(name), known, "{name:?}");
    }
    assert!(IssuerSet::compile(&[]).0.is_empty());
}

pub(crate) fn change_the_generation() {
    let base = || issuer(IssuerKind::Legacy, Some("https://a"), vec![Signer::new(Alg::Hs256).jwk(Some("k"))]);
    let of = |change: &dyn Fn(&mut Issuer)| {
        let mut one = base();
        change(&mut one);
        compile(&[one]).generation()
    };
    let mut seen = vec![of(&|_| ())];
    assert_eq!(seen[0], of(&|_| ()), "the same settings give the same value");
    let changes: &[&dyn Fn(&mut Issuer)] = &[
        &|one| one.issuer = Some("https://b".into()),
        &|one| one.issuer = None,
        &|one| one.authorized_parties = vec!["p".into()],
        &|one| one.authorized_parties = vec!["p".into(), String::new()],
        &|one| one.audience = vec!["p".into()],
        &|one| one.missing_party = MissingParty::Accept,
        &|one| one.missing_party = MissingParty::AcceptFromHeader,
        &|one| one.leeway_seconds = 6,
        &|one| one.max_lifetime_seconds = Some(0),
        &|one| one.max_lifetime_seconds = Some(60),
        &|one| one.claims.email = "e".into(),
        &|one| one.claims.email_verified = "e".into(),
        &|one| one.claims.name = "e".into(),
        &|one| one.keys.clear(),
        &|one| one.keys[0].kid = None,
        &|one| one.keys[0].kid = Some("l".into()),
        &|one| one.keys[0].k = Some(base64(&[1; 64])),
        &|one| one.keys[0] = Signer::new(Alg::Hs384).jwk(Some("k")),
        &|one| one.keys[0] = Signer::new(Alg::Rs256).jwk(Some("k")),
        &|one| one.keys.push(Signer::new(Alg::Es256).jwk(Some("k"))),
    ];
    for change in changes {
        seen.push(of(change));
    }
    seen.push(compile(&[]).generation());
    let both = compile(&[base(), issuer(IssuerKind::Legacy, None, Vec::new())]).generation();
    seen.push(both);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two settings share a generation");
}

pub(crate) fn refuse_odd_signatures() {
    for alg in Alg::ALL {
        for rsa in [Rsa::One, Rsa::Long2049] {
            let signer = Signer::rsa(*alg, rsa);
            let key = Key::from_jwk(&signer.jwk(None), IssuerKind::Legacy).unwrap();
            let good = signer.sign(b"message");
            assert!(key.verify(b"message", &good, &NoNative), "{alg:?}");
            assert!(!key.verify(b"", &good, &NoNative), "{alg:?}");
            for fill in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                for length in (0..=300).chain([512, 1024, 1025, 8192]) {
                    assert!(!key.verify(b"message", &vec![fill; length], &NoNative), "{alg:?} {fill} {length}");
                }
            }
            for bad in [&good[1..], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[&[0], &good[..]].concat()] {
                assert!(!key.verify(b"message", bad, &NoNative), "{alg:?}");
            }
        }
        // The modulus itself, and its neighbours, are no signatures.
        if matches!(alg.as_str().get(..2), Some("RS" | "PS")) {
            let key = Key::from_jwk(&Signer::new(*alg).jwk(None), IssuerKind::Legacy).unwrap();
            let n = Rsa::One.modulus();
            for change in 0..8_u8 {
                let mut near = n.clone();
                near[255] ^= change;
                assert!(!key.verify(b"message", &near, &NoNative), "{alg:?} {change}");
            }
        }
    }
}
