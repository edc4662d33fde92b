//! Lines of a file, numbered from 1, none longer than is held in memory. It must not know what is in them.

use std::io::{self, BufRead};

/// Longest line that is read, in bytes.
pub const MAX_LINE: usize = 1024 * 1024;

/// The lines of a file.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    /// From the beginning.
    pub const fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// Bytes that have been read.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not empty, with its number, without its end; or what is wrong with it. `None` after the last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Result<String, &'static str>)>> {
        loop {
            let mut line = Vec::new();
            let mut is_too_long = false;
            let ended = loop {
                let buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    break line.is_empty() && !is_too_long;
                }
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
                if line.len().saturating_add(part.len()) > MAX_LINE {
                    is_too_long = true;
                    line.clear();
                } else if !is_too_long {
                    line.extend_from_slice(part);
                }
                let used = part.len().saturating_add(usize::from(end.is_some()));
                self.bytes = self.bytes.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
                self.reader.consume(used);
                if end.is_some() {
                    break false;
                }
            };
            if ended {
                return Ok(None);
            }
            self.number = self.number.saturating_add(1);
            if is_too_long {
                return Ok(Some((self.number, Err("is longer than 1048576 bytes"))));
            }
            let line = match String::from_utf8(line) {
                Ok(line) => line,
                Err(_) => return Ok(Some((self.number, Err("is not UTF-8")))),
            };
            // The byte order mark of some editors.
            let text = line.strip_prefix('\u{FEFF}').unwrap_or(&line).trim();
            if !text.is_empty() {
                return Ok(Some((self.number, Ok(text.to_owned()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], buffer: usize) -> Vec<(u64, Result<String, &'static str>)> {
        let mut lines = Lines::new(io::BufReader::with_capacity(buffer, bytes));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(line);
        }
        assert_eq!(lines.bytes(), u64::try_from(bytes.len()).unwrap());
        found
    }

    #[test]
    fn lines_are_numbered_and_bounded() {
        let ok = |text: &str| Ok(text.to_owned());
        for buffer in [1, 3, 8192] {
            let text = b"\xEF\xBB\xBFa\r\n\n  \nb\n\xFF\nc";
            assert_eq!(all(text, buffer), [(1, ok("a")), (4, ok("b")), (5, Err("is not UTF-8")), (6, ok("c"))]);
            assert_eq!(all(b"", buffer), []);
            assert_eq!(all(b"\n\n", buffer), []);
        }
        let longest = "x".repeat(MAX_LINE);
        let text = format!("{longest}\n{longest}y\nz\n{longest}{longest}{longest}");
        let kinds: Vec<_> =
            all(text.as_bytes(), 8192).into_iter().map(|(number, line)| (number, line.map(|l| l.len()))).collect();
        let long = Err("is longer than 1048576 bytes");
        assert_eq!(kinds, [(1, Ok(MAX_LINE)), (2, long), (3, Ok(1)), (4, long)]);
    }
}
