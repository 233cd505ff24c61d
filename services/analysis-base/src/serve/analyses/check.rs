//! What is wrong with what a client asks for.

use std::path::PathBuf;

use crds::analysis::SourceFormat;
use service_kit::Problem;

use super::request::{AnalysisRequest, AnalysisSource, Input, LONGEST_DEADLINE};
use crate::serve::datasets::{DatasetName, ReadOptions};
use crate::serve::place::Place;
use crate::serve::schema;

impl AnalysisRequest {
    /// Checks all that can be checked without data. Sources that may be private
    /// have to be allowed.
    ///
    /// # Errors
    /// 422, with all that is wrong.
    pub fn check(&self, allow_private: bool) -> Result<(), Problem> {
        let mut problems = self.refused(allow_private);
        if problems.is_empty() {
            // What the data sets are does not matter for the rules.
            let inputs = self.datasets().map(|(name, _)| (name.to_owned(), Input::unknown())).collect();
            let specification = self.specification(&inputs, &Place::Folder(PathBuf::new()));
            problems.extend(schema::check(&specification).err().into_iter().flatten());
        }
        if problems.is_empty() {
            return Ok(());
        }
        let detail = format!("The analysis cannot be run: {}.", problems.join("; "));
        Err(Problem::unprocessable(detail).with("problems", problems))
    }

    /// What is not of this API, or cannot be together.
    fn refused(&self, allow_private: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if self.output.is_some() {
            problems.push(
                "output: results are kept by the service: leave it out, and get the result at /v1/analyses/{id}/result"
                    .to_owned(),
            );
        }
        if let Some(seconds) = self.active_deadline_seconds
            && !(1..=LONGEST_DEADLINE).contains(&seconds)
        {
            problems.push(format!(
                "activeDeadlineSeconds: from 1 to {LONGEST_DEADLINE} are accepted, not {seconds}: for longer ones \
                 there is the AnalysisJob"
            ));
        }
        for (index, source) in self.sources.iter().enumerate() {
            problems.extend(
                source.refused(allow_private).into_iter().map(|problem| format!("sources[{index}]{problem}")),
            );
        }
        let duplicate = (1..self.sources.len())
            .find(|index| self.sources[..*index].iter().any(|other| other.name == self.sources[*index].name));
        if let Some(index) = duplicate {
            problems.push(format!("sources[{index}].name: another source has the same name"));
        }
        problems
    }
}

impl AnalysisSource {
    fn refused(&self, allow_private: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if self.config_map.is_some() {
            problems.push(
                ".configMap: this service has no ConfigMaps: upload a data set, or use `inline`".to_owned(),
            );
        }
        if self.persistent_volume_claim.is_some() {
            problems.push(".persistentVolumeClaim: this service has no claims: upload a data set".to_owned());
        }
        if self.uri.as_ref().is_some_and(|uri| uri.secret.is_some()) {
            problems.push(
                ".uri.secret: this service has no Secrets: upload a data set, or use an AnalysisJob"
                    .to_owned(),
            );
        }
        // The client of a store looks at no address before it connects to it.
        if !allow_private
            && let Some(uri) = &self.uri
            && (uri.endpoint.is_some() || uri.url.starts_with("s3://"))
        {
            problems.push(
                ".uri: this service reads no buckets: upload a data set, or let the administrator allow private \
                 sources (spec.allowPrivateAddresses of the Platform)"
                    .to_owned(),
            );
        }
        if !problems.is_empty() {
            return problems;
        }
        let given = [self.dataset.is_some(), self.inline.is_some(), self.uri.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            problems.push(": give exactly one of `dataset`, `inline` and `uri`".to_owned());
        }
        if let Some(dataset) = &self.dataset
            && let Err(problem) = DatasetName::parse(&dataset.name)
        {
            problems.push(format!(".dataset.name: {}", problem.detail.trim_end_matches('.')));
        }
        let is_described = self.format.is_some()
            || self.csv.is_some()
            || self.json_lines.is_some()
            || !self.columns.is_empty();
        match (self.dataset.is_some(), self.format.is_some()) {
            (true, _) if is_described => problems.push(
                ": how a data set is read was said when it was uploaded: leave out `format`, `csv`, `jsonLines` and \
                 `columns`"
                    .to_owned(),
            ),
            (false, false) => problems.push(".format: say which format the data has".to_owned()),
            _ => {}
        }
        problems
    }
}

