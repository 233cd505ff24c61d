use std::collections::HashMap;

use crds::analysis::MeasurementType;

use super::channel::Channel;
use super::data::Datum;
use super::time;

/// Where an axis of numbers begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// At the least and the greatest value.
    Exact,
    /// At round numbers.
    Round,
    /// At round numbers, with zero among them.
    RoundWithZero,
}

/// Where values lie on an axis: from 0 at its beginning to 1 at its end.
#[derive(Debug)]
pub(super) enum Scale {
    /// Numbers and points in time.
    Line { least: f64, most: f64, ticks: Vec<(f64, String)> },
    /// Names, each with a band of its own.
    Bands { names: Vec<String>, places: HashMap<String, usize> },
}

impl Scale {
    /// A scale for the channel. `range` replaces the range of its values, and
    /// `wanted` is how many ticks have room.
    pub(super) fn new(channel: &Channel, range: Option<(f64, f64)>, ends: Ends, wanted: usize) -> Self {
        if channel.is_discrete() {
            let names = channel.names();
            let places = names.iter().cloned().zip(0..).collect();
            return Self::Bands { names, places };
        }
        let (least, most) = range.or_else(|| channel.range()).unwrap_or((0.0, 1.0));
        match channel.kind {
            MeasurementType::Temporal => of_time(least, most, wanted),
            _ => of_numbers(least, most, ends, wanted),
        }
    }

    /// The place of a value; the middle of its band for a name.
    pub(super) fn place(&self, value: &Datum) -> Option<f64> {
        match self {
            Self::Line { .. } => value.number().map(|number| self.place_of_number(number)),
            Self::Bands { places, .. } => {
                places.get(&value.text()).map(|index| (count(*index) + 0.5) * self.step())
            }
        }
    }

    /// The place of a number on a line.
    pub(super) fn place_of_number(&self, number: f64) -> f64 {
        match self {
            Self::Line { least, most, .. } => (number - least) / (most - least),
            Self::Bands { .. } => 0.0,
        }
    }

    /// The part of the axis that a band takes.
    pub(super) fn step(&self) -> f64 {
        match self {
            Self::Line { .. } => 0.0,
            Self::Bands { names, .. } => 1.0 / count(names.len().max(1)),
        }
    }

    /// Places and labels of the ticks.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Line { ticks, .. } => {
                ticks.iter().map(|(value, label)| (self.place_of_number(*value), label.clone())).collect()
            }
            Self::Bands { names, .. } => names
                .iter()
                .enumerate()
                .map(|(index, name)| ((count(index) + 0.5) * self.step(), name.clone()))
                .collect(),
        }
    }
}

/// A count as a number for arithmetic.
#[expect(clippy::cast_precision_loss, reason = "counts on a screen are small")]
pub(super) const fn count(value: usize) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "microseconds of a few thousand years"
)]
fn of_time(least: f64, most: f64, wanted: usize) -> Scale {
    // A single point in time gets a day around it.
    let (least, most) = if most > least { (least, most) } else { (least - 43.2e9, most + 43.2e9) };
    let ticks = time::ticks(least as i64, most as i64, wanted);
    Scale::Line { least, most, ticks: ticks.into_iter().map(|(time, label)| (time as f64, label)).collect() }
}

fn of_numbers(least: f64, most: f64, ends: Ends, wanted: usize) -> Scale {
    let with_zero = ends == Ends::RoundWithZero;
    let (mut least, mut most) = if with_zero { (least.min(0.0), most.max(0.0)) } else { (least, most) };
    // Also what differs by rounding only: an axis cannot show that.
    if most - least <= least.abs().max(most.abs()) * 1e-12 {
        let around = if least == 0.0 { 1.0 } else { least.abs() / 2.0 };
        (least, most) = if with_zero { (least, least + around) } else { (least - around, most + around) };
    }
    // Each end by itself: the span of the largest numbers would be infinite.
    let parts = count(wanted.max(2));
    let step = round_step(most / parts - least / parts);
    let (first, last) = match ends {
        Ends::Exact => ((least / step).ceil(), (most / step).floor()),
        Ends::Round | Ends::RoundWithZero => {
            let (first, last) = ((least / step).floor(), (most / step).ceil());
            // The axis ends at ticks.
            (least, most) = (first * step, last * step);
            (first, last)
        }
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of ticks")]
    let steps = (last - first).clamp(0.0, 1000.0) as usize;
    let ticks = (0..=steps)
        .map(|index| {
            // Multiplying keeps zero exact where adding up does not.
            let value = (first + count(index)) * step;
            (value, number_text(value, step))
        })
        .collect();
    Scale::Line { least, most, ticks }
}

/// The next 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factor = rough / power;
    let round = if factor <= 1.0 + 1e-9 {
        1.0
    } else if factor <= 2.0 + 1e-9 {
        2.0
    } else if factor <= 5.0 + 1e-9 {
        5.0
    } else {
        10.0
    };
    round * power
}

/// A number as an axis shows it: as many digits as the step needs, thousands
/// apart, millions and more in short.
pub(super) fn number_text(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().max(step);
    if !(1e-5..1e15).contains(&size) {
        return format!("{value:.1e}");
    }
    for (unit, suffix) in [(1e12, "T"), (1e9, "G"), (1e6, "M")] {
        if step >= unit / 1000.0 && size >= unit {
            return format!("{}{suffix}", grouped(value / unit, step / unit));
        }
    }
    grouped(value, step)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of digits")]
fn grouped(value: f64, step: f64) -> String {
    let digits = if step >= 1.0 { 0 } else { (-step.log10()).ceil().clamp(0.0, 9.0) as usize };
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    // A true minus sign is as wide as a digit.
    if value < 0.0 && grouped != "0" { format!("−{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(least: f64, most: f64, wanted: usize) -> Vec<String> {
        match of_numbers(least, most, Ends::Round, wanted) {
            Scale::Line { ticks, .. } => ticks.into_iter().map(|(_, label)| label).collect(),
            Scale::Bands { .. } => Vec::new(),
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(0.0, 100.0, 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(-0.3, 0.4, 4), ["−0.4", "−0.2", "0", "0.2", "0.4"]);
        assert_eq!(labels(0.0, 12_000.0, 3), ["0", "5,000", "10,000", "15,000"]);
        assert_eq!(labels(0.0, 4e6, 4), ["0", "1M", "2M", "3M", "4M"]);
        assert_eq!(labels(5.0, 5.0, 4), ["2", "4", "6", "8"]);
        assert_eq!(labels(0.3, 0.1 + 0.2, 5), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
    }
}
