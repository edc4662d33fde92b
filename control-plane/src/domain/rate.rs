//! A limit of requests in a time, as operators and owners of keys write it. It must not count anything.

/// So many requests in so many seconds, and how many may come at one moment. Written `60/min`, `600/min burst 100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in one period, at least 1.
    pub requests: u32,
    /// Length of the period in seconds: 1, 60, 3,600 or 86,400.
    pub seconds: u32,
    /// Most requests at one moment; absent: as many as in one period.
    pub burst: Option<u32>,
}

/// A text that is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a rate such as 60/min or 600/min burst 100 (s, min, h, day)")]
pub struct RateFault;

impl Rate {
    /// The same as the edge reads it.
    pub const fn wire(self) -> tollgate_protocol::Rate {
        tollgate_protocol::Rate { requests: self.requests, seconds: self.seconds, burst: self.burst }
    }
}

const UNITS: [(&str, u32); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400)];

impl core::str::FromStr for Rate {
    type Err = RateFault;

    fn from_str(text: &str) -> Result<Self, RateFault> {
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if number > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
            _ => Err(RateFault),
        };
        let mut words = text.split_ascii_whitespace();
        let (requests, unit) = words.next().and_then(|word| word.split_once('/')).ok_or(RateFault)?;
        let seconds = UNITS.iter().find(|(word, _)| *word == unit).map(|(_, seconds)| *seconds).ok_or(RateFault)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, None, None) => None,
            (Some("burst"), Some(burst), None) => Some(number(burst)?),
            _ => return Err(RateFault),
        };
        Ok(Self { requests: number(requests)?, seconds, burst })
    }
}

impl core::fmt::Display for Rate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.seconds).map_or("s", |(word, _)| word);
        write!(f, "{}/{unit}", self.requests)?;
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for text in ["1/s", "60/min", "600/min burst 100", "5/h", "4294967295/day burst 1"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("60/min   burst  5".parse(), Ok(Rate { requests: 60, seconds: 60, burst: Some(5) }));
        for bad in
            ["", "60", "/min", "0/min", "-1/s", "+1/s", "1/m", "1/min burst", "1/min burst 0", "1/min 5", "1/s x 5"]
        {
            assert_eq!(bad.parse::<Rate>(), Err(RateFault), "{bad}");
        }
    }
}
