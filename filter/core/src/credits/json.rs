//! Finds one number in JSON that streams by, byte for byte: nothing of it is kept but where the reader stands. The text
//! is the backend's; what is no JSON finds nothing, and does no harm.

use std::rc::Rc;

/// Deepest nesting that is followed.
const DEEPEST: u32 = 64;
/// Longest number that is read, in bytes.
const LONGEST_NUMBER: usize = 32;

/// Where the reader stands within a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between values.
    Open,
    /// In a string.
    Text,
    /// After a backslash in a string.
    Escape,
    /// In the four digits of an escape: how many are left, and their value so far.
    Unicode(u8, u16),
    /// In a number.
    Number,
    /// What came is no JSON, or too deep.
    Lost,
}

/// A reader of one document that looks for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finder {
    path: Rc<[Box<str>]>,
    at: At,
    depth: u32,
    /// One bit for each level, the innermost lowest: whether it is an object.
    objects: u64,
    /// How many levels, from the outermost, belong to objects on the way to the member.
    matched: u32,
    /// Whether a string would be the name of a member.
    wants_name: bool,
    /// Whether the string is one.
    in_name: bool,
    /// How much of the wanted name the present one has had so far; `None`: it is another one.
    same: Option<usize>,
    /// Whether the value that comes belongs to the next name on the way.
    hit: bool,
    /// The first half of a surrogate pair.
    high: Option<u16>,
    number: [u8; LONGEST_NUMBER],
    digits: usize,
    found: Option<u64>,
}

impl Finder {
    /// A reader that looks for the member at the end of `path`.
    pub fn new(path: Rc<[Box<str>]>) -> Self {
        Self {
            path,
            at: At::Open,
            depth: 0,
            objects: 0,
            matched: 0,
            wants_name: false,
            in_name: false,
            same: None,
            hit: false,
            high: None,
            number: [0; LONGEST_NUMBER],
            digits: 0,
            found: None,
        }
    }

    /// What has been found so far: the last such number. Broken ones are rounded up.
    pub fn found(&self) -> Option<u64> {
        self.found
    }

    /// Another document begins. What was found stays.
    pub fn restart(&mut self) {
        *self = Self { found: self.found, ..Self::new(Rc::clone(&self.path)) };
    }

    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// Reads one byte.
    pub fn byte(&mut self, byte: u8) {
        match self.at {
            At::Lost => {}
            At::Text => self.in_text(byte),
            At::Escape => self.escaped(byte),
            At::Unicode(left, value) => self.unicode(left, value, byte),
            At::Number if is_of_number(byte) => self.digit(byte),
            At::Number => {
                self.number_ends();
                self.open(byte);
            }
            At::Open => self.open(byte),
        }
    }

    fn open(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.at = At::Text;
                self.in_name = self.wants_name;
                self.same = self.in_name.then_some(0);
                self.high = None;
            }
            b'{' => self.enter(true),
            b'[' => self.enter(false),
            b'}' | b']' => self.leave(byte == b'}'),
            b':' => self.wants_name = false,
            b',' => {
                self.wants_name = self.is_object();
                self.hit = false;
            }
            b'-' | b'0'..=b'9' => {
                self.at = At::Number;
                self.digits = 0;
                self.digit(byte);
            }
            // Blanks, and the letters of `true`, `false` and `null`.
            _ => {}
        }
    }

    fn is_object(&self) -> bool {
        self.depth > 0 && self.objects & 1 == 1
    }

    fn enter(&mut self, is_object: bool) {
        if self.depth >= DEEPEST {
            self.at = At::Lost;
            return;
        }
        let is_way = self.hit && is_object && self.matched.saturating_add(1) < self.length();
        if is_way {
            self.matched = self.matched.saturating_add(1);
        }
        self.depth = self.depth.saturating_add(1);
        self.objects = (self.objects << 1) | u64::from(is_object);
        self.wants_name = is_object;
        self.hit = false;
    }

    fn leave(&mut self, is_object: bool) {
        if self.depth == 0 || self.is_object() != is_object {
            self.at = At::Lost;
            return;
        }
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.matched = self.matched.min(self.depth.saturating_sub(1));
        self.wants_name = false;
        self.hit = false;
    }

    fn length(&self) -> u32 {
        u32::try_from(self.path.len()).unwrap_or(u32::MAX)
    }

    /// The name that counts here: that of the next member on the way, directly in the innermost object of the way.
    fn wanted(&self) -> Option<&[u8]> {
        let is_here = self.depth == self.matched.saturating_add(1);
        let name = self.path.get(usize::try_from(self.matched).ok()?)?;
        is_here.then_some(name.as_bytes())
    }

    fn in_text(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.at = At::Open;
                if self.in_name {
                    if self.high.take().is_some() {
                        // Half a character is none.
                        self.same = None;
                    }
                    let length = self.wanted().map(<[u8]>::len);
                    self.hit = self.same.is_some() && self.same == length;
                    self.in_name = false;
                }
            }
            b'\\' => self.at = At::Escape,
            _ => self.compare(byte),
        }
    }

    /// One more byte of a name.
    fn compare(&mut self, byte: u8) {
        let Some(place) = self.same else { return };
        if self.high.take().is_some() {
            // Half a character is none.
            self.same = None;
            return;
        }
        let fits = self.wanted().and_then(|name| name.get(place)) == Some(&byte);
        self.same = if fits { place.checked_add(1) } else { None };
    }

    fn escaped(&mut self, byte: u8) {
        self.at = At::Text;
        match byte {
            b'u' => self.at = At::Unicode(4, 0),
            b'n' => self.compare(b'\n'),
            b't' => self.compare(b'\t'),
            b'r' => self.compare(b'\r'),
            b'b' => self.compare(8),
            b'f' => self.compare(12),
            b'"' | b'\\' | b'/' => self.compare(byte),
            _ => self.at = At::Lost,
        }
    }

    fn unicode(&mut self, left: u8, value: u16, byte: u8) {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let Some(digit) = digit else {
            self.at = At::Lost;
            return;
        };
        let value = (value << 4) | digit;
        let left = left.saturating_sub(1);
        if left > 0 {
            self.at = At::Unicode(left, value);
            return;
        }
        self.at = At::Text;
        let character = match (self.high.take(), value) {
            (None, 0xD800..=0xDBFF) => {
                self.high = Some(value);
                return;
            }
            (Some(high), 0xDC00..=0xDFFF) => char::decode_utf16([high, value]).next().and_then(Result::ok),
            (Some(_), _) => None,
            (None, _) => char::from_u32(u32::from(value)),
        };
        match character {
            Some(character) => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    self.compare(byte);
                }
            }
            None => self.same = None,
        }
    }

    fn digit(&mut self, byte: u8) {
        if let Some(place) = self.number.get_mut(self.digits) {
            *place = byte;
        }
        // One more than there is room for says that it was too long.
        self.digits = self.digits.saturating_add(1).min(LONGEST_NUMBER.saturating_add(1));
    }

    fn number_ends(&mut self) {
        self.at = At::Open;
        let is_it = core::mem::take(&mut self.hit) && self.matched.saturating_add(1) == self.length();
        if !is_it {
            return;
        }
        let text = self.number.get(..self.digits).and_then(|bytes| core::str::from_utf8(bytes).ok());
        if let Some(number) = text.and_then(number) {
            self.found = Some(number);
        }
    }
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// A number of tokens; none below 0. Decimals are rounded up.
pub(super) fn number(text: &str) -> Option<u64> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let broken: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    // A cast from a float saturates; what is too much is bounded where it is charged.
    Some(broken.ceil() as u64)
}
