use super::*;

fn column(name: &str, kind: &str) -> Column {
    Column { name: name.to_owned(), kind: kind.to_owned() }
}

fn flights() -> Table {
    let columns = [
        ("carrier", "string"),
        ("origin", "string"),
        ("dep_delay", "number"),
        ("arr_delay", "number"),
        ("distance", "integer"),
        ("passengers", "integer"),
        ("day", "date"),
        ("say \"hi\"", "integer"),
    ];
    Table {
        name: "flights".to_owned(),
        columns: columns.iter().map(|(name, kind)| column(name, kind)).collect(),
    }
}

fn order(input: &str) -> Order {
    serde_json::from_value(json!({
        "input": input,
        "data": [{ "name": "flights", "dataset": { "name": "flights" } }],
    }))
    .unwrap()
}

/// The query, without the quotes around plain names.
fn sql(input: &str) -> Option<String> {
    let (_, tasks) = derive(&order(input), &[flights()]);
    assert_eq!(tasks[0].name, "profile-flights");
    tasks.get(1).and_then(|task| task.analysis.as_ref()).map(|analysis| analysis.sql.clone())
}

#[test]
fn questions_become_queries() {
    for (input, expected) in [
        (
            "What is the average dep_delay?",
            r#"SELECT avg("dep_delay") AS "average_dep_delay" FROM "flights""#,
        ),
        (
            "Average arr delay by carrier",
            r#"SELECT "carrier", avg("arr_delay") AS "average_arr_delay" FROM "flights" GROUP BY "carrier" ORDER BY "average_arr_delay" DESC NULLS LAST LIMIT 100"#,
        ),
        (
            "Show me the mean of dep delays and arr delays for each origin and carrier.",
            r#"SELECT "origin", "carrier", avg("dep_delay") AS "average_dep_delay", avg("arr_delay") AS "average_arr_delay" FROM "flights" GROUP BY "origin", "carrier" ORDER BY "average_dep_delay" DESC NULLS LAST LIMIT 100"#,
        ),
        (
            "How many flights per carrier?",
            r#"SELECT "carrier", count(*) AS "count" FROM "flights" GROUP BY "carrier" ORDER BY "count" DESC NULLS LAST LIMIT 100"#,
        ),
        (
            "How many different origins are there?",
            r#"SELECT count(DISTINCT "origin") AS "distinct_origin" FROM "flights""#,
        ),
        (
            "minimum and maximum distance",
            r#"SELECT min("distance") AS "minimum_distance", max("distance") AS "maximum_distance" FROM "flights""#,
        ),
        (
            "Total of the distances, and their median distance",
            r#"SELECT sum("distance") AS "total_distance", median("distance") AS "median_distance" FROM "flights""#,
        ),
        (
            "Top 5 carriers by arr_delay",
            r#"SELECT "carrier", sum("arr_delay") AS "total_arr_delay" FROM "flights" GROUP BY "carrier" ORDER BY "total_arr_delay" DESC NULLS LAST LIMIT 5"#,
        ),
        (
            "top three origins by average distance",
            r#"SELECT "origin", avg("distance") AS "average_distance" FROM "flights" GROUP BY "origin" ORDER BY "average_distance" DESC NULLS LAST LIMIT 3"#,
        ),
        (
            "Which carrier has the lowest average dep_delay?",
            r#"SELECT "carrier", avg("dep_delay") AS "average_dep_delay" FROM "flights" GROUP BY "carrier" ORDER BY "average_dep_delay" ASC NULLS LAST LIMIT 100"#,
        ),
        (
            "What is the sum of \"say hi\"?",
            r#"SELECT sum("say ""hi""") AS "total_say ""hi""" FROM "flights""#,
        ),
    ] {
        assert_eq!(sql(input).as_deref(), Some(expected), "{input}");
    }
}

/// The query without its first word, and without quotes.
fn measured(input: &str) -> Option<String> {
    let sql = sql(input)?.replace('"', "");
    sql.strip_prefix("SELECT ").map(str::to_owned)
}

