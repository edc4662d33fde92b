//! Values that are safe in any header and any log line: what is not visible ASCII is percent-encoded (RFC 3986
//! section 2.1), and so is `%` itself, so that decoding gives back the original. Envoy does not check the values of
//! replies (CR LF would split them) and answers 503 to a bad value in a request header, so both go through here.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends the encoding of a text.
pub(super) fn encode_into(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// The encoding of a text.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    encode_into(&mut out, text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_comes_out() {
        let all: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        assert!(encode(&all).iter().all(u8::is_ascii_graphic));
        assert_eq!(encode("a b\r\nc%é"), b"a%20b%0D%0Ac%25%C3%A9");
        assert_eq!(encode("ada+x@example.com"), b"ada+x@example.com");
    }
}
