//! The generated files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::cache::{self, Key};
use crate::cargo;
use crate::process::Tool;

/// The programs that print the document of their API, and the folders of their services.
const DOCUMENTED: [(&str, &str); 2] = [("analysis-base", "analysis-base"), ("monolith", "monolith")];

/// Writes them, or with `check` fails if that changes anything.
pub(crate) fn generate(check: bool) -> Result<()> {
    let root = cache::repository()?;
    let before = if check { contents(&root)? } else { BTreeMap::new() };
    cargo::built("generate")?.arg(&root).run()?;
    for (binary, service) in DOCUMENTED {
        let document = Tool::new(cargo::binaries()?.join(binary)).arg("openapi").output()?;
        let path = root.join("services").join(service).join("openapi.json");
        cache::write_atomically(&path, document.as_bytes())?;
    }
    if check {
        let changed = differences(&before, &contents(&root)?);
        if !changed.is_empty() {
            bail!(
                "these generated files were not up to date; they are now, so commit them:\n  {}",
                changed.join("\n  ")
            );
        }
    }
    Ok(())
}

/// Every file that git tracks or would track, with a digest of its content.
fn contents(root: &Path) -> Result<BTreeMap<String, String>> {
    let files = Tool::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .directory(root)
        .output()?;
    files
        .split('\0')
        .filter(|file| !file.is_empty())
        .map(|file| {
            let path = root.join(file);
            let digest = match fs::metadata(&path) {
                Ok(data) if data.is_file() => Key::default().file(&path)?.short(),
                _ => String::new(),
            };
            Ok((file.to_owned(), digest))
        })
        .collect()
}

fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_changed_and_removed_files_differ() {
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
        };
        let before = map(&[("changed", "1"), ("removed", "1"), ("same", "1")]);
        let after = map(&[("changed", "2"), ("new", "1"), ("same", "1")]);
        assert_eq!(differences(&before, &after), ["changed", "new", "removed"]);
    }
}
