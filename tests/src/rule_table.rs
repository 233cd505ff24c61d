//! What the CRD of AnalysisJob accepts, and what it refuses with which words.
//! The API server and the rules that the operator checks by itself are held
//! against the same table.

use serde_json::{Value, json};

use crate::specification::with;

/// Who finds the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody: it is accepted.
    Accepted,
    /// A CEL rule, which the operator checks as well, with this message.
    Rule(&'static str),
    /// The schema, with a message that contains this.
    Schema(&'static str),
}

/// An object, and what is thought of it.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What is particular to it.
    pub name: &'static str,
    /// The object.
    pub object: Value,
    /// What is thought of it.
    pub verdict: Verdict,
}

/// A change of an object that is accepted as it is, and what is thought of it.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is particular to it.
    pub name: &'static str,
    /// The object before.
    pub before: Value,
    /// The object after.
    pub after: Value,
    /// What is thought of it.
    pub verdict: Verdict,
}

const IMMUTABLE: &str = "the analysis cannot be changed: create a new AnalysisJob";
const ONE_PLACE: &str =
    "give exactly one of `inline`, `configMap`, `persistentVolumeClaim`, `uri` and `dataset`";
const ONE_ANALYSIS: &str = "give exactly one of `sql` and `profile`";
const ONE_OUTPUT: &str = "give exactly one of `configMap`, `persistentVolumeClaim`, `s3` and `dataset`";
const INSIDE: &str = "path is relative to the root of the volume and must not contain `..`";
const KNOWS_ITSELF: &str = "how a data set is read was said when it was uploaded: leave out `format`, `csv`, `jsonLines` and `columns`";
const S3_ONLY: &str = "`endpoint` and `region` go with an s3:// address";

/// Objects to create.
#[must_use]
pub fn creations() -> Vec<Creation> {
    let mut table = accepted();
    table.extend(refused_sources());
    table.extend(refused_specifications());
    table.extend(refused_by_schema());
    table
}

fn accepted() -> Vec<Creation> {
    let everything = json!({
        "sources": [
            {
                "name": "a", "format": "csv", "inline": "x\n1\n",
                "csv": { "header": true, "delimiter": "\\t", "quote": "'", "comment": "#", "nullValues": ["NA"], "compression": "zstd" },
                "columns": [{ "name": "x", "type": "decimal" }],
            },
            { "name": "b", "format": "jsonLines", "jsonLines": { "compression": "xz" }, "configMap": { "name": "m", "key": "k.jsonl" } },
            { "name": "c", "format": "parquet", "persistentVolumeClaim": { "claimName": "v", "path": "in/2024.." } },
            { "name": "_d", "format": "arrow", "uri": { "url": "s3://bucket/key/", "endpoint": "http://store:9000", "region": "eu-west-1", "secret": { "name": "s" } } },
            { "name": "e", "format": "csv", "uri": { "url": "https://example.org/data.csv" } },
        ],
        "sql": "SELECT 1",
        "charts": [{
            "name": "heat-map", "title": "Heat", "mark": "rect", "sql": "SELECT 1", "width": 100, "height": 4000,
            "encoding": {
                "xAxis": { "field": "x", "type": "ordinal" },
                "yAxis": { "field": "y", "type": "nominal", "title": "Y" },
                "color": { "field": "z", "type": "quantitative" },
            },
        }],
        "output": { "format": "arrow", "s3": { "url": "s3://bucket", "region": "eu-west-1", "secret": { "name": "s" } } },
        "suspend": true,
        "activeDeadlineSeconds": 1,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 0,
        "workload": {
            "replicas": 1,
            "image": "example.org/image:1",
            "imagePullPolicy": "Never",
            "resources": { "limits": { "memory": "2Gi" } },
            "env": [{ "name": "A", "value": "b" }],
            "securityContext": { "runAsUser": 1000, "fsGroup": 1000 },
        },
    });
    let profile = json!({
        "sources": [source()],
        "profile": { "source": "data", "columns": ["x"], "topValues": 0, "histogramBins": 1, "correlations": false },
        "charts": [chart(json!({ "sql": "SELECT x, x AS y FROM data" }))],
        "output": { "format": "jsonLines", "configMap": { "name": "profile.of-data" } },
    });
    let datasets = json!({
        "sources": [
            { "name": "a", "dataset": { "name": "flights-2013_01" } },
            { "name": "b", "dataset": { "name": "planes", "version": 3, "platform": "platform" } },
        ],
        "sql": "SELECT 1 AS x, 2 AS y",
        "charts": [chart(json!({}))],
        "output": { "format": "parquet", "dataset": { "name": "delays", "platform": "platform" } },
    });
    vec![
        row("a query and nothing else", minimal(), Verdict::Accepted),
        row("every field that data sets can have", datasets, Verdict::Accepted),
        row("every field that a query can have", everything, Verdict::Accepted),
        row("every field that a profile can have", profile, Verdict::Accepted),
        Creation {
            name: "a name of 52 characters",
            object: object(&"a".repeat(52), minimal()),
            verdict: Verdict::Accepted,
        },
    ]
}

