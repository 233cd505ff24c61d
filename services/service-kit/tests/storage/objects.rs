use std::fs;

use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use service_kit::objects::{ObjectError, ObjectSettings, Objects, Upload};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::bucket::Bucket;
use crate::place::eventually;

/// Larger than three parts of an upload to a bucket.
const LARGE: usize = 25 << 20;

/// The same tests in a folder and in a bucket.
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        mod in_a_folder {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Kept::in_a_folder()).await;
                }
            )+
        }

        mod in_a_bucket {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Kept::in_a_bucket()).await;
                }
            )+
        }
    };
}

everywhere!(
    large_and_small_objects_come_back_as_they_were,
    parts_of_objects,
    nobody_sees_what_is_not_finished,
    what_is_given_up_leaves_nothing,
    objects_are_listed_and_removed,
    keys_are_checked,
);

struct Kept {
    objects: Objects,
    bucket: Option<Bucket>,
    folder: TempDir,
}

impl Kept {
    fn in_a_folder() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("objects of 100% #1?");
        let settings: ObjectSettings =
            serde_json::from_value(json!({"folder": {"path": path}})).expect("settings");
        let objects = Objects::open(&settings).expect("open");
        Self { objects, bucket: None, folder }
    }

    fn in_a_bucket() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("AWS_ACCESS_KEY_ID"), "key\n").expect("write");
        fs::write(folder.path().join("AWS_SECRET_ACCESS_KEY"), "secret\n").expect("write");
        let bucket = Bucket::start();
        let s3 = json!({
            "url": "s3://lake/services/kit",
            "endpoint": bucket.endpoint,
            "region": null,
            "credentialsFolder": folder.path(),
        });
        let settings: ObjectSettings = serde_json::from_value(json!({"s3": s3})).expect("settings");
        let objects = Objects::open(&settings).expect("open");
        Self { objects, bucket: Some(bucket), folder }
    }

    /// What has begun and is not finished.
    fn incomplete(&self) -> usize {
        match &self.bucket {
            Some(bucket) => bucket.state().uploads.len(),
            None => {
                let staging = self.folder.path().join("objects of 100% #1?/.partial");
                fs::read_dir(staging).expect("staging").count()
            }
        }
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects.list(prefix).expect("list");
        let mut keys: Vec<String> = listed.map_ok(|object| object.key).try_collect().await.expect("list");
        keys.sort();
        keys
    }

    async fn read(&self, key: &str) -> Bytes {
        let content = self.objects.read(key).await.expect("read");
        content.collect(LARGE).await.expect("content")
    }
}

fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// Writes in chunks of an odd size.
async fn write(upload: &mut Upload, content: &Bytes) {
    for chunk in content.chunks(77_777) {
        upload.write(Bytes::copy_from_slice(chunk)).await.expect("write");
    }
}

async fn large_and_small_objects_come_back_as_they_were(kept: Kept) {
    for (key, bytes) in [("empty", 0), ("small", 10), ("datasets/1/large.parquet", LARGE)] {
        let content = content(bytes);
        let mut upload = kept.objects.create(key).await.expect("create");
        write(&mut upload, &content).await;
        assert_eq!(upload.bytes(), bytes as u64);
        let written = upload.finish().await.expect("finish");
        assert_eq!((written.key.as_str(), written.bytes), (key, bytes as u64));
        assert_eq!(written.sha256, format!("{:x}", Sha256::digest(&content)));
        assert!(kept.read(key).await == content, "{key}");
        let object = kept.objects.head(key).await.expect("head");
        assert_eq!((object.key.as_str(), object.bytes), (key, bytes as u64));
        assert!(object.modified_at > 1_700_000_000_000);
    }
    assert_eq!(kept.incomplete(), 0);
    let error = kept.objects.read("small").await.expect("read").collect(9).await.expect_err("too large");
    assert!(matches!(error, ObjectError::TooLarge { most: 9, .. }), "{error:?}");
}

async fn parts_of_objects(kept: Kept) {
    let content = content(1 << 20);
    kept.objects.put("a/b", content.clone()).await.expect("put");
    for (start, end) in [(0, 1), (0, 1 << 20), (300_000, 900_000), ((1 << 20) - 1, 1 << 20)] {
        let part = kept.objects.read_range("a/b", start..end).await.expect("read");
        assert_eq!((part.range.clone(), part.object.bytes), (start..end, 1 << 20));
        let expected =
            content.slice(usize::try_from(start).expect("start")..usize::try_from(end).expect("end"));
        assert!(part.collect(1 << 20).await.expect("content") == expected, "{start}..{end}");
    }
    let part = kept.objects.read_range("a/b", (1 << 20) - 5..u64::MAX / 2).await.expect("to the end");
    assert_eq!(part.collect(10).await.expect("content"), content.slice((1 << 20) - 5..));
    for (start, end) in [(1 << 20, 1 << 21), (5, 5)] {
        let error = kept.objects.read_range("a/b", start..end).await.expect_err("no such part");
        assert!(matches!(error, ObjectError::InvalidRange { bytes: 1_048_576, .. }), "{error:?}");
    }
    let error = kept.objects.read_range("a/c", 0..1).await.expect_err("no such object");
    assert!(matches!(error, ObjectError::NotFound { .. }), "{error:?}");
}

