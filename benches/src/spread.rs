//! The same figure of several turns. It must not know what it is a figure of.

/// Figures in order of size.
#[derive(Debug, Clone, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Of these.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The lowest and the highest.
    pub fn ends(&self) -> (f64, f64) {
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (end(self.0.first()), end(self.0.last()))
    }

    /// `1.23 (1.20–1.31)`: the median, the lowest and the highest.
    pub fn text(&self) -> String {
        let (low, high) = self.ends();
        format!("{:.2} ({low:.2}–{high:.2})", self.median())
    }
}
