//! A plot of curves as SVG, for BENCHMARKS.md: axes from zero, so that what is flat looks flat. Written by hand, because
//! two axes and some lines need no library. It must not know what is plotted.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 44.0;
const COLOURS: [&str; 4] = ["#0b62a4", "#c4520a", "#3a7d2c", "#7a3e9d"];
/// Lines across, each with its value.
const STEPS: u32 = 4;

/// What is plotted.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// What the points are of.
    pub x: String,
    /// What the values are of.
    pub y: String,
    /// The points, in order.
    pub points: Vec<f64>,
    /// Whether a step from 10 to 100 is as wide as one from 1 to 10.
    pub is_logarithmic: bool,
    /// Curves by name, with a value for each point.
    pub curves: Vec<(String, Vec<f64>)>,
}

impl Plot {
    /// As SVG.
    pub fn svg(&self) -> String {
        let highest = self.curves.iter().flat_map(|(_, values)| values).fold(0.0_f64, |a, b| a.max(*b));
        let top = round_up(highest);
        let down = |value: f64| HEIGHT - BOTTOM - value.max(0.0) / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
            escaped(&self.title)
        );
        for step in 0..=STEPS {
            let value = top * f64::from(step) / f64::from(STEPS);
            let y = down(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(value),
            );
        }
        for &point in &self.points {
            let x = self.across(point);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 16.0,
                short(point)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {0:.1})\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escaped(&self.x),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escaped(&self.y),
        );
        for (number, (name, values)) in self.curves.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places: Vec<(f64, f64)> =
                self.points.iter().zip(values).map(|(&point, &value)| (self.across(point), down(value))).collect();
            let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (x, y) in places {
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let x = LEFT + 200.0 * number as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"30\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"40\">{}</text>",
                x + 18.0,
                escaped(name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn across(&self, point: f64) -> f64 {
        let place = |value: f64| if self.is_logarithmic { value.ln() } else { value };
        let (first, last) = (self.points.first().copied().unwrap_or(0.0), self.points.last().copied().unwrap_or(1.0));
        let share = (place(point) - place(first)) / (place(last) - place(first));
        // A little away from the axis, so that the first value can be read.
        LEFT + 24.0 + share * (WIDTH - LEFT - RIGHT - 48.0)
    }
}

/// The next number that begins with 1, 2, 4 or 8 and has zeros only after that.
fn round_up(value: f64) -> f64 {
    let ten = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0].into_iter().map(|first| first * ten).find(|&top| top >= value).unwrap_or(10.0 * ten)
}

fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
