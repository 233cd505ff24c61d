use super::channel::Channels;
use super::layout::Plot;
use super::scale::{Scale, count};
use super::svg::{Anchor, Font, Svg, fit, text_width};

const LABEL: Font = Font { size: 11.0, bold: false, color: "#555555" };
const TITLE: Font = Font { size: 12.0, bold: false, color: "#222222" };
const GRID: &str = "#e6e6e6";
const LINE: &str = "#999999";
/// Labels that do not fit side by side are turned by this angle, in degrees.
const ANGLE: f64 = -40.0;
/// The longest label, in pixels.
const LONGEST_LABEL: f64 = 120.0;
/// Names below each other need this much room, in pixels.
const LINE_HEIGHT: f64 = 13.0;

/// Room for the labels and the title of the vertical axis.
pub(super) fn left_margin(y: &Scale, width: f64) -> f64 {
    widest(y, (width * 0.3).min(LONGEST_LABEL)) + 42.0
}

/// Room for the labels and the title of the horizontal axis.
pub(super) fn bottom_margin(x: &Scale, plot_width: f64, height: f64) -> f64 {
    if fits_side_by_side(x, plot_width) {
        return 52.0;
    }
    let longest = widest(x, LONGEST_LABEL.min(height * 0.3));
    longest * ANGLE.to_radians().sin().abs() + 52.0
}

/// How far the first label below the axis reaches to the left of it.
pub(super) fn left_overhang(x: &Scale, plot_width: f64) -> f64 {
    if fits_side_by_side(x, plot_width) {
        return 0.0;
    }
    let first = x.ticks().first().map_or(0.0, |(_, label)| text_width(label, LABEL.size).min(LONGEST_LABEL));
    first * ANGLE.to_radians().cos() - x.step() * plot_width / 2.0 + 8.0
}

fn widest(scale: &Scale, most: f64) -> f64 {
    scale.ticks().iter().map(|(_, label)| text_width(label, LABEL.size)).fold(0.0, f64::max).min(most)
}

fn fits_side_by_side(x: &Scale, plot_width: f64) -> bool {
    match x {
        Scale::Line { .. } => true,
        Scale::Bands { names, .. } => {
            let room = plot_width / count(names.len().max(1));
            names.iter().all(|name| text_width(name, LABEL.size) + 6.0 <= room)
        }
    }
}

/// Both axes with their grid. Points stand free, so they have a grid in both directions.
pub(super) fn draw(svg: &mut Svg, plot: &Plot, channels: &Channels, grid_of_x: bool) {
    draw_vertical(svg, plot, &channels.y.title);
    draw_horizontal(svg, plot, &channels.x.title, grid_of_x);
}

fn draw_vertical(svg: &mut Svg, plot: &Plot, title: &str) {
    svg.open_group("axis-y", "");
    let lines = matches!(plot.y, Scale::Line { .. });
    let ticks = plot.y.ticks();
    let every = thinned(ticks.len(), plot.height, LINE_HEIGHT);
    let room = plot.left - 38.0;
    for (place, label) in ticks.iter().step_by(every) {
        let y = plot.y_pixel(*place);
        if lines {
            svg.line((plot.left, y), (plot.left + plot.width, y), GRID);
        }
        svg.label((plot.left - 7.0, y + 4.0), Anchor::End, 0.0, LABEL, &fit(label, LABEL.size, room));
    }
    if !lines {
        svg.line((plot.left, plot.top), (plot.left, plot.top + plot.height), LINE);
    }
    let middle = (16.0, plot.top + plot.height / 2.0);
    svg.label(middle, Anchor::Middle, -90.0, TITLE, &fit(title, TITLE.size, plot.height));
    svg.close_group();
}

fn draw_horizontal(svg: &mut Svg, plot: &Plot, title: &str, grid: bool) {
    svg.open_group("axis-x", "");
    let bottom = plot.top + plot.height;
    let ticks = plot.x.ticks();
    let upright = fits_side_by_side(&plot.x, plot.width);
    let every = if upright { 1 } else { thinned(ticks.len(), plot.width, LINE_HEIGHT + 3.0) };
    let mut lowest = bottom + 18.0;
    for (place, label) in ticks.iter().step_by(every) {
        let x = plot.x_pixel(*place);
        if grid {
            svg.line((x, plot.top), (x, bottom), GRID);
        }
        svg.line((x, bottom), (x, bottom + 4.0), LINE);
        if upright {
            svg.label((x, bottom + 18.0), Anchor::Middle, 0.0, LABEL, label);
        } else {
            let label = fit(label, LABEL.size, LONGEST_LABEL);
            lowest =
                lowest.max(bottom + 14.0 + text_width(&label, LABEL.size) * ANGLE.to_radians().sin().abs());
            svg.label((x + 4.0, bottom + 14.0), Anchor::End, ANGLE, LABEL, &label);
        }
    }
    // Zero is where bars stand, which need not be the lower edge.
    let zero = match plot.y {
        Scale::Line { least, most, .. } if least < 0.0 && most > 0.0 => Some(plot.y.place_of_number(0.0)),
        _ => None,
    };
    svg.line((plot.left, bottom), (plot.left + plot.width, bottom), LINE);
    if let Some(place) = zero {
        let y = plot.y_pixel(place);
        svg.line((plot.left, y), (plot.left + plot.width, y), LINE);
    }
    let middle = (plot.left + plot.width / 2.0, lowest + 22.0);
    svg.label(middle, Anchor::Middle, 0.0, TITLE, &fit(title, TITLE.size, plot.width));
    svg.close_group();
}

/// Show every n-th of `labels` labels, so that each has `room` pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1 and small")]
fn thinned(labels: usize, pixels: f64, room: f64) -> usize {
    (count(labels) * room / pixels).ceil().max(1.0) as usize
}
