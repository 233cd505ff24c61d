//! Points in time on an axis: round ones, in UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::TimeZone;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Seconds between two ticks, up to half a day.
const SECONDS: [i64; 13] = [1, 2, 5, 10, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600];
/// Days between two ticks.
const DAYS: [i64; 4] = [1, 2, 7, 14];
/// Months between two ticks.
const MONTHS: [i64; 13] = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1_200, 2_400, 6_000, 12_000];

/// ISO 8601; a midnight is a date.
pub(super) fn text(microseconds: i64) -> String {
    match Timestamp::from_microsecond(microseconds) {
        Ok(time) if microseconds.rem_euclid(DAY) == 0 => time.strftime("%Y-%m-%d").to_string(),
        Ok(time) => time.to_string(),
        Err(_) => microseconds.to_string(),
    }
}

/// The microseconds that an ISO 8601 text names.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    let civil =
        text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|day| day.at(0, 0, 0, 0)))?;
    civil.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp().as_microsecond())
}

/// About `wanted` round points in time between the two, with labels.
pub(super) fn ticks(first: i64, last: i64, wanted: usize) -> Vec<(i64, String)> {
    let most = i64::try_from(wanted.max(2)).unwrap_or(2);
    let span = last.saturating_sub(first).max(1);
    if let Some(step) = SECONDS.iter().find(|step| span / (**step * SECOND) < most) {
        let format = if *step < 60 { "%H:%M:%S" } else { "%H:%M" };
        return even(first, last, step * SECOND, |time| {
            if time.rem_euclid(DAY) == 0 { label(time, "%b %-d") } else { label(time, format) }
        });
    }
    if span / (12 * 3_600 * SECOND) < most {
        return even(first, last, 12 * 3_600 * SECOND, |time| {
            if time.rem_euclid(DAY) == 0 { label(time, "%b %-d") } else { label(time, "%H:%M") }
        });
    }
    if let Some(step) = DAYS.iter().find(|step| span / (**step * DAY) < most) {
        return even(first, last, step * DAY, |time| label(time, "%b %-d"));
    }
    let months = MONTHS.iter().find(|step| span / (**step * 30 * DAY) < most).copied().unwrap_or(12_000);
    by_month(first, last, months)
}

fn even(first: i64, last: i64, step: i64, text: impl Fn(i64) -> String) -> Vec<(i64, String)> {
    let start = first.div_euclid(step).saturating_mul(step);
    (0..)
        .map_while(|index: i64| start.checked_add(index.checked_mul(step)?))
        .skip_while(|time| *time < first)
        .take_while(|time| *time <= last)
        .map(|time| (time, text(time)))
        .collect()
}

fn by_month(first: i64, last: i64, step: i64) -> Vec<(i64, String)> {
    let Ok(start) = Timestamp::from_microsecond(first) else { return Vec::new() };
    let start = start.to_zoned(TimeZone::UTC);
    let month_of_start = i64::from(start.year()) * 12 + i64::from(start.month()) - 1;
    let mut month = month_of_start.div_euclid(step) * step;
    let mut ticks = Vec::new();
    while let Some(time) = month_start(month) {
        if time > last {
            break;
        }
        if time >= first {
            let format = if step >= 12 { "%Y" } else { "%b %Y" };
            ticks.push((time, label(time, format)));
        }
        month += step;
    }
    ticks
}

fn month_start(month: i64) -> Option<i64> {
    let year = i16::try_from(month.div_euclid(12)).ok().filter(|year| (-9999..=9999).contains(year))?;
    let of_year = i8::try_from(month.rem_euclid(12) + 1).ok()?;
    let start = date(year, of_year, 1).to_datetime(Time::midnight());
    start.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp().as_microsecond())
}

fn label(microseconds: i64, format: &str) -> String {
    Timestamp::from_microsecond(microseconds)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(first: &str, last: &str, wanted: usize) -> Vec<String> {
        let (first, last) = (parse(first).expect("first"), parse(last).expect("last"));
        ticks(first, last, wanted).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels("2013-01-01", "2013-12-31", 6), ["Jan 2013", "Apr 2013", "Jul 2013", "Oct 2013"]);
        assert_eq!(
            labels("2013-01-01", "2019-06-01", 8),
            ["2013", "2014", "2015", "2016", "2017", "2018", "2019"]
        );
        assert_eq!(labels("2013-01-01T22:10:00Z", "2013-01-02T01:20:00Z", 4), ["23:00", "Jan 2", "01:00"]);
        assert_eq!(labels("2013-01-30", "2013-02-03", 8), ["Jan 30", "Jan 31", "Feb 1", "Feb 2", "Feb 3"]);
    }

    #[test]
    fn the_ends_of_time_have_few_ticks() {
        // The greatest number is often written for "never".
        for (first, last) in [(i64::MIN, i64::MAX), (0, i64::MAX), (i64::MAX - DAY / 2, i64::MAX)] {
            assert!(ticks(first, last, 6).len() < 20, "{first} {last}");
        }
    }
}
