use crds::analysis::{AnalysisSpecification, Source, UriSource};

/// What the temporary folder may hold of each kind, in bytes; `None` where only
/// the disk is the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Of what the engine spills.
    pub(super) spilled: Option<u64>,
    /// Of each file that is downloaded.
    pub(super) downloaded: Option<u64>,
    /// Of a result that is to become a version of a data set.
    pub(super) staged: Option<u64>,
}

impl Room {
    /// What is spilled, what is downloaded and the result have the same share
    /// each, those of them that there are.
    pub(super) fn shared(specification: &AnalysisSpecification, limit_bytes: Option<u64>) -> Self {
        let from_web = |uri: &UriSource| uri.url.starts_with("http");
        let is_download =
            |source: &&Source| source.dataset.is_some() || source.uri.as_ref().is_some_and(from_web);
        let downloads = specification.sources.iter().filter(is_download).count() as u64;
        let is_staged = specification.output.as_ref().is_some_and(|output| output.dataset.is_some());
        let kinds = 1 + u64::from(downloads > 0) + u64::from(is_staged);
        let share = limit_bytes.map(|limit| limit / kinds);
        Self {
            spilled: share,
            downloaded: share.and_then(|share| share.checked_div(downloads)),
            staged: share,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "they are made where they are passed")]
    fn room(sources: Value, output: Value) -> Room {
        let specification = json!({"sources": sources, "sql": "SELECT 1", "output": output});
        let specification = serde_json::from_value(specification).expect("specification");
        Room::shared(&specification, Some(1200))
    }

    #[test]
    fn each_kind_has_its_share() {
        let inline = json!({"name": "a", "format": "csv", "inline": "a\n"});
        let web = json!({"name": "b", "format": "csv", "uri": {"url": "https://example.org/b.csv"}});
        let bucket = json!({"name": "c", "format": "csv", "uri": {"url": "s3://bucket/c.csv"}});
        let dataset = json!({"name": "d", "dataset": {"name": "d"}});
        let config_map = json!({"format": "csv", "configMap": {}});
        let version = json!({"format": "csv", "dataset": {"name": "d"}});
        let shares = |room: Room| (room.spilled, room.downloaded);
        let alone = room(json!([inline, bucket]), config_map.clone());
        assert_eq!(shares(alone), (Some(1200), None));
        assert_eq!(shares(room(json!([inline, web]), config_map.clone())), (Some(600), Some(600)));
        assert_eq!(shares(room(json!([dataset, web]), config_map)), (Some(600), Some(300)));
        let all = room(json!([dataset, inline]), version);
        assert_eq!((all.spilled, all.downloaded, all.staged), (Some(400), Some(400), Some(400)));
    }
}