fn refused_sources() -> Vec<Creation> {
    let of = |name, source, message| {
        row(name, json!({ "sources": [source], "sql": "SELECT 1" }), Verdict::Rule(message))
    };
    let uri = |fields: Value| json!({ "name": "data", "format": "csv", "uri": fields });
    let claim = |path: &str| json!({ "name": "data", "format": "csv", "persistentVolumeClaim": { "claimName": "v", "path": path } });
    vec![
        of("a source without a place", json!({ "name": "data", "format": "csv" }), ONE_PLACE),
        of("a source with two places", with(source(), json!({ "uri": { "url": "https://a/b" } })), ONE_PLACE),
        of(
            "a source called result",
            with(source(), json!({ "name": "result" })),
            "`result` is the name of the table with the result: choose another name",
        ),
        of(
            "csv options for JSON lines",
            with(source(), json!({ "format": "jsonLines", "csv": { "header": false } })),
            "`csv` options go with `format: csv`",
        ),
        of(
            "JSON lines options for csv",
            with(source(), json!({ "jsonLines": { "compression": "gzip" } })),
            "`jsonLines` options go with `format: jsonLines`",
        ),
        of(
            "columns for Parquet",
            json!({ "name": "data", "format": "parquet", "columns": [{ "name": "x", "type": "date" }], "uri": { "url": "https://a/b" } }),
            "`columns` go with csv and jsonLines: the other formats carry their types",
        ),
        of(
            "inline Parquet",
            with(source(), json!({ "format": "parquet" })),
            "inline data is text: use `format: csv` or `format: jsonLines`",
        ),
        of(
            "data of no format",
            json!({ "name": "data", "inline": "x\n1\n" }),
            "say in `format` which format the data has",
        ),
        of("a data set and a place", with(dataset(), json!({ "inline": "x\n1\n" })), ONE_PLACE),
        of("a data set with a format", with(dataset(), json!({ "format": "csv" })), KNOWS_ITSELF),
        of("a data set with options", with(dataset(), json!({ "csv": { "header": true } })), KNOWS_ITSELF),
        of(
            "a data set with types of columns",
            with(dataset(), json!({ "columns": [{ "name": "x", "type": "date" }] })),
            KNOWS_ITSELF,
        ),
        of("a path from the root", claim("/etc/passwd"), INSIDE),
        of("a path that leads up", claim("in/../../out"), INSIDE),
        of("an endpoint for https", uri(json!({ "url": "https://a/b", "endpoint": "https://c" })), S3_ONLY),
        of("a region for http", uri(json!({ "url": "http://a/b", "region": "eu-west-1" })), S3_ONLY),
    ]
}

