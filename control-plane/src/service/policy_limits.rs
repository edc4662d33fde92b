//! The part of the rules that says how often somebody may come. It must not count anybody.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_protocol::{
    Rate as Wire,
    policy::{Auth, By, Limit, LimitHeader, Policy, Scope},
};
use toml::Value;

use super::Reader;
use crate::domain::{Rate, Subscription};

/// Longest time in which a burst may come back, in seconds.
const MAX_SPAN_SECONDS: u64 = 366 * 24 * 3_600;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Longest name of a limit.
const MAX_NAME: usize = 64;

impl Reader {
    /// `[limits.calls]`. `None`: it is too faulty to go on with.
    pub(super) fn limit(&mut self, name: String, value: Value) -> Option<(String, Limit)> {
        let here = format!("limits.{name}");
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(fine) {
            self.fault(&here, "the name may have a-z, 0-9, '-' and '_' only, 64 at most");
        }
        let Value::Table(table) = value else {
            self.fault(&here, "must be a table, written as [limits.NAME]");
            return None;
        };
        let (mut by, mut rate, mut tiers, mut scope) = (None, None, BTreeMap::new(), Scope::Envoy);
        let mut headers = LimitHeader::ALL.to_vec();
        for (key, value) in table {
            let at = format!("{here}.{key}");
            match key.as_str() {
                "by" => by = Some(self.by(&at, &value)),
                "rate" => rate = self.rate(&at, &value),
                "tiers" => tiers = self.tiers(&at, value),
                "headers" => headers = self.headers(&at, value),
                "scope" => match Scope::ALL.iter().find(|scope| value.as_str() == Some(scope.as_str())) {
                    Some(word) => scope = *word,
                    None => self.fault(&at, "must be \"envoy\" or \"global\""),
                },
                _ => self.fault(&at, "unknown key (known: by, scope, rate, tiers, headers)"),
            }
        }
        let Some(by) = by else {
            self.fault(&format!("{here}.by"), BY);
            return None;
        };
        if matches!(by, By::Address | By::Endpoint) && !tiers.is_empty() {
            self.fault(&format!("{here}.tiers"), "cannot be told by address or endpoint: only users have a tier");
        }
        if rate.is_none() && !tiers.contains_key(Subscription::Free.as_str()) {
            let problem = "needs a rate such as \"60/min burst 10\", or tiers with one for \"free\"";
            self.fault(&format!("{here}.rate"), problem);
        }
        Some((name, Limit { by, scope, rate, tiers, headers }))
    }

    fn by(&mut self, place: &str, value: &Value) -> By {
        let by = value.as_str().and_then(|word| By::ALL.iter().copied().find(|by| by.as_str() == word));
        by.unwrap_or_else(|| {
            self.fault(place, BY);
            By::User
        })
    }

    fn rate(&mut self, place: &str, value: &Value) -> Option<Wire> {
        let rate = value.as_str().map(str::parse::<Rate>);
        let Some(Ok(rate)) = rate else {
            self.fault(place, crate::domain::RateFault.to_string());
            return None;
        };
        let burst = u64::from(rate.burst.unwrap_or(rate.requests));
        // As the filter counts: whole nanoseconds for each request, rounded up.
        let period = u64::from(rate.seconds).saturating_mul(NANOS_PER_SECOND);
        let span = period.div_ceil(u64::from(rate.requests).max(1)).saturating_mul(burst);
        if span > MAX_SPAN_SECONDS.saturating_mul(NANOS_PER_SECOND) {
            self.fault(place, "has a burst that takes longer than a year to come back");
        }
        Some(rate.wire())
    }

    fn tiers(&mut self, place: &str, value: Value) -> BTreeMap<String, Wire> {
        let mut tiers = BTreeMap::new();
        let Value::Table(table) = value else {
            self.fault(place, "must be a table such as { free = \"60/min\", pro = \"600/min burst 100\" }");
            return tiers;
        };
        if table.is_empty() {
            self.fault(place, "is empty: leave it out");
        }
        for (tier, value) in table {
            let at = format!("{place}.{tier}");
            if Subscription::from_word(&tier).is_none() {
                self.fault(&at, "must be \"free\", \"pro\" or \"enterprise\"");
            }
            if let Some(rate) = self.rate(&at, &value) {
                tiers.insert(tier, rate);
            }
        }
        tiers
    }

