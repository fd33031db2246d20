//! Charts as SVG that stands in a page.

use std::fmt::Write as _;

/// Lines over one axis.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Of the values.
    pub(super) unit: &'static str,
    /// What stands below: values of the first coordinate, and how they are written.
    pub(super) below: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

/// One line, and what it is called.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for what stands beside and below.
const LEFT: f64 = 64.0;
const BELOW: f64 = 32.0;
const ABOVE: f64 = 28.0;
const RIGHT: f64 = 16.0;

impl Chart {
    /// A figure with its lines, values from zero on; empty if there is nothing to show.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (low, high) = points()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
                (low.min(*x), high.max(*x))
            });
        if points().next().is_none() {
            return String::new();
        }
        let top = round_up(points().fold(0.0, |top: f64, (_, y)| top.max(*y)));
        let width = if high > low { high - low } else { 1.0 };
        let across = |x: f64| LEFT + (x - low) / width * (WIDTH - LEFT - RIGHT);
        let up = |y: f64| HEIGHT - BELOW - y / top * (HEIGHT - BELOW - ABOVE);

        let title = self.title;
        let mut svg = format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><text class="title" x="{LEFT}" y="16">{title}, {}</text>"#,
            self.unit
        );
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let (y, right) = (up(value), WIDTH - RIGHT);
            let _ = write!(
                svg,
                r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/><text class="left" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        for (x, text) in self.below.iter().filter(|(x, _)| low <= *x && *x <= high) {
            let (x, y) = (across(*x), HEIGHT - 10.0);
            let _ = write!(svg, r#"<text class="below" x="{x:.1}" y="{y}">{text}</text>"#);
        }
        for (number, line) in self.lines.iter().enumerate() {
            let mut path = String::new();
            for (at, (x, y)) in line.points.iter().enumerate() {
                let command = if at == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", across(*x), up(*y));
            }
            let (x, name) = (WIDTH - RIGHT - 90.0 * number as f64, line.name);
            let _ = write!(
                svg,
                r#"<path class="line c{number}" d="{path}"/><text class="name c{number}" x="{x}" y="16">{name}</text>"#
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    if !(value > 0.0 && value.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| value <= *step).unwrap_or(value)
}

/// As few digits as say it.
pub(super) fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", trim(value / 1e6)),
        _ if value >= 1e4 => format!("{}k", trim(value / 1e3)),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (value, end) in
            [(0.0, 1.0), (0.7, 1.0), (1.2, 2.0), (2.3, 2.5), (2600.0, 5000.0), (9.9, 10.0)]
        {
            assert!((round_up(value) - end).abs() < 1e-9 * end, "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.25"), (9999.0, "9999"), (12_500.0, "12.5k"), (2e6, "2M")]
        {
            assert_eq!(short(value), text);
        }
    }
}
