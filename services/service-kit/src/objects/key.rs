use super::ObjectError;

/// Most characters of a key, which all stores have room for after a prefix.
const MOST_CHARACTERS: usize = 900;
/// Most characters of a segment, which is the name of a file or folder.
const MOST_SEGMENT_CHARACTERS: usize = 255;

/// Whether this can be a key everywhere.
pub(super) fn check(key: &str) -> Result<(), ObjectError> {
    match problem(key) {
        None => Ok(()),
        Some(problem) => Err(ObjectError::InvalidKey { key: key.to_owned(), problem: problem.to_owned() }),
    }
}

fn problem(key: &str) -> Option<&'static str> {
    if key.len() > MOST_CHARACTERS || key.split('/').any(|segment| segment.len() > MOST_SEGMENT_CHARACTERS) {
        return Some("it is too long");
    }
    for segment in key.split('/') {
        if segment.is_empty() {
            return Some("it has an empty segment");
        }
        // What begins with a dot means a folder, or is our own.
        if segment.starts_with('.') {
            return Some("a segment begins with a dot");
        }
        if !segment.chars().all(|character| {
            character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '=' | '+' | '@')
        }) {
            return Some("it has characters other than letters, digits and `-_.=+@`");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_the_same_everywhere() {
        for key in ["a", "datasets/0198-ab/data.parquet", "day=2024-01-01/a_b+c@d"] {
            assert_eq!(problem(key), None, "{key}");
        }
        let long = "a".repeat(256);
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", ".a", "a b", "a#1", "a%2Fb", "ä", &long,
        ] {
            assert!(problem(key).is_some(), "{key}");
        }
    }
}
