//! Randomness from the operating system: ids, keys, seeds. It must not know what it is used for beyond that.

use zeroize::Zeroizing;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest multiple of 62 that a byte can hold: bytes from here on are thrown away, so that no number is likelier.
const FAIR: u8 = 248;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

/// 32 random bytes.
///
/// # Errors
/// Where the operating system has none.
pub fn seed() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Numbers drawn evenly from 0..62.
///
/// # Errors
/// Where the operating system has none.
pub fn base62_numbers(count: usize) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let mut numbers = Zeroizing::new(Vec::with_capacity(count));
    let mut bytes = Zeroizing::new([0; 64]);
    while numbers.len() < count {
        getrandom::fill(bytes.as_mut_slice())?;
        let missing = count.saturating_sub(numbers.len());
        numbers.extend(bytes.iter().filter(|byte| **byte < FAIR).take(missing).map(|byte| byte % 62));
    }
    Ok(numbers)
}

/// An id: `prefix` and 22 base62 characters (131 bits).
///
/// # Errors
/// Where the operating system has none.
pub fn id(prefix: &str) -> Result<String, NoRandomness> {
    let numbers = base62_numbers(22)?;
    let letters = numbers.iter().filter_map(|number| BASE62.get(usize::from(*number)));
    Ok(prefix.chars().chain(letters.copied().map(char::from)).collect())
}

/// A factor between 0.9 and 1.1, so that many processes do not do the same thing at the same moment.
pub fn jitter() -> f64 {
    let mut byte = [128];
    // Without randomness there is no jitter: nothing secret hangs on it.
    let _ = getrandom::fill(&mut byte);
    0.9 + 0.2 * f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_range_and_evenly_spread() {
        let numbers = base62_numbers(62_000).unwrap();
        let mut counts = [0_u32; 62];
        for number in numbers.iter() {
            counts[usize::from(*number)] += 1;
        }
        // 1000 of each on average, deviation about 31: eight deviations are never seen by chance.
        assert!(counts.iter().all(|count| (750..1250).contains(count)), "{counts:?}");
    }

    #[test]
    fn ids_differ() {
        let (one, other) = (id("usr_").unwrap(), id("usr_").unwrap());
        assert!(one.starts_with("usr_") && one.len() == 26 && one != other);
    }
}
