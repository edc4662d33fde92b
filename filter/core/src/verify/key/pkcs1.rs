//! RSASSA-PKCS1-v1_5 in Rust (RFC 8017 section 8.2.2), for hosts that have no verifier of their own.
//!
//! The `rsa` crate raises as one must where the base is secret: with a table of sixteen powers that is read whole at
//! every step, thirty-six multiplications for 65537. Nothing is secret here, so this squares and multiplies, eighteen
//! multiplications of the same library, and compares the encoded message whole: nothing of it is parsed.
//!
//! Must not know tokens, JSON or hosts.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::verify::HashName;

/// `DigestInfo` up to the digest (RFC 8017 section 9.2, note 1).
const SHA256_INFO: &[u8] =
    &[0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
const SHA384_INFO: &[u8] =
    &[0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30];
const SHA512_INFO: &[u8] =
    &[0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40];

/// What stands around the padding and `DigestInfo`: 0x00 0x01 before, 0x00 between.
const FRAME: usize = 3;
/// Least padding (RFC 8017 section 9.2, step 3).
const LEAST_PADDING: usize = 8;

/// A public key with what every verification under it needs, computed once.
pub(super) struct Pkcs1Key {
    params: BoxedMontyParams,
    exponent: u64,
    /// Length of the modulus.
    bytes: usize,
}

impl Pkcs1Key {
    /// `n` is big-endian without leading zeros. `None` if it is even, or the exponent is, or is 1.
    pub(super) fn new(n: &[u8], exponent: u64) -> Option<Self> {
        if exponent < 3 || exponent.is_multiple_of(2) {
            return None;
        }
        let modulus = Odd::new(BoxedUint::from_be_slice_vartime(n)).into_option()?;
        Some(Self { params: BoxedMontyParams::new_vartime(modulus), exponent, bytes: n.len() })
    }

    /// Whether `signature` holds over `message`.
    pub(super) fn verify(&self, hash: HashName, message: &[u8], signature: &[u8]) -> bool {
        match (self.open(signature), encode(hash, message, self.bytes)) {
            (Some(opened), Some(expected)) => opened == expected,
            (None, _) | (_, None) => false,
        }
    }

    /// The encoded message that a signature stands for: OS2IP, RSAVP1, I2OSP. `None` for one of another length than the
    /// modulus, and for a number that is not below it.
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.bytes {
            return None;
        }
        let number = BoxedUint::from_be_slice(signature, self.params.bits_precision()).ok()?;
        if number >= *self.params.modulus().as_ref() {
            return None;
        }
        let base = BoxedMontyForm::new(number.clone(), &self.params);
        let mut power = base.clone();
        for bit in (1..self.exponent.checked_ilog2()?).rev() {
            power = power.square();
            if self.exponent.wrapping_shr(bit) % 2 == 1 {
                power = power.mul(&base);
            }
        }
        // The exponent is odd, so the last step multiplies: here by the number as it is, which undoes Montgomery's form.
        let power = power.square().mul(&BoxedMontyForm::from_montgomery(number, &self.params));
        // As wide as the library's limbs. It is below the modulus, so what is cut off are zeros.
        let wide = power.as_montgomery().to_be_bytes();
        wide.get(wide.len().checked_sub(self.bytes)?..).map(<[u8]>::to_vec)
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): the one encoded message of `length` bytes.
fn encode(hash: HashName, message: &[u8], length: usize) -> Option<Vec<u8>> {
    let info = match hash {
        HashName::Sha256 => [SHA256_INFO, &Sha256::digest(message)[..]].concat(),
        HashName::Sha384 => [SHA384_INFO, &Sha384::digest(message)[..]].concat(),
        HashName::Sha512 => [SHA512_INFO, &Sha512::digest(message)[..]].concat(),
    };
    let padding = length.checked_sub(info.len())?.checked_sub(FRAME).filter(|padding| *padding >= LEAST_PADDING)?;
    Some([&[0, 1], &vec![0xff; padding][..], &[0], &info].concat())
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    /// By another library's arithmetic, and in another way.
    fn expected(n: &[u8], exponent: u64, signature: &[u8]) -> Option<Vec<u8>> {
        let (n, number) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(signature));
        let opened = (number < n).then(|| number.modpow(&BigUint::from(exponent), &n).to_bytes_be())?;
        Some([&vec![0; signature.len() - opened.len()][..], &opened].concat())
    }

    /// Moduli of 2041 to 8192 bits, some of them sparse, with exponents of every length.
    fn keys() -> impl Strategy<Value = (Vec<u8>, u64)> {
        let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff)];
        let modulus = (prop::collection::vec(byte, 256..=1024), 1..=255_u8).prop_map(|(mut n, high)| {
            n[0] = high;
            *n.last_mut().unwrap() |= 1;
            n
        });
        let exponent = prop_oneof![4 => Just(65537), 1 => Just(3), 1 => Just(5), 3 => (1_u64..1 << 31).prop_map(|half| half * 2 + 1)];
        (modulus, exponent)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn raises_as_another_library_does(
            (n, exponent) in keys(),
            noise in prop::collection::vec(any::<u8>(), 1024),
            near in 0..4_u8,
        ) {
            let key = Pkcs1Key::new(&n, exponent).unwrap();
            let mut below = noise[..n.len()].to_vec();
            below[0] %= n[0];
            for signature in [below, noise[..n.len()].to_vec(), vec![0; n.len()], vec![0xff; n.len()]] {
                prop_assert_eq!(key.open(&signature), expected(&n, exponent, &signature));
            }
            // The modulus and its neighbours.
            let mut around = n.clone();
            *around.last_mut().unwrap() ^= near;
            prop_assert_eq!(key.open(&around), expected(&n, exponent, &around));
            prop_assert_eq!(key.open(&noise[..n.len() - 1]), None);
            prop_assert_eq!(key.open(&[&[0], &noise[..n.len()]].concat()), None);
        }
    }

    #[test]
    fn even_numbers_are_no_key() {
        assert!(Pkcs1Key::new(&[0xfe; 256], 65537).is_none());
        for exponent in [0, 1, 2, 4, 65536, 1 << 32] {
            assert!(Pkcs1Key::new(&[0xff; 256], exponent).is_none(), "{exponent}");
        }
    }

    #[test]
    fn the_encoded_message_has_one_form() {
        for (hash, oid) in [(HashName::Sha256, 1), (HashName::Sha384, 2), (HashName::Sha512, 3)] {
            let digest = hash.bytes();
            let info = 19 + digest;
            let em = encode(hash, b"m", 256).unwrap();
            assert_eq!(em.len(), 256);
            assert_eq!(em[..2], [0, 1]);
            assert!(em[2..256 - info - 1].iter().all(|byte| *byte == 0xff));
            assert_eq!(em[256 - info - 1], 0);
            // Lengths and the hash's number, from which the rest of DigestInfo follows.
            let told = &em[256 - info..];
            assert_eq!((usize::from(told[1]), told[14], usize::from(told[18])), (17 + digest, oid, digest));
            assert_eq!(
                encode(hash, b"m", info + 11).unwrap()[2..11],
                [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]
            );
            assert_eq!(encode(hash, b"m", info + 10), None);
            assert_eq!(encode(hash, b"m", 0), None);
        }
    }
}