fn refused_specifications() -> Vec<Creation> {
    let of = |name, fields, message| row(name, with(minimal(), fields), Verdict::Rule(message));
    let config_map = json!({ "format": "csv", "configMap": {} });
    vec![
        of("a query and a profile", json!({ "profile": { "source": "data" } }), ONE_ANALYSIS),
        row("neither a query nor a profile", json!({ "sources": [source()] }), Verdict::Rule(ONE_ANALYSIS)),
        row(
            "a profile of a source that is not there",
            json!({ "sources": [source()], "profile": { "source": "other" } }),
            Verdict::Rule("profile.source must be the name of one of the sources"),
        ),
        of(
            "charts without an output",
            json!({ "charts": [chart(json!({}))] }),
            "charts need an `output` to be written to",
        ),
        row(
            "a chart of a profile without a query",
            json!({ "sources": [source()], "profile": { "source": "data" }, "charts": [chart(json!({}))], "output": config_map }),
            Verdict::Rule("beside a profile each chart needs a `sql` of its own that selects its data"),
        ),
        of(
            "a heat map without colour",
            json!({ "charts": [chart(json!({ "mark": "rect" }))], "output": config_map }),
            "the mark `rect` shows its value by colour: give `encoding.color`",
        ),
        of(
            "more than one pod",
            json!({ "workload": { "replicas": 2 } }),
            "an AnalysisJob runs in one pod: leave `workload.replicas` out",
        ),
        of("an output without a place", json!({ "output": { "format": "csv" } }), ONE_OUTPUT),
        of(
            "an output with two places",
            json!({ "output": { "format": "csv", "configMap": {}, "persistentVolumeClaim": { "claimName": "v", "path": "out" } } }),
            ONE_OUTPUT,
        ),
        of(
            "an output to a data set and a ConfigMap",
            json!({ "output": { "format": "csv", "configMap": {}, "dataset": { "name": "d" } } }),
            ONE_OUTPUT,
        ),
        of(
            "an output above its volume",
            json!({ "output": { "format": "csv", "persistentVolumeClaim": { "claimName": "v", "path": ".." } } }),
            INSIDE,
        ),
        Creation {
            name: "a name of 53 characters",
            object: object(&"a".repeat(53), minimal()),
            verdict: Verdict::Rule(
                "metadata.name may have at most 52 characters: the names of the Job and of the result are made from it",
            ),
        },
    ]
}

fn refused_by_schema() -> Vec<Creation> {
    let of = |name, fields, message| row(name, with(minimal(), fields), Verdict::Schema(message));
    let named = |name: &str| json!({ "sources": [with(source(), json!({ "name": name }))] });
    let formatted = |format: &str| json!({ "sources": [with(source(), json!({ "format": format }))] });
    vec![
        of("no sources", json!({ "sources": [] }), "spec.sources"),
        of("two sources of one name", json!({ "sources": [source(), source()] }), "Duplicate value"),
        of("a source with a capital", named("Data"), "spec.sources[0].name"),
        of("a source that starts with a digit", named("1st"), "spec.sources[0].name"),
        of("a format that does not exist", formatted("excel"), "Unsupported value"),
        of("an empty query", json!({ "sql": "" }), "spec.sql"),
        of("a negative deadline", json!({ "activeDeadlineSeconds": -1 }), "spec.activeDeadlineSeconds"),
        of("a backoff limit beyond reason", json!({ "backoffLimit": 101 }), "spec.backoffLimit"),
        of("text for a number", json!({ "backoffLimit": "three" }), "spec.backoffLimit"),
        of("the user root", json!({ "workload": { "securityContext": { "runAsUser": 0 } } }), "runAsUser"),
        of(
            "an address of another scheme",
            json!({ "sources": [{ "name": "data", "format": "csv", "uri": { "url": "file:///etc/passwd" } }] }),
            "spec.sources[0].uri.url",
        ),
        of(
            "a data set of an impossible name",
            json!({ "sources": [{ "name": "data", "dataset": { "name": "Flights" } }] }),
            "spec.sources[0].dataset.name",
        ),
        of(
            "a version of a data set before the first",
            json!({ "sources": [{ "name": "data", "dataset": { "name": "flights", "version": 0 } }] }),
            "spec.sources[0].dataset.version",
        ),
        of(
            "a data set of a Platform of an impossible name",
            json!({ "output": { "format": "csv", "dataset": { "name": "d", "platform": "a/b" } } }),
            "spec.output.dataset.platform",
        ),
        of(
            "a ConfigMap of an impossible name",
            json!({ "output": { "format": "csv", "configMap": { "name": "Result_1" } } }),
            "spec.output.configMap.name",
        ),
        of(
            "an output to s3 without a Secret",
            json!({ "output": { "format": "csv", "s3": { "url": "s3://bucket/prefix" } } }),
            "spec.output.s3.secret",
        ),
        of(
            "a chart with a mark that does not exist",
            json!({ "charts": [chart(json!({ "mark": "pie" }))], "output": { "format": "csv", "configMap": {} } }),
            "Unsupported value",
        ),
    ]
}

