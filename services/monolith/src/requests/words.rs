//! The words of a question, and which of them name columns. Pure.

/// A word, in lower case and without the ending of a plural.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    stem: String,
    /// Whether it stands in quotes: then it is a name and nothing else.
    is_quoted: bool,
    is_plural: bool,
}

impl Word {
    /// Whether it is one of these, which are given as stems.
    pub fn is_any(&self, stems: &[&str]) -> bool {
        !self.is_quoted && stems.contains(&self.stem.as_str())
    }

    /// Whether it has the ending of a plural.
    pub const fn is_plural(&self) -> bool {
        self.is_plural
    }

    /// The number that it is.
    pub fn number(&self) -> Option<u32> {
        const NAMES: [&str; 11] =
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        let named = NAMES.iter().position(|name| *name == self.stem);
        named.and_then(|number| u32::try_from(number).ok()).or_else(|| self.stem.parse().ok())
    }
}

/// A column that is named in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its first word.
    pub from: usize,
    /// The word after its last one.
    pub to: usize,
    /// Which of the columns.
    pub column: usize,
}

/// Words that are hardly ever meant as the name of a column, though columns
/// may be called so. In quotes they are.
const ORDINARY: &[&str] = &[
    "a",
    "all",
    "an",
    "and",
    "are",
    "as",
    "at",
    "average",
    "avg",
    "be",
    "by",
    "count",
    "different",
    "distinct",
    "do",
    "each",
    "every",
    "for",
    "from",
    "has",
    "have",
    "high",
    "how",
    "i",
    "in",
    "is",
    "it",
    "many",
    "max",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "most",
    "much",
    "no",
    "of",
    "on",
    "or",
    "per",
    "row",
    "sum",
    "the",
    "there",
    "to",
    "top",
    "total",
    "unique",
    "was",
    "what",
    "which",
    "with",
];

/// Units of measurement at the end of a column's name, which a question leaves
/// out: `body_mass_g` is the body mass.
const UNITS: &[&str] = &[
    "c", "celsius", "cm", "day", "eur", "f", "ft", "g", "gb", "hour", "hr", "kb", "kg", "km", "kwh", "l",
    "lb", "m", "mb", "mile", "min", "minute", "ml", "mm", "mph", "ms", "pct", "percent", "s", "sec",
    "second", "usd",
];

/// The words of a text.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            let stem = stem(&word);
            let is_plural = stem != word.to_lowercase();
            words.push(Word { stem, is_quoted: quote.is_some(), is_plural });
            word.clear();
        }
        // An apostrophe within a sentence opens no quotation.
        if matches!(character, '"' | '`') {
            quote = if quote == Some(character) { None } else { Some(character) };
        }
    }
    words
}

/// The words of a column's name: `arr_delay`, `arrDelay` and `Arr. Delay` are the same.
fn words_of_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    for character in name.chars() {
        let is_border = !character.is_alphanumeric() || (before.is_lowercase() && character.is_uppercase());
        if is_border {
            parts.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.push(character);
        }
        before = character;
    }
    parts.iter().filter(|part| !part.is_empty()).map(|part| stem(part)).collect()
}

/// A word in lower case and without the ending of an English plural.
fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    let cut =
        |ending: &str| word.strip_suffix(ending).filter(|rest| rest.chars().count() > 2).map(str::to_owned);
    if let Some(rest) = cut("ies") {
        return format!("{rest}y");
    }
    if ["sses", "xes", "ches", "shes"].iter().any(|ending| word.ends_with(ending)) {
        return cut("es").unwrap_or(word);
    }
    if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") {
        return word;
    }
    cut("s").unwrap_or(word)
}

/// Where the words name columns: the longest name at each place, and a whole one
/// rather than one without its unit.
pub fn mentions(words: &[Word], columns: &[&str]) -> Vec<Mention> {
    let whole: Vec<Vec<String>> = columns.iter().map(|column| words_of_name(column)).collect();
    let without_unit = whole.iter().enumerate().filter_map(|(column, name)| match name.split_last() {
        Some((unit, rest)) if !rest.is_empty() && UNITS.contains(&unit.as_str()) => {
            Some((column, rest.to_vec()))
        }
        _ => None,
    });
    let names: Vec<(usize, Vec<String>)> = whole.iter().cloned().enumerate().chain(without_unit).collect();
    let mut mentions = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = names.iter().enumerate().filter(|(_, (_, name))| is_named(words, at, name)).max_by(
            |(first, (_, one)), (second, (_, other))| one.len().cmp(&other.len()).then(second.cmp(first)),
        );
        match longest {
            Some((_, (column, name))) => {
                mentions.push(Mention { from: at, to: at + name.len(), column: *column });
                at += name.len();
            }
            None => at += 1,
        }
    }
    mentions
}

fn is_named(words: &[Word], at: usize, name: &[String]) -> bool {
    let Some(here) = words.get(at..at + name.len()).filter(|here| !here.is_empty()) else { return false };
    let is_ordinary = here.len() == 1 && here[0].is_any(ORDINARY);
    !is_ordinary && here.iter().zip(name).all(|(word, part)| word.stem == *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, columns: &[&str]) -> Vec<usize> {
        mentions(&words(text), columns).into_iter().map(|mention| mention.column).collect()
    }

    #[test]
    fn units_need_not_be_named() {
        let columns = ["body_mass_g", "flipper_length_mm", "mass", "duration_min", "days", "length_s"];
        assert_eq!(named("average body mass", &columns), [0]);
        assert_eq!(named("body_mass_g and flipper lengths", &columns), [0, 1]);
        assert_eq!(named("the mass", &columns), [2], "the whole name");
        assert_eq!(named("minimum duration by day", &columns), [3, 4]);
        assert_eq!(named("what is g", &columns), [0; 0]);
    }

    #[test]
    fn columns_are_found_however_they_are_written() {
        let columns = ["arr_delay", "carrierName", "Dep. Delay", "delay", "city"];
        assert_eq!(named("the arr_delay", &columns), [0]);
        assert_eq!(named("the Arr Delays of all carrier names", &columns), [0, 1]);
        assert_eq!(named("departure: dep delay", &columns), [2]);
        assert_eq!(named("delays of cities", &columns), [3, 4]);
        assert_eq!(named("delayed", &columns), [] as [usize; 0]);
    }

    #[test]
    fn ordinary_words_are_columns_in_quotes_only() {
        assert_eq!(named("a count of all", &["a", "count"]), [] as [usize; 0]);
        assert_eq!(named("the \"count\" and `a`", &["a", "count"]), [1, 0]);
    }

    #[test]
    fn plurals_end_in_many_ways() {
        for (word, expected) in [
            ("Carriers", "carrier"),
            ("cities", "city"),
            ("boxes", "box"),
            ("classes", "class"),
            ("status", "status"),
            ("analysis", "analysis"),
            ("prices", "price"),
            ("gas", "gas"),
            ("is", "is"),
            ("as", "as"),
        ] {
            assert_eq!(stem(word), expected);
        }
    }

    #[test]
    fn a_plural_is_known_by_its_ending() {
        let plural: Vec<bool> = words("Carriers of a CITY status").iter().map(Word::is_plural).collect();
        assert_eq!(plural, [true, false, false, false, false]);
    }

    #[test]
    fn numbers_are_read_as_words_and_digits() {
        let numbers: Vec<_> = words("top five of 12").iter().filter_map(Word::number).collect();
        assert_eq!(numbers, [5, 12]);
    }
}
