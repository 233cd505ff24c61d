use crds::analysis::{Chart, Encoding, Mark, MeasurementType};

use super::ChartError;
use super::data::{ChartData, Datum};
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
}

impl Channel {
    fn new(chart: &Chart, encoding: &Encoding, data: &ChartData) -> Result<Self, ChartError> {
        let mut values = data.column(&chart.name, &encoding.field)?;
        let kind = encoding.measurement_type.unwrap_or_else(|| default_kind(&values));
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

    /// The different values in the order in which an axis or a legend shows
    /// them: ascending, as Vega-Lite does.
    pub(super) fn names(&self) -> Vec<String> {
        let mut different: Vec<&Datum> =
            self.values.iter().filter(|value| **value != Datum::Missing).collect();
        different.sort_by(|one, other| match (one.number(), other.number()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.text().cmp(&other.text()),
        });
        let mut names: Vec<String> = different.into_iter().map(Datum::text).collect();
        names.dedup();
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

fn default_kind(values: &[Datum]) -> MeasurementType {
    match values.iter().find(|value| **value != Datum::Missing) {
        Some(Datum::Integer(_) | Datum::Number(_)) => MeasurementType::Quantitative,
        Some(Datum::Time(_)) => MeasurementType::Temporal,
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