#[test]
fn what_is_least_comes_first_where_that_is_asked_for() {
    for (input, expected) in [
        (
            "Which carrier has the minimum distance?",
            "carrier, min(distance) AS minimum_distance FROM flights GROUP BY carrier \
             ORDER BY minimum_distance ASC NULLS LAST LIMIT 100",
        ),
        (
            "Which carrier has the minimum average distance?",
            "carrier, avg(distance) AS average_distance FROM flights GROUP BY carrier \
             ORDER BY average_distance ASC NULLS LAST LIMIT 100",
        ),
        (
            "Which carrier has the fewest flights?",
            "carrier, count(*) AS count FROM flights GROUP BY carrier ORDER BY count ASC NULLS LAST LIMIT 100",
        ),
        (
            "What is the earliest day by origin?",
            "origin, min(day) AS minimum_day FROM flights GROUP BY origin \
             ORDER BY minimum_day ASC NULLS LAST LIMIT 100",
        ),
        (
            "The bottom 3 origins by average distance",
            "origin, avg(distance) AS average_distance FROM flights GROUP BY origin \
             ORDER BY average_distance ASC NULLS LAST LIMIT 3",
        ),
        (
            "Top 5 carriers with the lowest average distance",
            "carrier, avg(distance) AS average_distance FROM flights GROUP BY carrier \
             ORDER BY average_distance ASC NULLS LAST LIMIT 5",
        ),
        // The groups are compared by what is asked for first.
        (
            "average and minimum distance by carrier",
            "carrier, avg(distance) AS average_distance, min(distance) AS minimum_distance FROM flights \
             GROUP BY carrier ORDER BY average_distance DESC NULLS LAST LIMIT 100",
        ),
    ] {
        assert_eq!(measured(input).as_deref(), Some(expected), "{input}");
    }
}

#[test]
fn one_point_in_time_is_found_by_what_is_measured_and_a_course_is_told_in_its_order() {
    for (input, order) in [
        ("Which day had the highest average distance?", "average_distance DESC NULLS LAST LIMIT 100"),
        ("On which day was the shortest distance flown?", "minimum_distance ASC NULLS LAST LIMIT 100"),
        ("Which day had the most flights?", "count DESC NULLS LAST LIMIT 100"),
        ("the lowest average distance per day", "average_distance ASC NULLS LAST LIMIT 100"),
        ("the highest distance per day", "day LIMIT 1000"),
        ("average distance of at least one flight per day", "day LIMIT 1000"),
    ] {
        let sql = measured(input).unwrap();
        assert!(sql.ends_with(&format!(" GROUP BY day ORDER BY {order}")), "{input}: {sql}");
    }
}

#[test]
fn what_is_counted_is_rows_or_values_or_numbers_that_are_there() {
    for (input, expected) in [
        ("How many carriers are there?", "count(DISTINCT carrier) AS distinct_carrier FROM flights"),
        (
            "The number of carriers and of the origins",
            "count(DISTINCT carrier) AS distinct_carrier, count(DISTINCT origin) AS distinct_origin FROM flights",
        ),
        ("How many flights are there?", "count(*) AS count FROM flights"),
        ("How many rows are there?", "count(*) AS count FROM flights"),
        ("How many flights have a carrier?", "count(*) AS count FROM flights"),
        // Not the carriers are counted.
        ("How many carrier changes are there?", "count(*) AS count FROM flights"),
        ("What is the maximum number of passengers?", "max(passengers) AS maximum_passengers FROM flights"),
        ("What is the average number of passengers?", "avg(passengers) AS average_passengers FROM flights"),
        ("The total number of the passengers", "sum(passengers) AS total_passengers FROM flights"),
        (
            "Which origin has the highest number of flights?",
            "origin, count(*) AS count FROM flights GROUP BY origin ORDER BY count DESC NULLS LAST LIMIT 100",
        ),
        (
            "Which origin has the lowest number of carriers?",
            "origin, count(DISTINCT carrier) AS distinct_carrier FROM flights GROUP BY origin \
             ORDER BY distinct_carrier ASC NULLS LAST LIMIT 100",
        ),
    ] {
        assert_eq!(measured(input).as_deref(), Some(expected), "{input}");
    }
}

