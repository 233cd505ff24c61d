use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Settings;
use super::frequency::Frequencies;

/// A longer value is kept as its beginning and the hash of the whole.
const LONGEST_KEPT_BYTES: usize = 256;

/// Collects text.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) frequencies: Frequencies<Box<str>>,
    range: Option<(Box<str>, Box<str>)>,
    kept_bytes: usize,
    limit_bytes: usize,
    /// What stands for a long value.
    shortened: String,
}

impl Texts {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            frequencies: Frequencies::new(settings.exact_values),
            range: None,
            kept_bytes: 0,
            limit_bytes: settings.exact_values * 64,
            shortened: String::new(),
        }
    }

    pub(super) fn add<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        for value in values {
            self.count_value(value);
            match &mut self.range {
                None => self.range = Some((value.into(), value.into())),
                Some((least, _)) if value < &**least => *least = value.into(),
                Some((_, most)) if value > &**most => *most = value.into(),
                Some(_) => {}
            }
        }
    }

    fn count_value(&mut self, value: &str) {
        if self.kept_bytes > self.limit_bytes {
            self.make_room();
        }
        let kept = if value.len() <= LONGEST_KEPT_BYTES {
            value
        } else {
            shorten(value, &mut self.shortened);
            self.shortened.as_str()
        };
        let bytes = &mut self.kept_bytes;
        let mut own = |text: &str| {
            *bytes += text.len();
            Box::from(text)
        };
        if self.frequencies.add(kept, &mut own) {
            self.frequencies.make_room();
            self.frequencies.add(kept, own);
        }
    }

    fn make_room(&mut self) {
        let kept_bytes =
            |kept: &Frequencies<Box<str>>| kept.counts().map(|(value, _)| value.len()).sum::<usize>();
        // Some may have been forgotten already.
        self.kept_bytes = kept_bytes(&self.frequencies);
        if self.kept_bytes > self.limit_bytes {
            self.frequencies.make_room();
            self.kept_bytes = kept_bytes(&self.frequencies);
        }
    }

    /// The least and the greatest value by the order of code points.
    pub(super) fn range(&self) -> Option<(&str, &str)> {
        self.range.as_ref().map(|(least, most)| (&**least, &**most))
    }
}

/// Values that begin alike stay different.
fn shorten(value: &str, shortened: &mut String) {
    let mut end = LONGEST_KEPT_BYTES;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    shortened.clear();
    shortened.push_str(&value[..end]);
    let _ = write!(shortened, "{:016x}", hasher.finish());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(exact_values: usize) -> Texts {
        Texts::new(Settings { top_values: 10, histogram_bins: 20, correlations: false, exact_values })
    }

    #[test]
    fn long_values_that_begin_alike_are_told_apart() {
        let beginning = "é".repeat(200);
        let values: Vec<String> = (0..20_000).map(|index| format!("{beginning}{index}")).collect();
        let mut exact = texts(1 << 16);
        exact.add(values[..100].iter().chain(&values[..3]).map(String::as_str));
        assert!(exact.frequencies.is_exact());
        assert_eq!(exact.frequencies.distinct(), 100);
        assert_eq!(
            exact.frequencies.top(4).into_iter().map(|(_, count)| count).collect::<Vec<_>>(),
            [2, 2, 2, 1]
        );

        let mut approximate = texts(1 << 10);
        approximate.add(values.iter().map(String::as_str));
        let distinct = approximate.frequencies.distinct();
        assert!(distinct.abs_diff(20_000) < 500, "{distinct}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut texts = texts(1 << 10);
        for index in 0..100_000 {
            let value = format!("{}{index}", "x".repeat(250));
            texts.add([value.as_str(), "frequent"].into_iter());
            assert!(texts.kept_bytes <= texts.limit_bytes + 300);
        }
        assert_eq!(&*texts.frequencies.top(1)[0].0, "frequent");
        let kept: usize = texts.frequencies.counts().map(|(kept, _)| kept.len()).sum();
        assert!(kept <= texts.limit_bytes + 300, "{kept}");
    }
}
