//! The few DER structures that host verifiers want (X.690), written and never read.
//!
//! Must not know keys: bytes in, bytes out.

/// `rsaEncryption`, 1.2.840.113549.1.1.1 (RFC 3279 section 2.3.1).
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1 (RFC 5480 section 2.1.1).
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`, 1.2.840.10045.3.1.7 (RFC 5480 section 2.1.1.1).
pub(super) const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`, 1.3.132.0.34 (RFC 5480 section 2.1.1.1).
pub(super) const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// SubjectPublicKeyInfo of an RSA key. Both numbers big-endian.
pub(super) fn spki_rsa(n: &[u8], e: &[u8]) -> Vec<u8> {
    let algorithm = tlv(SEQUENCE, &[tlv(OID, OID_RSA), tlv(NULL, &[])].concat());
    let key = tlv(SEQUENCE, &[integer(n), integer(e)].concat());
    tlv(SEQUENCE, &[algorithm, bit_string(&key)].concat())
}

/// SubjectPublicKeyInfo of an EC key. `point` is uncompressed (SEC 1 section 2.3.3).
pub(super) fn spki_ec(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = tlv(SEQUENCE, &[tlv(OID, OID_EC), tlv(OID, curve)].concat());
    tlv(SEQUENCE, &[algorithm, bit_string(point)].concat())
}

/// `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3). Both numbers big-endian.
pub(super) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[integer(r), integer(s)].concat())
}

fn integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(start..).unwrap_or_default();
    match digits.first() {
        Some(high) if *high < 0x80 => tlv(INTEGER, digits),
        _ => tlv(INTEGER, &[&[0], digits].concat()),
    }
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., c, b, a] = content.len().to_be_bytes();
    let length: &[u8] = match (c, b, a) {
        (0, 0, short) if short < 0x80 => &[short],
        (0, 0, a) => &[0x81, a],
        (0, b, a) => &[0x82, b, a],
        (c, b, a) => &[0x83, c, b, a],
    };
    [&[tag], length, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: usize, head: &[u8]) {
        let out = tlv(SEQUENCE, &vec![7; content]);
        assert_eq!(out[1..1 + head.len()], *head, "{content}");
        assert_eq!(out.len(), 1 + head.len() + content);
    }

    #[test]
    fn lengths_are_shortest() {
        check(0, &[0]);
        check(127, &[127]);
        check(128, &[0x81, 128]);
        check(255, &[0x81, 255]);
        check(256, &[0x82, 1, 0]);
        check(65_535, &[0x82, 255, 255]);
        check(65_536, &[0x83, 1, 0, 0]);
    }

    #[test]
    fn integers_are_shortest_and_positive() {
        for (number, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 1], &[2, 1, 1]),
            (&[0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0, 0, 0x80, 1], &[2, 3, 0, 0x80, 1]),
        ] {
            assert_eq!(integer(number), der);
        }
    }
}