#[test]
fn what_asks_for_nothing_to_compute_becomes_no_query() {
    for input in
        ["Describe these data", "Is dep_delay fine?", "The average carrier", "the maximum of something"]
    {
        assert_eq!(sql(input), None, "{input}");
    }
}

#[test]
fn a_plan_is_explained() {
    let (plan, _) = derive(&order("Average arr_delay by carrier"), &[flights()]);
    assert!(plan.is_derived);
    assert_eq!(
        plan.explanation,
        "No tasks were given. Planned are: a profile of `flights`; and the average of `arr_delay` by `carrier`, \
         because the input asks for it and `flights` has it."
    );
}

#[test]
fn groups_are_drawn() {
    let (_, tasks) = derive(&order("average distance per day"), &[flights()]);
    let analysis = tasks[1].analysis.as_ref().unwrap();
    assert!(analysis.sql.ends_with(r#" GROUP BY "day" ORDER BY "day" LIMIT 1000"#), "{}", analysis.sql);
    let chart: serde_json::Value = analysis.charts[0].read().unwrap();
    assert_eq!(chart["mark"], "line");
    assert_eq!(chart["encoding"]["xAxis"]["field"], "day");
    assert_eq!(chart["encoding"]["yAxis"]["field"], "average_distance");
    let charts = |input: &str| {
        let (_, tasks) = derive(&order(input), &[flights()]);
        tasks[1].analysis.as_ref().unwrap().charts.clone()
    };
    let drawn: serde_json::Value = charts("Which day had the highest average distance?")[0].read().unwrap();
    assert_eq!(drawn["mark"], "bar");
    assert_eq!(charts("How many carriers by origin?").len(), 1);
    // No bar is as long as a day.
    assert!(charts("What is the earliest day by origin?").is_empty());
}

#[test]
fn the_table_that_fits_best_is_asked() {
    let other = Table { name: "planes".to_owned(), columns: vec![column("distance", "integer")] };
    let mut order = order("average distance by carrier");
    order.data.insert(
        0,
        serde_json::from_value(json!({ "name": "planes", "dataset": { "name": "planes" } })).unwrap(),
    );
    let (_, tasks) = derive(&order, &[other, flights()]);
    assert_eq!(tasks.len(), 3);
    assert_eq!(tasks[2].analysis.as_ref().unwrap().data, ["flights"]);
}

#[test]
fn columns_are_asked_for_only_if_they_could_help() {
    assert!(needs_columns("average delay"));
    assert!(needs_columns("flights by carrier"));
    assert!(!needs_columns("Tell me about it"));
}

#[test]
fn what_cannot_be_computed_is_said_and_nothing_else_computed_for_it() {
    let asked = |input: &str| {
        let (plan, tasks) = derive(&order(input), &[flights()]);
        (tasks.len() - 1, plan.caveats, plan.explanation)
    };
    let (queries, caveats, explanation) = asked("What is the average origin by carrier?");
    assert_eq!(queries, 0);
    assert_eq!(
        caveats,
        [
            "No average of `origin` can be computed, because it is text. If its numbers have words such as NA among \
             them for what is missing, give the data again with these words as `nullValues`."
        ]
    );
    assert!(explanation.ends_with("What the input asks for cannot be computed, so there is no query."));
    let (queries, caveats, _) = asked("The average dep_delay and the median of day, by carrier?");
    assert_eq!(queries, 1, "what can be computed is");
    assert_eq!(caveats, ["No median of `day` can be computed, because its values are of the type date."]);
    assert_eq!(asked("The total of the carriers' distance").1, [""; 0]);
    assert_eq!(asked("What does it mean?").1, [""; 0]);
}
