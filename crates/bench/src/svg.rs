//! Bar charts as SVG text: panels in a grid, groups of bars with their range, one legend.
//!
//! Deliberately only that: bars start at zero, axes are linear, the same series has the same colour everywhere.
//!
//! ```text
//! title
//! legend
//! +--------- panel ---------+ +--------- panel ---------+
//! | y |  bars per group     | |                         |
//! |   +----- groups ------  | |                         |
//! +-------------------------+ +-------------------------+
//! ```

use std::fmt::Write;

use crate::stats::{Spread, decimals};

/// Width of every figure in user units, which are pixels unless scaled.
const WIDTH: f64 = 800.0;
const HEAD_HEIGHT: f64 = 64.0;
const PANEL_HEIGHT: f64 = 270.0;
/// Free space in a panel around the area of the bars: left holds the axis, bottom the group names.
const PLOT_LEFT: f64 = 62.0;
const PLOT_RIGHT: f64 = 14.0;
const PLOT_TOP: f64 = 38.0;
const PLOT_BOTTOM: f64 = 46.0;
/// The highest bar ends at this part of the axis at most, so that its number has room.
const BAR_TOP_PART: f64 = 0.92;
/// Part of a group's width that its bars fill.
const BARS_PART: f64 = 0.78;
const BAR_WIDTH_MAX: f64 = 54.0;
/// Narrower bars go without their number: it would run into the next one's.
const BAR_WIDTH_NUMBER_MIN: f64 = 24.0;
/// About this many lines across a panel.
const TICKS: f64 = 5.0;

/// One kind of bar, in all panels.
#[derive(Clone, Debug)]
pub struct Series {
    /// As the legend shows it.
    pub name: String,
    /// Any CSS colour.
    pub colour: &'static str,
}

/// One chart of a figure.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is shown.
    pub title: String,
    /// The unit, along the axis.
    pub y_label: String,
    /// Names under the groups; `\n` starts a second line.
    pub groups: Vec<String>,
    /// Bars by series, then by group; `None` leaves a gap.
    pub bars: Vec<Vec<Option<Spread>>>,
}

/// A whole picture.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What the panels have in common.
    pub title: String,
    /// What the colours mean; as many as each panel has rows of bars.
    pub series: Vec<Series>,
    /// Drawn in reading order.
    pub panels: Vec<Panel>,
    /// Panels side by side.
    pub columns: usize,
}

/// A rectangle of the page and the scale of its axis.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    axis_max: f64,
}

impl Frame {
    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / self.axis_max
    }
}

impl Figure {
    /// The SVG document.
    pub fn render(&self) -> String {
        let rows = self.panels.len().div_ceil(self.columns);
        let height = HEAD_HEIGHT + PANEL_HEIGHT * rows as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" fill=\"#22303c\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, &self.title, (WIDTH / 2.0, 26.0), Style { size: 17, anchor: "middle", bold: true });
        self.legend(&mut svg);
        let panel_width = WIDTH / self.columns as f64;
        for (index, panel) in self.panels.iter().enumerate() {
            assert_eq!(panel.bars.len(), self.series.len(), "each series has bars in each panel");
            let left = panel_width * (index % self.columns) as f64;
            let top = HEAD_HEIGHT + PANEL_HEIGHT * (index / self.columns) as f64;
            self.panel(&mut svg, panel, left, top, panel_width);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let entry_width = 120.0;
        let mut x = (WIDTH - entry_width * self.series.len() as f64) / 2.0 + 12.0;
        for series in &self.series {
            let _ = writeln!(svg, "<rect x=\"{x}\" y=\"41\" width=\"12\" height=\"12\" fill=\"{}\"/>", series.colour);
            text(svg, &series.name, (x + 18.0, 52.0), Style { size: 13, anchor: "start", bold: false });
            x += entry_width;
        }
    }

    fn panel(&self, svg: &mut String, panel: &Panel, left: f64, top: f64, width: f64) {
        let highest = panel.bars.iter().flatten().flatten().map(|bar| bar.max).fold(0.0, f64::max);
        let step = tick_step(highest / BAR_TOP_PART);
        let frame = Frame {
            left: left + PLOT_LEFT,
            right: left + width - PLOT_RIGHT,
            top: top + PLOT_TOP,
            bottom: top + PANEL_HEIGHT - PLOT_BOTTOM,
            axis_max: (highest / BAR_TOP_PART / step).ceil().max(1.0) * step,
        };
        let centre = f64::midpoint(frame.left, frame.right);
        text(svg, &panel.title, (centre, top + 20.0), Style { size: 13, anchor: "middle", bold: true });
        axis(svg, &frame, step, &panel.y_label);
        let group_width = (frame.right - frame.left) / panel.groups.len() as f64;
        for (index, name) in panel.groups.iter().enumerate() {
            let group_left = frame.left + group_width * index as f64;
            group_name(svg, name, group_left + group_width / 2.0, frame.bottom);
            self.group(svg, panel, &frame, index, group_left, group_width);
        }
    }

    fn group(&self, svg: &mut String, panel: &Panel, frame: &Frame, group: usize, left: f64, width: f64) {
        let count = self.series.len() as f64;
        let bar_width = (width * BARS_PART / count).min(BAR_WIDTH_MAX);
        let first = left + (width - bar_width * count) / 2.0;
        for (index, series) in self.series.iter().enumerate() {
            if let Some(spread) = panel.bars[index][group] {
                bar(svg, frame, first + bar_width * index as f64, bar_width, spread, series.colour);
            }
        }
    }
}

fn bar(svg: &mut String, frame: &Frame, left: f64, width: f64, spread: Spread, colour: &str) {
    let (top, centre) = (frame.y(spread.median), left + width / 2.0);
    let (low, high) = (frame.y(spread.min), frame.y(spread.max));
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
        left + 1.0,
        width - 2.0,
        frame.bottom - top
    );
    if spread.min < spread.max {
        let _ = writeln!(
            svg,
            "<path d=\"M{centre:.1} {low:.1}V{high:.1}M{:.1} {high:.1}h6M{:.1} {low:.1}h6\" stroke=\"#22303c\" \
             stroke-width=\"1\" fill=\"none\"/>",
            centre - 3.0,
            centre - 3.0
        );
    }
    if width < BAR_WIDTH_NUMBER_MIN {
        return;
    }
    text(svg, &short(spread.median), (centre, high - 4.0), Style { size: 10, anchor: "middle", bold: false });
}

