//! What is mounted for the node.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    pub(crate) kind: String,
}

/// Every mount that this process sees, in the order in which they were made.
pub(crate) fn all() -> Vec<Mount> {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().filter_map(parse).collect()
}

/// The mounts below one of the folders.
pub(crate) fn below(folders: &[&Path]) -> Vec<PathBuf> {
    all()
        .into_iter()
        .map(|mount| mount.path)
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
        .collect()
}

/// Unmounts everything below the folders, the newest first.
pub(crate) fn release(folders: &[&Path]) {
    // Several mounts can lie upon one another, so look again until nothing is left.
    for _ in 0..10 {
        let mounted = below(folders);
        if mounted.is_empty() {
            return;
        }
        for path in mounted.iter().rev() {
            if unmount(path, UnmountFlags::empty()).is_err() {
                // Still in use by something that is about to end.
                let _ = unmount(path, UnmountFlags::DETACH);
            }
        }
    }
}

fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let path = unescape(before.split(' ').nth(4)?);
    Some(Mount { path, kind: after.split(' ').next()?.to_owned() })
}

/// The kernel writes blanks and the like as three octal digits after a backslash.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let code = text.get(position + 1..position + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[position], code) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                position += 4;
            }
            (byte, _) => {
                plain.push(byte);
                position += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line = r"36 35 98:0 /a /mnt/with\040blank rw,noatime master:1 shared:2 - tmpfs tmpfs rw,size=1k";
        let expected = Mount { path: PathBuf::from("/mnt/with blank"), kind: "tmpfs".into() };
        assert_eq!(parse(line), Some(expected));
    }
}
