//! The table in `tests/data`, in every format that a source can have.

use ai_saas_platform_tests::command::repository;
use ai_saas_platform_tests::table::Table;
use serde_json::{Value, json};

/// One file, and how it is read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its name in `tests/data`.
    pub(crate) name: &'static str,
    /// The fields of a source that say how it is read.
    pub(crate) reading: Value,
}

impl File {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(repository("tests/data").join(self.name)).expect("a file of the tests")
    }

    /// The source that reads it from a place.
    pub(crate) fn from(&self, place: &Value) -> Value {
        let mut source = json!({ "name": "measurements" });
        for fields in [&self.reading, place] {
            source.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        source
    }

    /// A name for objects made from that of the file.
    pub(crate) fn label(&self) -> String {
        self.name.trim_start_matches("measurements.").replace('.', "-")
    }
}

pub(crate) fn files() -> Vec<File> {
    let file = |name, reading| File { name, reading };
    // Dates have no type of their own in JSON.
    let dates = json!([{ "name": "measured_on", "type": "date" }]);
    vec![
        file("measurements.csv", json!({ "format": "csv" })),
        file("measurements.csv.gz", json!({ "format": "csv", "csv": { "compression": "gzip" } })),
        file("measurements.jsonl", json!({ "format": "jsonLines", "columns": dates })),
        file(
            "measurements.jsonl.gz",
            json!({ "format": "jsonLines", "columns": dates, "jsonLines": { "compression": "gzip" } }),
        ),
        file("measurements.parquet", json!({ "format": "parquet" })),
        file("measurements.arrow", json!({ "format": "arrow" })),
    ]
}

/// A query whose answer shows that types, missing values and text arrived.
pub(crate) const QUERY: &str = "\
    SELECT station, count(*) AS rows, sum(id) AS ids, avg(temperature) AS temperature, \
    min(measured_on) AS first, date_part('year', max(measured_on)) AS year, \
    count(*) FILTER (WHERE checked) AS checked \
    FROM measurements GROUP BY station ORDER BY station";

/// Its answer, computed by hand.
pub(crate) fn answer() -> Table {
    Table::parse(
        "station,rows,ids,temperature,first,year,checked\n\
         \"Port Stanley, West\",2,7,8,2023-12-24,2024,0\n\
         Reykjavík,3,9007199254740998,0.3333333333333333,2024-01-31,2024,2\n\
         \"the \"\"old\"\" mill\",1,3,,2024-03-01,2024,1\n",
    )
    .unwrap()
}
