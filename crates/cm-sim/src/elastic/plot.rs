//! Latency over time, drawn.

use std::fmt::Write as _;

use super::report::{Outcome, WINDOW_SECS};

const WIDTH: f64 = 760.0;
const PANEL_HEIGHT: f64 = 200.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 26.0;
const LEGEND_HEIGHT: f64 = 28.0;
/// Told apart by who sees few colours.
const COLOURS: [&str; 4] = ["#888888", "#d55e00", "#e69f00", "#0072b2"];

/// Each trace with its outcomes as a panel of an SVG: the 99th percentile of latency over time, logarithmically.
pub fn plot(panels: &[(&str, Vec<Outcome>)]) -> String {
    let height = LEGEND_HEIGHT + PANEL_HEIGHT * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    if let Some((_, outcomes)) = panels.first() {
        for (number, (outcome, colour)) in outcomes.iter().zip(COLOURS).enumerate() {
            let x = LEFT + 170.0 * number as f64;
            line(&mut svg, (x, 14.0), (x + 18.0, 14.0), colour, 2.0);
            text(&mut svg, (x + 22.0, 18.0), "start", outcome.strategy.name());
        }
    }
    for (number, (trace, outcomes)) in panels.iter().enumerate() {
        panel(&mut svg, LEGEND_HEIGHT + PANEL_HEIGHT * number as f64, trace, outcomes);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, y: f64, trace: &str, outcomes: &[Outcome]) {
    let all = || outcomes.iter().flat_map(|outcome| &outcome.p99_ms_over_time).filter(|ms| **ms > 0.0);
    let least = all().copied().fold(f64::INFINITY, f64::min).max(1.0).log10().floor();
    let most = all().copied().fold(10.0, f64::max).log10().ceil().max(least + 1.0);
    let (top, bottom) = (y + TOP, y + PANEL_HEIGHT - BOTTOM);
    let windows = outcomes.iter().map(|outcome| outcome.p99_ms_over_time.len()).max().unwrap_or(0).max(2);
    let at_x = |window: usize| LEFT + (WIDTH - LEFT - RIGHT) * window as f64 / (windows - 1) as f64;
    let at_y = |ms: f64| bottom - (bottom - top) * (ms.max(1e-9).log10() - least).max(0.0) / (most - least);
    text(svg, (LEFT, y + 18.0), "start", &format!("{trace}: p99 of read latency over time"));
    for decade in least as i32..=most as i32 {
        let ms = 10_f64.powi(decade);
        line(svg, (LEFT, at_y(ms)), (WIDTH - RIGHT, at_y(ms)), "#dddddd", 1.0);
        let label = if ms < 1000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1000.0) };
        text(svg, (LEFT - 6.0, at_y(ms) + 4.0), "end", &label);
    }
    for window in (0..windows).step_by(windows.div_ceil(8)) {
        text(svg, (at_x(window), bottom + 16.0), "middle", &format!("{} s", window * WINDOW_SECS));
    }
    for (outcome, colour) in outcomes.iter().zip(COLOURS) {
        let mut points = String::new();
        for (window, ms) in outcome.p99_ms_over_time.iter().enumerate() {
            let _ = write!(points, "{:.1},{:.1} ", at_x(window), at_y(*ms));
        }
        let points = points.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>", at.0, at.1);
}
