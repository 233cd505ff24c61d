use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A chart, in the manner of Vega-Lite: a mark, and encodings that say which
/// column is shown by which of its properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mark != 'rect' || has(self.encoding.color)")
        .message("the mark `rect` shows its value by colour: give `encoding.color`")
)]
pub struct Chart {
    /// Name of the chart, and of its files: NAME.svg and NAME.vl.json.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Title above the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub title: Option<String>,
    /// What is drawn for each row: `bar`, from zero to `yAxis`, those of one
    /// `xAxis` stacked by `color`; `line`, through the rows in the order of
    /// `xAxis`, one for each `color`; `area`, a line with the area below it
    /// filled; `point`, at `xAxis` and `yAxis`; `rect`, a cell of a heat map at
    /// `xAxis` and `yAxis`, its value shown by `color`.
    pub mark: Mark,
    /// Which columns are drawn. A missing value is a category `null` on a scale
    /// of names; on scales of numbers and of time it interrupts a line, and
    /// other marks leave its row out.
    pub encoding: Encodings,
    /// A query over the sources that selects the data of this chart. Without
    /// it the result of `spec.sql` is drawn. At most 5,000 rows are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub sql: Option<String>,
    /// Width in pixels; 640 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 4000))]
    pub width: Option<u32>,
    /// Height in pixels; 400 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 4000))]
    pub height: Option<u32>,
}

/// What is drawn for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// A bar from zero to `yAxis`; bars of one `xAxis` are stacked by `color`.
    Bar,
    /// A line through the rows in the order of `xAxis`, one for each `color`.
    Line,
    /// A line with the area below it filled.
    Area,
    /// A point at `xAxis` and `yAxis`.
    Point,
    /// A cell of a heat map at `xAxis` and `yAxis`, its value shown by `color`.
    Rect,
}

// The positions are not called `x` and `y` as in Vega-Lite: in YAML as kubectl
// reads it (1.1) a bare `y` is the boolean true, so that the key would be lost.
/// Which columns are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encodings {
    /// Horizontal position.
    #[serde(rename = "xAxis")]
    pub x: Encoding,
    /// Vertical position.
    #[serde(rename = "yAxis")]
    pub y: Encoding,
    /// Colour: of the series, or of the value for the mark `rect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<Encoding>,
}

/// One column, and how it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encoding {
    /// Name of the column.
    #[schemars(length(min = 1, max = 256))]
    pub field: String,
    /// How the values are to be understood; if left out, numbers are
    /// quantitative, dates temporal and everything else nominal.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub measurement_type: Option<MeasurementType>,
    /// Title of the axis or of the legend; the column's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub title: Option<String>,
}

/// How values are to be understood: `quantitative`, numbers on a continuous
/// scale; `nominal`, names without an order; `ordinal`, names or numbers in
/// order; `temporal`, points in time. If left out, numbers are quantitative,
/// dates and times temporal, and everything else nominal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MeasurementType {
    /// Numbers on a continuous scale.
    Quantitative,
    /// Names without an order.
    Nominal,
    /// Names or numbers in order.
    Ordinal,
    /// Points in time.
    Temporal,
}
