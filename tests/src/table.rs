//! Tables, as CSV has them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// A table: the names of its columns, and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values of each row, as text.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads CSV with a header.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().context("the header of the CSV")?.iter().map(str::to_owned).collect();
        let rows = reader
            .records()
            .map(|record| Ok(record?.iter().map(str::to_owned).collect()))
            .collect::<Result<_, csv::Error>>()
            .with_context(|| format!("the rows of the CSV:\n{text}"))?;
        Ok(Self { columns, rows })
    }

    /// The rows, each as values by the names of their columns.
    pub fn records(&self) -> impl Iterator<Item = BTreeMap<&str, &str>> {
        self.rows
            .iter()
            .map(|row| self.columns.iter().map(String::as_str).zip(row.iter().map(String::as_str)).collect())
    }

    /// Whether both tables have the same columns and rows, where numbers may
    /// be written in different ways and differ by what rounding leaves.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.rows.len() == other.rows.len()
            && self.rows.iter().zip(&other.rows).all(|(one, other)| {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| values_agree(one, other))
            })
    }
}

fn values_agree(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_when_their_values_do() {
        let table = |text| Table::parse(text).unwrap();
        assert!(table("a,b\n1.0,x\n").agrees_with(&table("a,b\n1,x\n")));
        assert!(!table("a,b\n1.0,x\n").agrees_with(&table("a,b\n1.1,x\n")));
        assert!(!table("a,b\n1,x\n").agrees_with(&table("a,b\n1,y\n")));
        assert!(!table("a,b\n1,x\n").agrees_with(&table("a,c\n1,x\n")));
        assert!(!table("a,b\n1,x\n").agrees_with(&table("a,b\n1,x\n1,x\n")));
    }
}
