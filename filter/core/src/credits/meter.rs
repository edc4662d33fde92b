//! What a request costs, from what its answer says as it streams by. It must not know who pays.

use std::rc::Rc;

use tollgate_protocol::policy::{Cost, Counted};

use super::json::{self, Finder};

/// The answer to a request that has to be paid for: what was set aside for whom, and what it has cost so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Whose tokens.
    pub(super) user: Rc<str>,
    /// With which key, where the credential was one.
    pub(super) key: Option<Rc<str>>,
    /// How many were set aside.
    pub(super) held: u64,
    /// What it costs.
    pub meter: Meter,
}

impl Charge {
    /// Whose tokens.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// Reads what an answer says about its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    cost: Rc<Cost>,
    reader: Reader,
    /// The backend was never reached: it costs nothing.
    is_free: bool,
    header: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reader {
    /// Nothing in the body counts.
    Off,
    /// It depends on headers that have not come yet.
    Unknown,
    Json(Finder),
    Events(Events),
}

impl Meter {
    /// A meter for one answer.
    pub fn new(cost: Rc<Cost>) -> Self {
        let reader = if matches!(cost.counted, Counted::Body(_)) { Reader::Unknown } else { Reader::Off };
        Self { cost, reader, is_free: false, header: None }
    }

    /// The header, or trailer, that counts: the client does not get it.
    pub fn header_name(&self) -> Option<&str> {
        match &self.cost.counted {
            Counted::Header(name) => Some(name),
            Counted::Fixed | Counted::Body(_) => None,
        }
    }

    /// Whether something in the body counts, so that [`Self::headers`] has to be told what it is.
    pub fn wants_body(&self) -> bool {
        self.reader == Reader::Unknown
    }

    /// Whether the answer's body has to be shown to [`Self::body`].
    pub fn reads_body(&self) -> bool {
        matches!(self.reader, Reader::Json(_) | Reader::Events(_))
    }

    /// The headers of the answer have come: what the body is, and whether it is encoded (which makes it unreadable here).
    pub fn headers(&mut self, content_type: &[u8], is_encoded: bool) {
        let Counted::Body(path) = &self.cost.counted else { return };
        let path: Rc<[Box<str>]> = path.iter().map(|name| name.as_str().into()).collect();
        let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.reader = match kind {
            _ if is_encoded => Reader::Off,
            kind if kind.eq_ignore_ascii_case(b"text/event-stream") => Reader::Events(Events::new(path)),
            _ => Reader::Json(Finder::new(path)),
        };
    }

    /// A value of the header, or trailer, that counts. Where several come, the last good one holds.
    pub fn header(&mut self, value: &[u8]) {
        let text = core::str::from_utf8(value.trim_ascii()).ok();
        self.header = text.and_then(json::number).or(self.header);
    }

    /// A piece of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        match &mut self.reader {
            Reader::Off | Reader::Unknown => {}
            Reader::Json(finder) => finder.read(bytes),
            Reader::Events(events) => events.read(bytes),
        }
    }

    /// The backend was not reached.
    pub fn is_free(&mut self) {
        self.is_free = true;
    }

    /// What it costs, by what has been said so far.
    pub fn cost(&self) -> u64 {
        if self.is_free {
            return 0;
        }
        let told = match (&self.reader, &self.cost.counted) {
            (Reader::Json(finder), _) => finder.found(),
            (Reader::Events(events), _) => events.finder.found(),
            (_, Counted::Header(_)) => self.header,
            _ => None,
        };
        told.unwrap_or(0).max(self.cost.at_least).min(Cost::MOST)
    }
}

/// Reads server-sent events (HTML, section 9.2.6): the data of each is a document of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Events {
    finder: Finder,
    at: Line,
    /// The last byte was a carriage return, so that a line feed now ends nothing more.
    after_return: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of the field's name were those of `data`.
    Name(usize),
    /// After the colon: one blank does not count.
    Colon,
    /// In the data.
    Data,
    /// In a line that is none.
    Other,
}

const DATA: &[u8] = b"data";

impl Events {
    fn new(path: Rc<[Box<str>]>) -> Self {
        Self { finder: Finder::new(path), at: Line::Name(0), after_return: false }
    }

    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match (byte, self.at) {
            (b'\n', _) if after_return => {}
            (b'\r' | b'\n', line) => self.line_ends(line),
            (byte, Line::Name(place)) => {
                self.at = match DATA.get(place) {
                    Some(wanted) if *wanted == byte => Line::Name(place.saturating_add(1)),
                    None if byte == b':' => Line::Colon,
                    _ => Line::Other,
                };
            }
            (b' ', Line::Colon) => self.at = Line::Data,
            (byte, Line::Colon | Line::Data) => {
                self.at = Line::Data;
                self.finder.byte(byte);
            }
            (_, Line::Other) => {}
        }
    }

    fn line_ends(&mut self, line: Line) {
        match line {
            // An empty line ends the event.
            Line::Name(0) => self.finder.restart(),
            // Several lines of data are joined by line feeds.
            Line::Colon | Line::Data => self.finder.byte(b'\n'),
            Line::Name(_) | Line::Other => {}
        }
        self.at = Line::Name(0);
    }
}
