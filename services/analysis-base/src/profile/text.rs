use super::Settings;
use super::frequency::Frequencies;

/// A longer value is not kept, only its hash.
const LONGEST_KEPT_BYTES: usize = 256;

/// Collects text.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) frequencies: Frequencies<Box<str>>,
    range: Option<(Box<str>, Box<str>)>,
    kept_bytes: usize,
    limit_bytes: usize,
}

impl Texts {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            frequencies: Frequencies::new(settings.exact_values),
            range: None,
            kept_bytes: 0,
            limit_bytes: settings.exact_values * 64,
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
        // What is long is cut, and then is approximate, since two long values
        // may begin alike.
        let kept = shortened(value);
        if self.frequencies.is_exact() && (kept.len() < value.len() || self.kept_bytes > self.limit_bytes) {
            self.frequencies.become_approximate();
        }
        let bytes = &mut self.kept_bytes;
        let mut own = |text: &str| {
            *bytes += text.len();
            Box::from(text)
        };
        if self.frequencies.add(kept, &mut own) {
            self.frequencies.become_approximate();
            self.frequencies.add(kept, own);
        }
    }

    /// The least and the greatest value by the order of code points.
    pub(super) fn range(&self) -> Option<(&str, &str)> {
        self.range.as_ref().map(|(least, most)| (&**least, &**most))
    }
}

fn shortened(value: &str) -> &str {
    if value.len() <= LONGEST_KEPT_BYTES {
        return value;
    }
    let mut end = LONGEST_KEPT_BYTES;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}
