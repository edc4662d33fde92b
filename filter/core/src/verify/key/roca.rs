//! RSA moduli made by the library of CVE-2017-15361 ("ROCA"), whose primes are powers of 65537 in disguise.
//!
//! Source: Nemec, Sys, Svenda, Klinec, Matyas, "The Return of Coppersmith's Attack", CCS 2017, section 4.1 (the
//! fingerprint). Must not know anything but the modulus.

/// The odd primes up to 167, whose product divides the library's modulus for every key size.
const PRIMES: [u8; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the big-endian modulus is, modulo each of the primes, a power of 65537. For a modulus that was made
/// otherwise the chance of that is below 2^-100.
pub(super) fn is_weak(n: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power(remainder(n, *prime), *prime))
}

fn remainder(n: &[u8], prime: u8) -> u32 {
    n.iter().fold(0, |rest, byte| reduce((rest << 8) | u32::from(*byte), prime))
}

fn is_power(residue: u32, prime: u8) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = reduce(reduce(65537, prime).saturating_mul(power), prime);
    }
    false
}

fn reduce(number: u32, prime: u8) -> u32 {
    number.checked_rem(u32::from(prime)).unwrap_or_default()
}
