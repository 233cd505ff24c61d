use crds::analysis::{Chart, Mark};

use super::ChartError;
use super::axis;
use super::channel::{Channel, Channels};
use super::data::Datum;
use super::legend::Legend;
use super::marks;
use super::scale::{Ends, Scale, count};
use super::svg::{Anchor, Font, Svg, fit};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 400;
/// Most names on an axis.
const MOST_NAMES: usize = 500;

const TITLE: Font = Font { size: 15.0, bold: true, color: "#222222" };
const NOTHING: Font = Font { size: 13.0, bold: false, color: "#777777" };

/// The area in which the marks are drawn.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// The part of the axis that one bar or cell may take.
    pub(super) x_step: f64,
    pub(super) y_step: f64,
}

impl Plot {
    /// Pixels from the left.
    pub(super) fn x_pixel(&self, place: f64) -> f64 {
        self.left + place * self.width
    }

    /// Pixels from the top: numbers grow upwards, names are read downwards.
    pub(super) fn y_pixel(&self, place: f64) -> f64 {
        match self.y {
            Scale::Bands { .. } => self.top + place * self.height,
            Scale::Line { .. } => self.top + (1.0 - place) * self.height,
        }
    }
}

/// The chart as SVG.
pub(super) fn draw(chart: &Chart, channels: &Channels) -> Result<String, ChartError> {
    for channel in [&channels.x, &channels.y] {
        if channel.is_discrete() {
            let names = channel.names().len();
            if names > MOST_NAMES {
                return Err(ChartError::TooManyNames {
                    chart: chart.name.clone(),
                    column: channel.field.clone(),
                    count: names,
                    most: MOST_NAMES,
                });
            }
        }
    }
    let width = f64::from(chart.width.unwrap_or(WIDTH));
    let height = f64::from(chart.height.unwrap_or(HEIGHT));
    let name = chart.title.as_deref().unwrap_or(&chart.name);
    let mut svg = Svg::new(width, height, name);

    let legend = channels.color.as_ref().map(|color| Legend::new(color, height));
    let plot = place(chart, channels, legend.as_ref(), width, height);
    if let Some(title) = &chart.title {
        svg.label(
            (plot.left, 25.0),
            Anchor::Start,
            0.0,
            TITLE,
            &fit(title, TITLE.size, width - plot.left - 12.0),
        );
    }
    axis::draw(&mut svg, &plot, channels, chart.mark == Mark::Point);
    let drawn = marks::draw(&mut svg, chart.mark, channels, &plot, legend.as_ref());
    if drawn == 0 {
        let middle = (plot.left + plot.width / 2.0, plot.top + plot.height / 2.0);
        svg.label(middle, Anchor::Middle, 0.0, NOTHING, "No data");
    }
    if let (Some(legend), true) = (&legend, drawn > 0) {
        legend.draw(&mut svg, plot.left + plot.width + 18.0, plot.top, plot.height);
    }
    Ok(svg.finish())
}

fn place(chart: &Chart, channels: &Channels, legend: Option<&Legend>, width: f64, height: f64) -> Plot {
    let top = if chart.title.is_some() { 42.0 } else { 16.0 };
    let right = legend.map_or(18.0, |legend| legend.width() + 30.0);

    // A first guess of the height gives the labels at the left, these the
    // width, and that the labels below.
    let x_gap = gap(chart.mark, &channels.x);
    let y_gap = if chart.mark == Mark::Rect { gap(chart.mark, &channels.y) } else { None };
    let y_range = y_range(chart.mark, channels).map(|range| widened(range, y_gap));
    let x_range = channels.x.range().map(|range| widened(range, x_gap));
    let y_ends = match chart.mark {
        Mark::Bar | Mark::Area => Ends::RoundWithZero,
        Mark::Rect => Ends::Exact,
        Mark::Line | Mark::Point => Ends::Round,
    };
    // Bars and cells fill their part of the axis: it ends where they end.
    let x_ends = if x_gap.is_some() { Ends::Exact } else { Ends::Round };

    let y_wanted = ticks_for(height - top - 70.0, 48.0);
    let y = Scale::new(&channels.y, y_range, y_ends, y_wanted);
    let guess = axis::left_margin(&y, width);
    let x = Scale::new(&channels.x, x_range, x_ends, ticks_for(width - guess - right, 85.0));
    let left = guess.max(axis::left_overhang(&x, width - guess - right));
    let plot_width = (width - left - right).max(40.0);
    let bottom = axis::bottom_margin(&x, plot_width, height);
    let plot_height = (height - top - bottom).max(30.0);

    let step = |scale: &Scale, gap: Option<f64>| match scale {
        Scale::Bands { .. } => scale.step(),
        Scale::Line { least, most, .. } => gap.map_or(0.02, |gap| gap / (most - least)),
    };
    let (x_step, y_step) = (step(&x, x_gap), step(&y, y_gap));
    Plot { left, top, width: plot_width, height: plot_height, x, y, x_step, y_step }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
fn ticks_for(pixels: f64, apart: f64) -> usize {
    (pixels / apart).clamp(2.0, 12.0) as usize
}

/// The range of the numbers that the marks reach: with stacks, their ends.
fn y_range(mark: Mark, channels: &Channels) -> Option<(f64, f64)> {
    if mark != Mark::Bar {
        return channels.y.range();
    }
    marks::stacks(channels).into_iter().flatten().fold(None, |range, (low, high)| match range {
        None => Some((low.min(high), low.max(high))),
        Some((least, most)) => Some((low.min(high).min(least), low.max(high).max(most))),
    })
}

/// The least distance between two values: how wide a bar or a cell may be.
fn gap(mark: Mark, channel: &Channel) -> Option<f64> {
    if !matches!(mark, Mark::Bar | Mark::Rect) || channel.is_discrete() {
        return None;
    }
    let mut numbers: Vec<f64> = channel.values.iter().filter_map(Datum::number).collect();
    numbers.sort_by(f64::total_cmp);
    let least = numbers
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|gap| *gap > 0.0)
        .fold(f64::INFINITY, f64::min);
    let (first, last) = (numbers.first()?, numbers.last()?);
    let span = last - first;
    // Values that are far apart but for two would give bars of no width.
    Some(if least.is_finite() { least.max(span / count(2000)) } else { 1.0 })
}

fn widened(range: (f64, f64), gap: Option<f64>) -> (f64, f64) {
    let half = gap.unwrap_or(0.0) / 2.0;
    (range.0 - half, range.1 + half)
}