/// Changes of objects.
#[must_use]
pub fn changes() -> Vec<Change> {
    let query = with(
        minimal(),
        json!({ "output": { "format": "csv", "configMap": {} }, "charts": [chart(json!({}))], "suspend": true }),
    );
    let profile = json!({ "sources": [source()], "profile": { "source": "data" }, "suspend": true });
    let of = |name, before: &Value, after: Value, verdict| Change {
        name,
        before: object("table", before.clone()),
        after: object("table", after),
        verdict,
    };
    let how = json!({
        "suspend": false, "activeDeadlineSeconds": 60, "backoffLimit": 1, "ttlSecondsAfterFinished": 60,
        "workload": { "resources": { "limits": { "memory": "2Gi" } } },
    });
    let refused = Verdict::Rule(IMMUTABLE);
    let other_source = json!({ "sources": [with(source(), json!({ "inline": "x,y\n2,2\n" }))] });
    let second_source = json!({ "sources": [source(), with(source(), json!({ "name": "more" }))] });
    vec![
        of("nothing", &query, query.clone(), Verdict::Accepted),
        of("how it runs", &query, with(query.clone(), how), Verdict::Accepted),
        of("the query", &query, with(query.clone(), json!({ "sql": "SELECT 2" })), refused),
        of("the data", &query, with(query.clone(), other_source), refused),
        of("one more source", &query, with(query.clone(), second_source), refused),
        of(
            "the format of the result",
            &query,
            with(query.clone(), json!({ "output": { "format": "arrow", "configMap": {} } })),
            refused,
        ),
        of("no charts any more", &query, without(&query, "charts"), refused),
        of(
            "no output any more",
            &without(&query, "charts"),
            without(&without(&query, "charts"), "output"),
            refused,
        ),
        of(
            "an output where there was none",
            &minimal(),
            with(minimal(), json!({ "output": { "format": "csv", "configMap": {} } })),
            refused,
        ),
        of(
            "another chart",
            &query,
            with(query.clone(), json!({ "charts": [chart(json!({ "mark": "bar" }))] })),
            refused,
        ),
        of(
            "the profile",
            &profile,
            with(profile.clone(), json!({ "profile": { "source": "data", "topValues": 3 } })),
            refused,
        ),
        of(
            "a profile in place of the query",
            &minimal(),
            without(&with(minimal(), json!({ "profile": { "source": "data" } })), "sql"),
            refused,
        ),
    ]
}

fn row(name: &'static str, spec: Value, verdict: Verdict) -> Creation {
    Creation { name, object: object("table", spec), verdict }
}

fn object(name: &str, spec: Value) -> Value {
    let mut object =
        json!({ "apiVersion": "aisaas.dev/v1alpha1", "kind": "AnalysisJob", "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

fn minimal() -> Value {
    json!({ "sources": [source()], "sql": "SELECT 1" })
}

fn source() -> Value {
    json!({ "name": "data", "format": "csv", "inline": "x,y\n1,1\n" })
}

fn dataset() -> Value {
    json!({ "name": "data", "dataset": { "name": "flights" } })
}

fn chart(fields: Value) -> Value {
    let chart = json!({ "name": "chart", "mark": "point", "encoding": { "xAxis": { "field": "x" }, "yAxis": { "field": "y" } } });
    with(chart, fields)
}

fn without(specification: &Value, field: &str) -> Value {
    let mut specification = specification.clone();
    if let Some(fields) = specification.as_object_mut() {
        fields.remove(field);
    }
    specification
}