async fn nobody_sees_what_is_not_finished(kept: Kept) {
    kept.objects.put("a", content(10)).await.expect("put");
    let mut upload = kept.objects.create("a").await.expect("create");
    write(&mut upload, &content(LARGE)).await;
    assert_eq!(kept.read("a").await, content(10));
    assert_eq!(kept.keys("").await, ["a"]);
    upload.finish().await.expect("finish");
    assert!(kept.read("a").await == content(LARGE));
}

async fn what_is_given_up_leaves_nothing(kept: Kept) {
    for is_aborted in [true, false] {
        let mut upload = kept.objects.create("a/b").await.expect("create");
        write(&mut upload, &content(LARGE)).await;
        assert_eq!(kept.incomplete(), 1);
        if is_aborted {
            upload.abort().await;
        } else {
            drop(upload);
        }
        eventually("nothing is left", async || kept.incomplete() == 0).await;
    }
    assert!(kept.keys("").await.is_empty());
    let error = kept.objects.read("a/b").await.expect_err("never finished");
    assert!(matches!(error, ObjectError::NotFound { .. }), "{error:?}");
}

async fn objects_are_listed_and_removed(kept: Kept) {
    for key in ["a/1", "a/b/2", "ab/3", "c"] {
        kept.objects.put(key, content(1)).await.expect("put");
    }
    assert_eq!(kept.keys("").await, ["a/1", "a/b/2", "ab/3", "c"]);
    assert_eq!(kept.keys("a").await, ["a/1", "a/b/2"]);
    assert!(kept.keys("nothing").await.is_empty());

    kept.objects.delete("c").await.expect("delete");
    kept.objects.delete("c").await.expect("delete what is not there");
    kept.objects.delete_all("a").await.expect("delete all");
    assert_eq!(kept.keys("").await, ["ab/3"]);
    assert!(kept.objects.delete_all("").await.is_err());
    // Folders that have become empty do not stay behind, nor are they in the way.
    kept.objects.put("a", content(1)).await.expect("put");
}

async fn keys_are_checked(kept: Kept) {
    for key in ["", "../a", "a/../../b", "/etc/passwd", ".partial/a", "a#1", "a b"] {
        let error = kept.objects.create(key).await.expect_err(key);
        assert!(matches!(error, ObjectError::InvalidKey { .. }), "{error:?}");
        assert!(kept.objects.read(key).await.is_err());
        assert!(kept.objects.delete(key).await.is_err());
    }
}

#[tokio::test]
async fn many_write_and_remove_in_the_same_folder() {
    let kept = Kept::in_a_folder();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let objects = kept.objects.clone();
        tasks.spawn(async move {
            for round in 0..30 {
                let key = format!("shared/{task}/{round}");
                objects.put(&key, content(100)).await.expect("put");
                objects.delete(&key).await.expect("delete");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("task");
    }
    assert!(kept.keys("").await.is_empty());
}

#[tokio::test]
async fn a_full_store_is_told_and_leaves_nothing() {
    let kept = Kept::in_a_bucket();
    let bucket = kept.bucket.as_ref().expect("bucket");
    // Not one of those after which the client tries again for a while.
    bucket.state().refusal = Some("400 Bad Request");
    let mut upload = kept.objects.create("a").await.expect("create");
    let error = loop {
        if let Err(error) = upload.write(content(1 << 20)).await {
            break error;
        }
    };
    assert!(matches!(error, ObjectError::Full { .. }), "{error:?}");
    let error = upload.write(content(1)).await.expect_err("broken");
    assert!(matches!(error, ObjectError::Broken { .. }), "{error:?}");
    let error = upload.finish().await.expect_err("broken");
    assert!(matches!(error, ObjectError::Broken { .. }), "{error:?}");
    eventually("nothing is left", async || kept.incomplete() == 0).await;

    let error = kept.objects.put("a", content(10)).await.expect_err("full");
    assert!(matches!(error, ObjectError::Full { .. }), "{error:?}");
    bucket.state().refusal = None;
    kept.objects.put("a", content(10)).await.expect("put");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    for url in ["lake/prefix", "s3://", "s3:///prefix", "s3://lake/../x"] {
        let s3 = json!({"url": url, "credentialsFolder": folder.path()});
        let settings: ObjectSettings = serde_json::from_value(json!({"s3": s3})).expect("settings");
        let error = Objects::open(&settings).expect_err("refused");
        assert!(matches!(error, ObjectError::Configuration { .. }), "{error:?}");
    }
    let s3 = json!({"url": "s3://lake", "credentialsFolder": folder.path()});
    let settings: ObjectSettings = serde_json::from_value(json!({"s3": s3})).expect("settings");
    let error = Objects::open(&settings).expect_err("no credentials").to_string();
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
}
