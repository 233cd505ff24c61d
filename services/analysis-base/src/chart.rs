//! Charts: rows to SVG and to Vega-Lite.
//!
//! ```text
//!   data      rows → columns of values, at most MOST_ROWS of them
//!   channel   what each encoding shows: its values, their kind, its title
//!   vega      → Vega-Lite, for those who want to go on with the chart
//!   scale, layout, axis, legend, marks, svg   → a picture that needs nothing
//! ```
//!
//! The picture is written here, element by element: the words and the defaults
//! are those of Vega-Lite, so that both files show the same.

mod axis;
mod channel;
mod color;
mod data;
mod layout;
mod legend;
mod marks;
mod scale;
mod svg;
mod time;
mod vega;

use crds::analysis::{Chart, Encoding, FailureReason};
use datafusion::arrow::datatypes::Schema;

pub use data::{ChartData, MOST_ROWS};

use crate::failure::{Failure, listed};

/// Why a chart cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The data has no such column.
    #[error(
        "Chart `{chart}` shows a column `{column}` that its data does not have. The columns are {there}."
    )]
    UnknownColumn { chart: String, column: String, there: String },
    /// The values are not of the kind that the encoding asks for.
    #[error(
        "Chart `{chart}`: the column `{column}` is to be {kind}, but a value is `{value}`. Cast it in the query, or change the encoding's `type`."
    )]
    WrongKind { chart: String, column: String, kind: &'static str, value: String },
    /// The mark needs numbers there.
    #[error(
        "Chart `{chart}`: the mark `{mark}` needs numbers, but `{channel}` (column `{column}`) is {kind}."
    )]
    NeedsNumbers {
        chart: String,
        mark: &'static str,
        channel: &'static str,
        column: String,
        kind: &'static str,
    },
    /// An axis would be unreadable.
    #[error(
        "Chart `{chart}`: the column `{column}` has {count} different values, more than the {most} that can be told apart on an axis. Select fewer, or use the type quantitative or temporal."
    )]
    TooManyNames { chart: String, column: String, count: usize, most: usize },
}

impl From<ChartError> for Failure {
    fn from(error: ChartError) -> Self {
        Self::new(FailureReason::InvalidChart, error.to_string())
    }
}

/// A chart in both of its forms.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// A picture without scripts and without references to anything else.
    pub svg: String,
    /// A Vega-Lite v6 specification with its data.
    pub vega_lite: String,
}

/// What the chart encodes.
fn encodings(chart: &Chart) -> impl Iterator<Item = &Encoding> {
    let encoding = &chart.encoding;
    [Some(&encoding.x), Some(&encoding.y), encoding.color.as_ref()].into_iter().flatten()
}

/// Whether the data has the columns that the chart shows.
///
/// # Errors
/// [`ChartError::UnknownColumn`]
pub fn check_columns(chart: &Chart, schema: &Schema) -> Result<(), ChartError> {
    for encoding in encodings(chart) {
        if schema.index_of(&encoding.field).is_err() {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(ChartError::UnknownColumn {
                chart: chart.name.clone(),
                column: encoding.field.clone(),
                there: listed(&names, 40),
            });
        }
    }
    Ok(())
}

/// Draws the chart.
///
/// # Errors
/// If the data cannot be shown in this way.
pub fn draw(chart: &Chart, data: &ChartData) -> Result<Drawn, Failure> {
    check_columns(chart, data.schema())?;
    let mut channels = channel::Channels::new(chart, data)?;
    let vega_lite = vega::specification(chart, &channels);
    // Vega-Lite leaves them out by itself.
    channels.leave_out_invalid(chart.mark);
    Ok(Drawn { svg: layout::draw(chart, &channels)?, vega_lite })
}