impl Input {
    fn unknown() -> Self {
        Self {
            id: "unknown".to_owned(),
            name: String::new(),
            format: SourceFormat::Csv,
            options: ReadOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crds::analysis::JsonLinesOptions;
    use serde_json::{Value, json};

    use super::*;

    fn problem(request: Value) -> String {
        let request: AnalysisRequest = serde_json::from_value(request).expect("request");
        request.check(false).err().map(|problem| problem.detail).unwrap_or_default()
    }

    #[test]
    fn what_an_analysis_job_may_be_is_accepted() {
        let request = json!({
            "sources": [
                {"name": "t", "format": "csv", "inline": "a\n1\n"},
                {"name": "d", "dataset": {"name": "flights"}},
                {"name": "w", "format": "parquet", "uri": {"url": "https://example.com/x.parquet"}}
            ],
            "sql": "SELECT 1",
            "activeDeadlineSeconds": 60
        });
        assert_eq!(problem(request), "");
    }

    #[test]
    fn what_a_service_has_not_is_refused_with_what_to_do_instead() {
        let source = |source: Value| problem(json!({"sources": [source], "sql": "SELECT 1"}));
        let config_map = json!({"name": "t", "format": "csv", "configMap": {"name": "c", "key": "k"}});
        assert_eq!(
            source(config_map),
            "The analysis cannot be run: sources[0].configMap: this service has no ConfigMaps: upload a data set, or \
             use `inline`."
        );
        let claim =
            json!({"name": "t", "format": "csv", "persistentVolumeClaim": {"claimName": "c", "path": "p"}});
        assert!(source(claim).contains("sources[0].persistentVolumeClaim: "));
        let secret =
            json!({"name": "t", "format": "csv", "uri": {"url": "s3://b/k", "secret": {"name": "s"}}});
        assert!(source(secret).contains("sources[0].uri.secret: "));
        let output = json!({"sources": [], "sql": "SELECT 1", "output": {"format": "csv"}});
        assert!(problem(output).contains("output: results are kept by the service"));
    }

    #[test]
    fn buckets_are_read_only_where_private_sources_are_allowed() {
        for uri in [
            json!({"url": "s3://bucket/key"}),
            json!({"url": "https://example.com/x", "endpoint": "http://store.internal"}),
        ] {
            let source = json!({"name": "t", "format": "csv", "uri": uri});
            let refused = problem(json!({"sources": [source], "sql": "SELECT 1"}));
            assert!(refused.contains("spec.allowPrivateAddresses of the Platform"), "{refused}");
        }
        let source = json!({"name": "t", "format": "csv", "uri": {"url": "s3://bucket/key"}});
        let request = json!({"sources": [source], "sql": "SELECT 1"});
        let request: AnalysisRequest = serde_json::from_value(request).expect("request");
        assert!(request.check(true).is_ok());
    }

    #[test]
    fn a_source_is_one_thing() {
        let source = |source: Value| problem(json!({"sources": [source], "sql": "SELECT 1"}));
        assert!(source(json!({"name": "t"})).contains("sources[0]: give exactly one of"));
        assert!(
            source(json!({"name": "t", "inline": "a", "dataset": {"name": "d"}}))
                .contains("give exactly one")
        );
        assert!(source(json!({"name": "t", "inline": "a"})).contains("sources[0].format: say which"));
        let described = json!({"name": "t", "format": "csv", "dataset": {"name": "d"}});
        assert!(source(described).contains("was said when it was uploaded"));
        let nameless = source(json!({"name": "t", "dataset": {"name": "a\u{0}"}}));
        assert!(nameless.contains("sources[0].dataset.name: "), "{nameless}");
        let twice = json!([{"name": "t", "dataset": {"name": "d"}}, {"name": "t", "dataset": {"name": "d"}}]);
        let twice = problem(json!({"sources": twice, "sql": "SELECT 1"}));
        assert!(twice.contains("sources[1].name: another source"), "{twice}");
    }

    #[test]
    fn the_rules_of_an_analysis_job_hold() {
        let source = json!({"name": "t", "format": "csv", "inline": "a\n1\n"});
        let neither = problem(json!({"sources": [source]}));
        assert_eq!(neither, "The analysis cannot be run: give exactly one of `sql` and `profile`.");
        let named = json!({"name": "result", "dataset": {"name": "d"}});
        assert!(problem(json!({"sources": [named], "sql": "SELECT 1"})).contains("choose another name"));
        let unknown = json!({"sources": [], "query": "SELECT 1"});
        assert!(serde_json::from_value::<AnalysisRequest>(unknown).is_err());
    }

    #[test]
    fn a_data_set_is_read_as_its_version_says() {
        let request = json!({"sources": [{"name": "d", "dataset": {"name": "flights"}}], "sql": "SELECT 1"});
        let request: AnalysisRequest = serde_json::from_value(request).expect("request");
        let input = Input {
            id: "0198".to_owned(),
            name: "flights".to_owned(),
            format: SourceFormat::JsonLines,
            options: ReadOptions { json_lines: Some(JsonLinesOptions::default()), ..ReadOptions::default() },
        };
        let inputs = HashMap::from([("d".to_owned(), input)]);
        let specification = request.specification(&inputs, &Place::Folder("/data".into()));
        let source = &specification.sources[0];
        assert_eq!(source.format, Some(SourceFormat::JsonLines));
        assert!(source.json_lines.is_some());
        let claim = source.persistent_volume_claim.as_ref().expect("claim");
        assert_eq!((claim.claim_name.as_str(), claim.path.as_str()), ("objects", "datasets/0198/data"));
        let pinned = request.pinned(&HashMap::from([("d".to_owned(), 4)]));
        assert_eq!(pinned.sources[0].dataset.as_ref().and_then(|dataset| dataset.version), Some(4));
    }
}
