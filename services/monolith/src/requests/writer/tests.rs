use serde_json::json;

use super::*;

fn task(value: Value) -> Task {
    serde_json::from_value(value).unwrap()
}

fn text(status: RequestStatus, tasks: &[Task]) -> String {
    let reached = RequestStatus::Running;
    Template.text(&Material { input: "What is in it?", status, reached, caveats: &[], tasks })
}

#[test]
fn one_row_is_a_sentence_and_more_are_a_list() {
    let one = task(json!({
        "name": "query", "status": "succeeded", "analysis": { "sql": "SELECT 1" },
        "result": {
            "columns": [{ "name": "average_delay", "type": "number" }, { "name": "count", "type": "integer" }],
            "rows": [{ "average_delay": 12.6391, "count": 336_776 }], "total": 1, "url": "/r",
        },
    }));
    assert_eq!(text(RequestStatus::Succeeded, &[one]), "Average delay is 12.64 and count is 336,776.");
    let rows: Vec<Value> = (0..12).map(|row| json!({ "carrier": format!("C{row}"), "delay": row })).collect();
    let many = task(json!({
        "name": "delays", "status": "succeeded", "analysis": { "sql": "SELECT 1" },
        "result": {
            "columns": [{ "name": "carrier", "type": "string" }, { "name": "delay", "type": "integer" }],
            "rows": rows, "total": 1200, "url": "/r",
        },
    }));
    let told = text(RequestStatus::Succeeded, &[many]);
    assert!(
        told.starts_with(
            "The query `delays` returns 1,200 rows; the first 10 are (carrier, delay):\n- C0, 0\n"
        ),
        "{told}"
    );
    assert_eq!(told.lines().count(), 11);
}

#[test]
fn years_and_ids_are_no_amounts() {
    let by_year = task(json!({
        "name": "query", "status": "succeeded", "analysis": { "sql": "SELECT 1" },
        "result": {
            "columns": [
                { "name": "year", "type": "integer" },
                { "name": "id", "type": "integer" },
                { "name": "count", "type": "integer" },
            ],
            "rows": [
                { "year": 2013, "id": 1545, "count": 336_776 },
                { "year": 2014, "id": 9_007_199_254_740_993_i64, "count": 12 },
            ],
            "total": 2, "url": "/r",
        },
    }));
    assert_eq!(
        text(RequestStatus::Succeeded, &[by_year]),
        "The query `query` returns 2 rows (year; id; count):\n- 2013; 1545; 336,776\n- 2014; 9007199254740993; 12"
    );
    let last = task(json!({
        "name": "query", "status": "succeeded", "analysis": { "sql": "SELECT 1" },
        "result": {
            "columns": [{ "name": "maximum_year", "type": "integer" }, { "name": "total_seats", "type": "number" }],
            "rows": [{ "maximum_year": 2013, "total_seats": 1e6 }], "total": 1, "url": "/r",
        },
    }));
    assert_eq!(text(RequestStatus::Succeeded, &[last]), "Maximum year is 2013 and total seats is 1,000,000.");
}

#[test]
fn a_profile_is_told_column_by_column() {
    let profile = task(json!({
        "name": "profile-flights", "status": "succeeded", "profile": { "data": "flights" },
        "result": {
            "columns": [],
            "rows": [
                {
                    "column": "dep_delay", "type": "number", "count": 1000, "nulls": 24, "distinct": 500,
                    "approximate": true, "minimum": "-43", "maximum": "1301", "mean": 12.639,
                    "top_values": [{ "value": "-5", "count": 70 }, { "value": "-4", "count": 60 }],
                },
                {
                    "column": "id", "type": "string", "count": 1000, "nulls": 0, "distinct": 1000,
                    "approximate": false, "minimum": "a", "maximum": "z", "mean": null,
                    "top_values": [{ "value": "a", "count": 1 }],
                },
            ],
            "total": 2, "url": "/r",
        },
    }));
    assert_eq!(
        text(RequestStatus::Succeeded, &[profile]),
        "`flights` has 1,000 rows and 2 columns.\n\
         - `dep_delay` (number): from -43 to 1301; 12.64 on average; about 500 different values; most often -5 (70) \
         and -4 (60); 24 missing (2.4 %)\n\
         - `id` (string): from a to z; 1,000 different values; none missing"
    );
}

#[test]
fn what_went_wrong_is_told_as_well() {
    let failed = task(json!({
        "name": "query", "status": "failed", "analysis": { "sql": "SELECT nope" },
        "problem": { "detail": "The query names a column `nope` that is not there." },
    }));
    assert_eq!(
        text(RequestStatus::Failed, &[failed]),
        "The task `query` has failed: The query names a column `nope` that is not there."
    );
    assert_eq!(text(RequestStatus::Cancelled, &[]), "The request was cancelled before its end.");
}

#[test]
fn a_request_that_nothing_was_begun_for_says_why() {
    let told = |reached: RequestStatus| {
        let status = RequestStatus::Failed;
        Template.text(&Material { input: "What is in it?", status, reached, caveats: &[], tasks: &[] })
    };
    assert_eq!(
        told(RequestStatus::Queued),
        "The turn of the request did not come before its deadline, `deadlineAt`: too many others were before it, or \
         the gateway was away. Make it again with a larger `deadlineSeconds`, or later."
    );
    assert_eq!(
        told(RequestStatus::Planning),
        "The deadline of the request, `deadlineAt`, has passed before it was known what to do about it. Make it \
         again with a larger `deadlineSeconds`, or later."
    );
}

#[test]
fn numbers_are_readable() {
    for (number, expected) in [
        (0.0, "0"),
        (-0.0, "0"),
        (-1234.0, "-1,234"),
        (1234.5678, "1234.6"),
        (12.5, "12.5"),
        (0.5, "0.5"),
        (0.123_456, "0.1235"),
        (0.999_99, "1"),
        (0.000_123_4, "0.0001234"),
        (0.000_03, "0.00003"),
        (-0.000_03, "-0.00003"),
        (0.000_000_1, "1e-7"),
        (-1.234_56e-20, "-1.235e-20"),
        (1e18, "1000000000000000000"),
        (1e300, "1e300"),
    ] {
        assert_eq!(figure(number), expected);
    }
    assert_eq!(plain(2013.0), "2013");
}

#[test]
fn rows_that_are_too_long_are_counted() {
    let wide = task(json!({
        "name": "wide", "status": "succeeded", "analysis": { "sql": "SELECT 1" },
        "result": { "columns": [{ "name": "text", "type": "string" }], "rows": [], "total": 1200, "url": "/r" },
    }));
    let told = text(RequestStatus::Succeeded, &[wide]);
    assert_eq!(told, "The query `wide` returns 1,200 rows, which are too long to be told here.");
}

#[test]
fn what_the_data_cannot_give_is_said_first() {
    let caveats = ["No average of `mass` can be computed, because it is text.".to_owned()];
    let (status, reached) = (RequestStatus::Succeeded, RequestStatus::Running);
    let profile = task(json!({
        "name": "profile-m", "status": "succeeded", "profile": { "data": "m" },
        "result": {
            "columns": [], "total": 1, "url": "/r",
            "rows": [{ "column": "mass", "type": "string", "count": 2, "nulls": 0 }],
        },
    }));
    let material = Material { input: "Average mass?", status, reached, caveats: &caveats, tasks: &[profile] };
    assert!(Template.text(&material).starts_with(&format!("{}\n\n`m` has 2 rows", caveats[0])));
}
