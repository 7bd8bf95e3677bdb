//! How soon events are everywhere, drawn.

use std::fmt::Write as _;

use super::world::{STEPS, step_delay};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 36.0;
const COLOURS: [&str; 12] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22",
    "#17becf", "#000000", "#aec7e8",
];

/// An SVG of the share of (node, event) pairs that were reached, over the delay; a line for each run by its name.
pub fn plot(title: &str, runs: &[(String, Vec<u64>)]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let at_x = |step: f64| LEFT + (right - LEFT) * step / (STEPS - 1) as f64;
    let at_y = |permille: f64| bottom - (bottom - TOP) * permille / 1000.0;
    text(&mut svg, (LEFT, 16.0), "start", title);
    for permille in (0..=1000).step_by(200) {
        let y = at_y(f64::from(permille));
        line(&mut svg, (LEFT, y), (right, y));
        text(&mut svg, (LEFT - 6.0, y + 4.0), "end", &format!("{} %", permille / 10));
    }
    for step in (0..STEPS).step_by(8) {
        let delay = step_delay(step);
        let label = match delay.as_millis() {
            ms @ 0..1000 => format!("{ms} ms"),
            ms => format!("{:.1} s", ms as f64 / 1000.0),
        };
        text(&mut svg, (at_x(step as f64), bottom + 16.0), "middle", &label);
    }
    for (number, ((name, reached), colour)) in runs.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> = reached
            .iter()
            .enumerate()
            .map(|(step, permille)| format!("{:.1},{:.1}", at_x(step as f64), at_y(*permille as f64)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
        let y = TOP + 16.0 * number as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{y}\" x2=\"{:.1}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            right + 10.0,
            right + 28.0
        );
        text(&mut svg, (right + 34.0, y + 4.0), "start", name);
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>", at.0, at.1);
}
