//! A header map as the host hands it over, read in place. It must not copy, and must not trust a length it reads.
//!
//! Layout (proxy-wasm ABI 0.2.1, "serialized map"): `u32` count, then count times (`u32` name size, `u32` value
//! size), then count times (name, NUL, value, NUL); all little-endian.

/// The entries of a serialized map.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    sizes: &'a [u8],
    data: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Opens a serialized map. `None` if its count does not fit its length.
    pub fn open(buffer: &'a [u8]) -> Option<Self> {
        if buffer.is_empty() {
            return Some(Self { sizes: &[], data: &[] });
        }
        let (count, rest) = take_u32(buffer)?;
        let (sizes, data) = rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(8)?)?;
        Some(Self { sizes, data })
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_size, rest) = take_u32(self.sizes)?;
        let (value_size, rest) = take_u32(rest)?;
        self.sizes = rest;
        let name = self.text(name_size)?;
        let value = self.text(value_size)?;
        Some((name, value))
    }
}

impl<'a> Pairs<'a> {
    /// Takes one NUL-terminated text of the size given; a map that is cut short ends the iteration.
    fn text(&mut self, size: u32) -> Option<&'a [u8]> {
        let size = usize::try_from(size).ok()?;
        let (text, rest) = self.data.split_at_checked(size)?;
        self.data = rest.get(1..)?;
        Some(text)
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serialize(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
        for (name, value) in pairs {
            out.extend((name.len() as u32).to_le_bytes());
            out.extend((value.len() as u32).to_le_bytes());
        }
        for (name, value) in pairs {
            out.extend(*name);
            out.push(0);
            out.extend(*value);
            out.push(0);
        }
        out
    }

    #[test]
    fn reads_every_byte_value() {
        let all: Vec<u8> = (0..=255).collect();
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"", b""), (b"x", &all)];
        let buffer = serialize(&pairs);
        assert_eq!(Pairs::open(&buffer).unwrap().collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn a_map_cut_short_or_lying_ends_quietly() {
        let buffer = serialize(&[(b"name", b"value"), (b"x", b"y")]);
        for end in 0..buffer.len() {
            if let Some(pairs) = Pairs::open(&buffer[..end]) {
                assert!(pairs.count() <= 2);
            }
        }
        assert!(Pairs::open(&u32::MAX.to_le_bytes()).is_none());
        let mut lying = buffer.clone();
        lying[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Pairs::open(&lying).unwrap().count(), 0);
    }
}
