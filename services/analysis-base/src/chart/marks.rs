//! What is drawn for each row.

use std::cmp::Reverse;
use std::collections::HashMap;

use crds::analysis::Mark;

use super::channel::Channels;
use super::color;
use super::layout::Plot;
use super::legend::Legend;
use super::svg::Svg;

/// Draws the rows that have a place; gives how many those are.
pub(super) fn draw(
    svg: &mut Svg,
    mark: Mark,
    channels: &Channels,
    plot: &Plot,
    legend: Option<&Legend>,
) -> usize {
    let class = match mark {
        Mark::Bar => "mark-bar",
        Mark::Line => "mark-line",
        Mark::Area => "mark-area",
        Mark::Point => "mark-point",
        Mark::Rect => "mark-rect",
    };
    svg.open_group(class, "");
    let drawing = Drawing { channels, plot, legend };
    let drawn = match mark {
        Mark::Bar => drawing.bars(svg),
        Mark::Line => drawing.lines(svg, false),
        Mark::Area => drawing.lines(svg, true),
        Mark::Point => drawing.points(svg),
        Mark::Rect => drawing.cells(svg),
    };
    svg.close_group();
    drawn
}

/// The ends of the bar of each row: bars of one `x` stand on one another,
/// those with negative values hang below one another. The last in the legend
/// is nearest to zero, as in Vega-Lite.
pub(super) fn stacks(channels: &Channels) -> Vec<Option<(f64, f64)>> {
    let mut order: Vec<usize> = (0..channels.y.values.len()).collect();
    if let Some(color) = &channels.color {
        let names: HashMap<String, usize> = color.names().into_iter().zip(0..).collect();
        order.sort_by_key(|row| Reverse(names.get(&color.values[*row].text()).copied()));
    }
    let mut ends: HashMap<String, (f64, f64)> = HashMap::new();
    let mut stacks = vec![None; order.len()];
    for row in order {
        let (x, Some(value)) = (&channels.x.values[row], channels.y.values[row].number()) else { continue };
        let (below, above) = ends.entry(x.text()).or_insert((0.0, 0.0));
        let end = if value < 0.0 { below } else { above };
        stacks[row] = Some((*end, *end + value));
        *end += value;
    }
    stacks
}

struct Drawing<'a> {
    channels: &'a Channels,
    plot: &'a Plot,
    legend: Option<&'a Legend>,
}

impl Drawing<'_> {
    fn rows(&self) -> usize {
        self.channels.x.values.len()
    }

    /// The colour of a row; `None` if its value is missing on a scale of numbers.
    fn color(&self, row: usize) -> Option<String> {
        match (self.legend, &self.channels.color) {
            (Some(legend), Some(channel)) => legend.color(&channel.values[row]),
            _ => Some(color::CATEGORIES[0].to_owned()),
        }
    }

    /// Pixels of a row; `None` if one of its values is missing on a scale of numbers.
    fn point(&self, row: usize) -> Option<(f64, f64)> {
        let x = self.plot.x.place(&self.channels.x.values[row])?;
        let y = self.plot.y.place(&self.channels.y.values[row])?;
        Some((self.plot.x_pixel(x), self.plot.y_pixel(y)))
    }

    fn tooltip(&self, row: usize) -> String {
        let channels = self.channels;
        let mut text = format!(
            "{}: {}, {}: {}",
            channels.x.title,
            channels.x.values[row].text(),
            channels.y.title,
            channels.y.values[row].text()
        );
        if let Some(color) = &channels.color {
            text.push_str(&format!(", {}: {}", color.title, color.values[row].text()));
        }
        text
    }

    fn bars(&self, svg: &mut Svg) -> usize {
        let mut drawn = 0;
        let width = (self.plot.x_step * self.plot.width * 0.8).max(1.0);
        for (row, stack) in stacks(self.channels).into_iter().enumerate() {
            let (Some((from, to)), Some(color)) = (stack, self.color(row)) else { continue };
            let Some(place) = self.plot.x.place(&self.channels.x.values[row]) else { continue };
            let one = self.plot.y_pixel(self.plot.y.place_of_number(from));
            let other = self.plot.y_pixel(self.plot.y.place_of_number(to));
            let corner = (self.plot.x_pixel(place) - width / 2.0, one.min(other));
            svg.rectangle(corner, (width, (one - other).abs()), &color, &self.tooltip(row));
            drawn += 1;
        }
        drawn
    }

    fn lines(&self, svg: &mut Svg, filled: bool) -> usize {
        let mut drawn = 0;
        for mut rows in self.series() {
            let place = |row: usize| self.plot.x.place(&self.channels.x.values[row]).unwrap_or(0.0);
            rows.sort_by(|one, other| place(*one).total_cmp(&place(*other)));
            // What is missing interrupts the line.
            for rows in rows.split(|row| self.point(*row).is_none() || self.color(*row).is_none()) {
                let Some(color) = rows.first().and_then(|row| self.color(*row)) else { continue };
                let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| self.point(*row)).collect();
                drawn += points.len();
                if filled {
                    self.area_below(svg, &points, &color);
                }
                match points.as_slice() {
                    // A single point is no line: without a dot it would be invisible.
                    [only] => svg.circle(*only, 3.0, &color, &self.tooltip(rows[0])),
                    _ => svg.path(
                        &points,
                        false,
                        &format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-linecap=\"round\""),
                    ),
                }
            }
        }
        drawn
    }

    /// The rows of each line: one for each colour.
    fn series(&self) -> Vec<Vec<usize>> {
        let Some(color) = &self.channels.color else { return vec![(0..self.rows()).collect()] };
        let mut series: Vec<Vec<usize>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for row in 0..self.rows() {
            let place = *places.entry(color.values[row].text()).or_insert(series.len());
            if place == series.len() {
                series.push(Vec::new());
            }
            series[place].push(row);
        }
        series
    }

    fn area_below(&self, svg: &mut Svg, points: &[(f64, f64)], color: &str) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let zero = self.plot.y_pixel(self.plot.y.place_of_number(0.0));
        let mut outline = vec![(first.0, zero)];
        outline.extend_from_slice(points);
        outline.push((last.0, zero));
        svg.path(&outline, true, &format!("fill=\"{color}\" fill-opacity=\"0.3\" stroke=\"none\""));
    }

    fn points(&self, svg: &mut Svg) -> usize {
        let mut drawn = 0;
        let rows = self.rows();
        // Many points lie on one another: smaller and lighter ones show where.
        let (radius, opacity) = if rows > 1000 { (2.2, 0.5) } else { (3.5, 0.75) };
        svg.open_group("points", &format!("fill-opacity=\"{opacity}\""));
        for row in 0..rows {
            if let (Some(point), Some(color)) = (self.point(row), self.color(row)) {
                svg.circle(point, radius, &color, &self.tooltip(row));
                drawn += 1;
            }
        }
        svg.close_group();
        drawn
    }

    fn cells(&self, svg: &mut Svg) -> usize {
        let mut drawn = 0;
        // A little larger than their place, so that no seams show.
        let size = (self.plot.x_step * self.plot.width + 0.3, self.plot.y_step * self.plot.height + 0.3);
        for row in 0..self.rows() {
            if let (Some((x, y)), Some(color)) = (self.point(row), self.color(row)) {
                svg.rectangle((x - size.0 / 2.0, y - size.1 / 2.0), size, &color, &self.tooltip(row));
                drawn += 1;
            }
        }
        drawn
    }
}
