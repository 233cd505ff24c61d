//! Analyses that need more memory than they may use.

use ai_saas_platform_tests::specification::{numbers, query, with};
use ai_saas_platform_tests::table::Table;
use ai_saas_platform_tests::{outcome, with_namespace};
use anyhow::Result;
use serde_json::{Value, json};

/// Rows of the cross join of the numbers with themselves.
const ROWS: u32 = 1500;

fn within(memory: &str, sql: &str) -> Value {
    let resources = json!({ "limits": { "memory": memory }, "requests": { "memory": memory } });
    with(query(numbers(ROWS), sql), json!({ "workload": { "resources": resources } }))
}

#[tokio::test]
async fn sorting_more_than_fits_succeeds_by_temporary_files() -> Result<()> {
    with_namespace(async |namespace| {
        // 2,250,000 rows of some 60 bytes.
        let sql = "SELECT max(place) AS rows, count(DISTINCT first) AS firsts FROM (\
            SELECT row_number() OVER (ORDER BY repeat(reverse(concat(a.n, '-', b.n)), 3)) AS place, a.n AS first \
            FROM numbers a CROSS JOIN numbers b)";
        let job = namespace.analyse_well("spilling", within("128Mi", sql)).await?;
        let expected = format!("rows,firsts\n{},{ROWS}\n", ROWS * ROWS);
        assert!(
            Table::parse(outcome::preview(&job))?.agrees_with(&Table::parse(&expected)?),
            "{}",
            outcome::preview(&job)
        );
        let peak = job.status.and_then(|status| status.peak_memory_bytes);
        assert!(peak < Some(128 * 1024 * 1024), "{peak:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_does_not_fit_even_so_is_told() -> Result<()> {
    with_namespace(async |namespace| {
        // One value that holds everything cannot be written to a file in parts.
        let sql = "SELECT length(string_agg(repeat(reverse(concat(a.n, '-', b.n)), 3), '')) AS l FROM numbers a CROSS JOIN numbers b";
        let job = namespace.analyse("exhausted", within("96Mi", sql)).await?;
        assert_eq!(outcome::reason(&job), "MemoryExhausted", "{}", outcome::in_words(&job));
        let expected = "The analysis needs more memory than its limit of 96 MiB allows, even with temporary files. \
            Create it again with a higher spec.workload.resources.limits.memory, or let the query join, sort or \
            group less at once.";
        assert_eq!(outcome::message(&job), expected);
        // It would only fail again.
        assert_eq!(job.status.and_then(|status| status.failed_attempts), Some(1));
        Ok(())
    })
    .await
}
