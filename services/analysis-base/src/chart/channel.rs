use crds::analysis::{Chart, Encoding, Mark, MeasurementType};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::ChartError;
use super::data::{ChartData, Datum, MISSING};
use super::time;
use crate::summary::cut;

/// What one encoding shows.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) field: String,
    pub(super) title: String,
    pub(super) kind: MeasurementType,
    pub(super) values: Vec<Datum>,
}

/// What a chart shows.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) x: Channel,
    pub(super) y: Channel,
    pub(super) color: Option<Channel>,
}

impl Channels {
    pub(super) fn new(chart: &Chart, data: &ChartData) -> Result<Self, ChartError> {
        let encoding = &chart.encoding;
        let channels = Self {
            x: Channel::new(chart, &encoding.x, data)?,
            y: Channel::new(chart, &encoding.y, data)?,
            color: encoding.color.as_ref().map(|color| Channel::new(chart, color, data)).transpose()?,
        };
        if matches!(chart.mark, Mark::Bar | Mark::Area) && channels.y.kind != MeasurementType::Quantitative {
            return Err(ChartError::NeedsNumbers {
                chart: chart.name.clone(),
                mark: if chart.mark == Mark::Bar { "bar" } else { "area" },
                channel: "yAxis",
                column: channels.y.field.clone(),
                kind: kind_name(channels.y.kind),
            });
        }
        Ok(channels)
    }

    /// Leaves out the rows that have no place: a scale of numbers or of time
    /// has none for what is missing. A path is interrupted by such rows, and
    /// leaves out only those without a place along it.
    pub(super) fn leave_out_invalid(&mut self, mark: Mark) {
        let rows = 0..self.x.values.len();
        let kept: Vec<bool> = if is_path(mark) {
            rows.map(|row| self.x.has_place(row)).collect()
        } else {
            let has_color = |row| self.color.as_ref().is_none_or(|color| color.has_place(row));
            rows.map(|row| self.x.has_place(row) && self.y.has_place(row) && has_color(row)).collect()
        };
        for channel in [Some(&mut self.x), Some(&mut self.y), self.color.as_mut()].into_iter().flatten() {
            let mut kept = kept.iter();
            channel.values.retain(|_| kept.next().is_some_and(|kept| *kept));
        }
    }
}

/// Whether the mark connects the rows.
pub(super) const fn is_path(mark: Mark) -> bool {
    matches!(mark, Mark::Line | Mark::Area)
}

impl Channel {
    fn new(chart: &Chart, encoding: &Encoding, data: &ChartData) -> Result<Self, ChartError> {
        let mut values = data.column(&chart.name, &encoding.field)?;
        let kind = encoding.measurement_type.unwrap_or_else(|| default_kind(data.schema(), &encoding.field));
        let wrong = |value: &Datum| ChartError::WrongKind {
            chart: chart.name.clone(),
            column: encoding.field.clone(),
            kind: kind_name(kind),
            value: cut(&value.text(), 80),
        };
        for value in &mut values {
            match (kind, &*value) {
                (_, Datum::Missing)
                | (MeasurementType::Nominal | MeasurementType::Ordinal, _)
                | (MeasurementType::Quantitative, Datum::Integer(_) | Datum::Number(_))
                | (MeasurementType::Temporal, Datum::Time(_)) => {}
                (MeasurementType::Temporal, Datum::Text(text)) => {
                    *value = Datum::Time(time::parse(text).ok_or_else(|| wrong(value))?);
                }
                _ => return Err(wrong(value)),
            }
        }
        Ok(Self {
            field: encoding.field.clone(),
            title: encoding.title.clone().unwrap_or_else(|| encoding.field.clone()),
            kind,
            values,
        })
    }

    /// Whether values are names in a row instead of places on a line.
    pub(super) const fn is_discrete(&self) -> bool {
        matches!(self.kind, MeasurementType::Nominal | MeasurementType::Ordinal)
    }

    /// Whether the scale has a place for the value of a row.
    pub(super) fn has_place(&self, row: usize) -> bool {
        self.is_discrete() || self.values[row] != Datum::Missing
    }

    /// The different values in the order in which an axis or a legend shows
    /// them: ascending, and what is missing before all others, as Vega-Lite
    /// does.
    pub(super) fn names(&self) -> Vec<String> {
        let mut different: Vec<&Datum> =
            self.values.iter().filter(|value| **value != Datum::Missing).collect();
        different.sort_by(|one, other| match (one.number(), other.number()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.text().cmp(&other.text()),
        });
        let mut names: Vec<String> = different.into_iter().map(Datum::text).collect();
        names.dedup();
        if self.values.contains(&Datum::Missing) {
            names.retain(|name| name != MISSING);
            names.insert(0, MISSING.to_owned());
        }
        names
    }

    /// The least and the greatest number.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        self.values.iter().filter_map(Datum::number).fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((least, most)) => Some((value.min(least), value.max(most))),
        })
    }
}

/// By the type and not by the values, of which there may be none.
fn default_kind(schema: &Schema, field: &str) -> MeasurementType {
    match schema.field_with_name(field).map(Field::data_type) {
        Ok(number) if number.is_numeric() => MeasurementType::Quantitative,
        Ok(DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) => MeasurementType::Temporal,
        _ => MeasurementType::Nominal,
    }
}

/// The kind in the words of the specification.
pub(super) const fn kind_name(kind: MeasurementType) -> &'static str {
    match kind {
        MeasurementType::Quantitative => "quantitative",
        MeasurementType::Nominal => "nominal",
        MeasurementType::Ordinal => "ordinal",
        MeasurementType::Temporal => "temporal",
    }
}