    fn headers(&mut self, place: &str, value: Value) -> Vec<LimitHeader> {
        if let Value::Boolean(all) = value {
            return if all { LimitHeader::ALL.to_vec() } else { Vec::new() };
        }
        let known = |word: &str| LimitHeader::ALL.iter().any(|header| header.as_str() == word);
        let problem = "must be \"ratelimit\", \"x-ratelimit\" or \"retry-after\"";
        let words = self.words(place, value, problem, known);
        LimitHeader::ALL.iter().copied().filter(|header| words.iter().any(|word| word == header.as_str())).collect()
    }

    /// What routes say about limits, once all are read.
    pub(super) fn limits_of(&mut self, policy: &Policy) {
        for (at, route) in policy.routes.iter().enumerate() {
            let place = format!("routes[{at}] ({}).limits", route.path);
            for name in &route.limits {
                match policy.limits.get(name) {
                    None => {
                        let known: BTreeSet<&str> = policy.limits.keys().map(String::as_str).collect();
                        let known = known.into_iter().collect::<Vec<_>>().join(", ");
                        self.fault(&place, format!("{name:?} is no limit of this policy (there are: {known})"));
                    }
                    Some(Limit { by: By::User | By::Key, .. }) if route.auth == Auth::None => {
                        let problem =
                            "counts users or keys, but the route has auth = \"none\": limit by address or endpoint";
                        self.fault(&place, format!("{name:?} {problem}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

const BY: &str = "must be \"user\", \"key\", \"address\" or \"endpoint\"";

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn limits_are_read() {
        let policy = parse(
            r#"
            [limits.calls]
            by = "user"
            scope = "envoy"
            tiers = { free = "60/min", pro = "600/min burst 100" }
            headers = ["retry-after", "ratelimit"]
            [limits.guesses]
            by = "address"
            scope = "global"
            rate = "5/s"
            headers = false
            [[routes]]
            path = "/a"
            limits = ["guesses", "calls"]
            "#,
        )
        .unwrap();
        let calls = &policy.limits["calls"];
        assert_eq!((calls.by, calls.rate), (By::User, None));
        assert_eq!(calls.tiers["pro"], Wire { requests: 600, seconds: 60, burst: Some(100) });
        assert_eq!(calls.headers, [LimitHeader::Ratelimit, LimitHeader::RetryAfter]);
        assert_eq!((calls.scope, policy.limits["guesses"].scope), (Scope::Envoy, Scope::Global));
        assert_eq!((policy.limits["guesses"].by, policy.limits["guesses"].headers.len()), (By::Address, 0));
        assert_eq!(policy.routes[0].limits, ["calls", "guesses"]);
    }

    #[test]
    fn every_fault_of_a_limit_is_listed() {
        for (text, part) in [
            ("[limits.Calls]\nby = \"user\"\nrate = \"1/s\"", "limits.Calls: the name"),
            ("[limits]\na = 1", "limits.a: must be a table"),
            ("limits = 1", "limits: must be written"),
            ("[limits.a]\nrate = \"1/s\"", "limits.a.by: must be"),
            ("[limits.a]\nby = \"ip\"\nrate = \"1/s\"", "limits.a.by: must be"),
            ("[limits.a]\nby = \"user\"", "limits.a.rate: needs"),
            ("[limits.a]\nby = \"user\"\ntiers = { pro = \"1/s\" }", "limits.a.rate: needs"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/m\"", "limits.a.rate: must be a rate"),
            ("[limits.a]\nby = \"user\"\nrate = 60", "limits.a.rate: must be a rate"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/day burst 367\"", "longer than a year"),
            // Just a year, if a day were parted in seven without a rest.
            ("[limits.a]\nby = \"user\"\nrate = \"7/day burst 2562\"", "longer than a year"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/s\"\ntiers = {}", "limits.a.tiers: is empty"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/s\"\ntiers = { gold = \"1/s\" }", "limits.a.tiers.gold: must be"),
            ("[limits.a]\nby = \"address\"\nrate = \"1/s\"\ntiers = { pro = \"1/s\" }", "only users have a tier"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/s\"\nscope = \"world\"", "limits.a.scope: must be"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/s\"\nheaders = [\"x\"]", "\"x\" must be"),
            ("[limits.a]\nby = \"user\"\nrate = \"1/s\"\nper = 1", "limits.a.per: unknown key"),
            ("[[routes]]\npath = \"/a\"\nlimits = [\"b\"]", "\"b\" is no limit"),
            (
                "[limits.a]\nby = \"user\"\nrate = \"1/s\"\n[[routes]]\npath = \"/a\"\nauth = \"none\"\nlimits = [\"a\"]",
                "limit by address",
            ),
        ] {
            let all: Vec<String> = parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|fault| fault.contains(part)), "{text}: {all:?}");
        }
    }
}
