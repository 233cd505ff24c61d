//! Why an analysis failed, in words for a client, who knows nothing of processes
//! and has no pod whose limits could be raised.

use crds::analysis::FailureReason;

use super::request::Inputs;
use crate::failure::{DISK_ADVICE, Size};
use crate::serve::datasets::data_object;
use crate::serve::place::Place;
use crate::serve::shares::Share;
use crate::source::{CREDENTIALS_ADVICE, DENIED_ADVICE, DOWNLOAD_ADVICE};

/// What a process advises, for an AnalysisJob, and what helps here.
const ADVICE: [(&str, &str); 4] = [
    (DOWNLOAD_ADVICE, "Upload it as a data set, or give analysis-base more ephemeral storage."),
    (
        DISK_ADVICE,
        "Let the query read, join, sort or group less at once, or give analysis-base more ephemeral storage.",
    ),
    (DENIED_ADVICE, WITHOUT_CREDENTIALS),
    (CREDENTIALS_ADVICE, WITHOUT_CREDENTIALS),
];
const WITHOUT_CREDENTIALS: &str = "Name an address that asks for no credentials, upload the data as a data set, or \
                                   let an AnalysisJob read it, which can have a Secret.";
/// What helps if the place of the data sets refuses access.
const OWN_CREDENTIALS: &str =
    "The administrator has to look at the credentials of analysis-base for its bucket.";

/// What the process says, in words for the client.
pub(super) fn explained(
    share: &Share,
    place: &Place,
    reason: FailureReason,
    message: &str,
    inputs: &Inputs,
) -> String {
    let room = || share.temporary_bytes.map_or_else(|| "room".to_owned(), |bytes| Size(bytes).to_string());
    match reason {
        FailureReason::MemoryExhausted => format!(
            "The analysis needs more memory than the {} that each has here, even with temporary files. Let the query \
             join, sort or group less at once, or give analysis-base more memory.",
            Size(share.memory_bytes)
        ),
        FailureReason::OutputTooLarge => format!(
            "The result is larger than the {} that each may have here. Select less, or give analysis-base more \
             ephemeral storage.",
            room()
        ),
        FailureReason::Interrupted => "The process of the analysis was stopped from outside.".to_owned(),
        _ => {
            let named = with_names(message, inputs, place);
            let is_own = named != message;
            with_advice(&named, is_own)
        }
    }
}

/// The message with the names of data sets instead of those of objects.
fn with_names(message: &str, inputs: &Inputs, place: &Place) -> String {
    inputs.values().fold(message.to_owned(), |message, input| {
        message.replace(&place.address(&data_object(&input.id)), &input.name)
    })
}

/// The message with what helps here; `is_own` if it is about data of the service.
fn with_advice(message: &str, is_own: bool) -> String {
    let found =
        ADVICE.iter().find_map(|(theirs, ours)| Some((message.strip_suffix(*theirs)?, *theirs, *ours)));
    match found {
        Some((fact, CREDENTIALS_ADVICE, _)) if is_own => format!("{fact}{OWN_CREDENTIALS}"),
        Some((fact, _, advice)) => format!("{fact}{advice}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crds::analysis::SourceFormat;

    use super::*;
    use crate::failure::Failure;
    use crate::serve::analyses::request::Input;
    use crate::serve::datasets::ReadOptions;
    use crate::source::{SourceError, store_failure};

    fn told(failure: &Failure, place: &Place) -> String {
        let share = Share { memory_bytes: 96 << 20, temporary_bytes: Some(64 << 20), cores: 1 };
        let input = Input {
            id: "1".to_owned(),
            name: "data set `d` version 3".to_owned(),
            format: SourceFormat::Csv,
            options: ReadOptions::default(),
        };
        let inputs = Inputs::from([("d".to_owned(), input)]);
        explained(&share, place, failure.reason, &failure.message, &inputs)
    }

    fn bucket() -> Place {
        Place::Bucket {
            url: "s3://own/prefix".to_owned(),
            endpoint: None,
            region: None,
            credentials: PathBuf::new(),
        }
    }

    #[test]
    fn nothing_is_advised_that_a_client_has_not() {
        let source_name = || "t".to_owned();
        let download = SourceError::DownloadTooLarge { source_name: source_name(), limit_bytes: 32 << 20 };
        let denied =
            SourceError::Denied { source_name: source_name(), what: "`https://x/` (403)".to_owned() };
        let refused = |what: &str| {
            let error = object_store::Error::PermissionDenied { path: "k".to_owned(), source: "no".into() };
            store_failure(what, &error)
        };
        let cases = [
            (
                Failure::from(download),
                "Source `t`: the file is larger than the 32 MiB that are free for it in the temporary folder. Upload it \
                 as a data set, or give analysis-base more ephemeral storage.",
            ),
            (
                Failure::disk_exhausted(Some(32 << 20)),
                "The temporary folder of 32 MiB is full. Let the query read, join, sort or group less at once, or give \
                 analysis-base more ephemeral storage.",
            ),
            (
                Failure::from(denied),
                "Source `t`: access to `https://x/` (403) was refused. Name an address that asks for no credentials, \
                 upload the data as a data set, or let an AnalysisJob read it, which can have a Secret.",
            ),
            (
                refused("source `t` (s3://other/k)"),
                "Reading source `t` (s3://other/k) failed: access to `k` was refused. Name an address that asks for no \
                 credentials, upload the data as a data set, or let an AnalysisJob read it, which can have a Secret.",
            ),
            (
                refused(&format!("source `d` ({})", bucket().address(&data_object("1")))),
                "Reading source `d` (data set `d` version 3) failed: access to `k` was refused. The administrator has \
                 to look at the credentials of analysis-base for its bucket.",
            ),
        ];
        for (failure, expected) in cases {
            assert_eq!(told(&failure, &bucket()), expected);
        }
    }
}