fn axis(svg: &mut String, frame: &Frame, step: f64, label: &str) {
    let count = (frame.axis_max / step).round() as u32;
    for tick in 0..=count {
        let value = step * f64::from(tick);
        let y = frame.y(value);
        let colour = if tick == 0 { "#22303c" } else { "#dde3e8" };
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"{colour}\" stroke-width=\"1\"/>",
            frame.left, frame.right
        );
        let text_at = (frame.left - 6.0, y + 3.5);
        text(svg, &tick_text(value, step), text_at, Style { size: 10, anchor: "end", bold: false });
    }
    let (x, y) = (frame.left - PLOT_LEFT + 16.0, f64::midpoint(frame.top, frame.bottom));
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"11\" text-anchor=\"middle\" \
         transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
        escape(label)
    );
}

fn group_name(svg: &mut String, name: &str, x: f64, bottom: f64) {
    for (line, y) in name.split('\n').zip([bottom + 16.0, bottom + 30.0]) {
        text(svg, line, (x, y), Style { size: 11, anchor: "middle", bold: false });
    }
}

struct Style {
    size: u32,
    anchor: &'static str,
    bold: bool,
}

fn text(svg: &mut String, content: &str, at: (f64, f64), style: Style) {
    let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{}\" text-anchor=\"{}\"{weight}>{}</text>",
        at.0,
        at.1,
        style.size,
        style.anchor,
        escape(content)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The number at a bar: three digits that matter, thousands as `k`.
fn short(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.*}", decimals(value)) } else { format!("{:.0}k", value / 1000.0) }
}

/// The number at a line of the axis, with as many decimals as its step has.
fn tick_text(value: f64, step: f64) -> String {
    let decimals = if step < 1.0 { (-step.log10()).ceil() as usize } else { 0 };
    format!("{value:.decimals$}")
}

/// 1, 2 or 5 times a power of ten, so that about [`TICKS`] steps reach `max`.
fn tick_step(max: f64) -> f64 {
    let rough = if max <= 0.0 { 1.0 } else { max / TICKS };
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps.into_iter().find(|step| rough <= *step).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers_that_reach_the_top() {
        for (max, step) in [(4.1, 1.0), (10.0, 2.0), (23.0, 5.0), (0.7, 0.2), (1234.0, 500.0), (0.0, 1.0)] {
            let found = tick_step(max);
            assert!((found - step).abs() < step / 1e6, "{max}: {found}");
        }
    }

    #[test]
    fn every_bar_stays_inside_its_panel_and_every_name_is_there() {
        let bar = |median: f64| Some(Spread { median, min: median * 0.9, max: median * 1.1 });
        let figure = Figure {
            title: "a < b & c".into(),
            series: vec![
                Series { name: "one".into(), colour: "#111111" },
                Series { name: "two".into(), colour: "#222222" },
            ],
            panels: vec![Panel {
                title: "panel".into(),
                y_label: "µs".into(),
                groups: vec!["g1".into(), "g2\nbelow".into()],
                bars: vec![vec![bar(3.0), bar(90.0)], vec![None, bar(0.5)]],
            }],
            columns: 1,
        };
        let svg = figure.render();
        for word in ["a &lt; b &amp; c", ">one<", ">two<", ">panel<", ">µs<", ">g1<", ">below<", ">90.0<"] {
            assert!(svg.contains(word), "{word} is missing");
        }
        let drawn: Vec<&str> =
            svg.lines().filter(|line| line.contains("width=\"54.0\"") || line.contains("52.0\" height")).collect();
        assert_eq!(drawn.len(), 3, "two groups of bars with one gap");
        assert!(!svg.contains("NaN"));
        assert!(!svg.contains("=\"-"), "nothing is drawn at a negative place or with a negative size");
    }
}
