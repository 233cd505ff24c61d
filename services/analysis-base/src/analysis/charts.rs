use std::sync::Arc;

use crds::analysis::Chart;
use datafusion::arrow::datatypes::SchemaRef;

use super::{Analysis, WrittenResult};
use crate::chart::{self, ChartData};
use crate::engine::Joins;
use crate::failure::Failure;
use crate::output::Destination;
use crate::query;

impl Analysis<'_> {
    /// Draws a chart and writes its two files.
    pub(super) async fn chart(
        &mut self,
        chart: &Chart,
        result: &WrittenResult,
        destination: Option<&mut Destination>,
    ) -> Result<(), Failure> {
        let own = match &chart.sql {
            Some(sql) => Some(self.chart_data(chart, sql).await?),
            None => None,
        };
        let Some(data) = own.as_ref().or(result.chart_data.as_ref()) else {
            return Err(Failure::internal("a chart without data"));
        };
        if data.is_cut() {
            let rows = chart::MOST_ROWS;
            self.notes.push(format!("The chart `{}` shows only the first {rows} rows.", chart.name));
        }
        let drawn = chart::draw(chart, data)?;
        let Some(destination) = destination else { return Ok(()) };
        let files = [
            (format!("{}.svg", chart.name), drawn.svg),
            (format!("{}.vl.json", chart.name), drawn.vega_lite),
        ];
        for (name, content) in files {
            destination.put(&name, content.into_bytes().into()).await?;
        }
        Ok(())
    }

    async fn chart_data(&self, chart: &Chart, sql: &str) -> Result<ChartData, Failure> {
        let named = |failure: Failure| Failure {
            message: format!("Chart `{}`: {}", chart.name, failure.message),
            reason: failure.reason,
        };
        let context = self.engine.session(Joins::Hashed)?;
        let frame =
            query::plan(&context, sql, &self.engine.table_names(), self.limits).await.map_err(named)?;
        let schema: SchemaRef = Arc::clone(frame.schema().inner());
        chart::check_columns(chart, &schema)?;
        let frame = frame
            .limit(0, Some(chart::MOST_ROWS + 1))
            .map_err(|error| named(Failure::from_engine(&error, self.limits)))?;
        let (plan, mut rows) = self.execute(frame).await.map_err(named)?;
        let mut data = ChartData::new(&schema, &[chart]);
        while let Some(batch) = self.next(&mut rows).await.map_err(named)? {
            data.add(&batch)?;
        }
        self.count_rows(&plan);
        Ok(data)
    }
}
