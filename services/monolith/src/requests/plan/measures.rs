//! What a question wants to have computed, and which group it wants to see
//! first: by its words. Pure.

use super::{BEFORE_GROUPS, is_between, quoted};
use crate::requests::state::Column;
use crate::requests::words::{Mention, Word};

/// What a query can do with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Average,
    Sum,
    Count,
    Distinct,
    Maximum,
    Minimum,
    Median,
}

/// The stems of words that ask for one.
const AGGREGATES: [(Aggregate, &[&str]); 6] = [
    (Aggregate::Average, &["average", "avg", "mean", "typical"]),
    (Aggregate::Sum, &["sum", "total"]),
    (Aggregate::Count, &["count", "number", "many"]),
    (
        Aggregate::Maximum,
        &["maximum", "max", "highest", "largest", "greatest", "biggest", "longest", "latest"],
    ),
    (Aggregate::Minimum, &["minimum", "min", "lowest", "smallest", "shortest", "earliest"]),
    (Aggregate::Median, &["median"]),
];
const DISTINCT: &[&str] = &["different", "distinct", "unique"];

impl Aggregate {
    /// That a word asks for.
    pub fn of(word: &Word) -> Option<Self> {
        AGGREGATES.iter().find(|(_, stems)| word.is_any(stems)).map(|(aggregate, _)| *aggregate)
    }

    const fn needs_numbers(self) -> bool {
        matches!(self, Self::Average | Self::Sum | Self::Median)
    }

    /// Which group comes first where this is what they are compared by, if that
    /// goes without saying.
    pub const fn rank(self) -> Option<Rank> {
        match self {
            Self::Maximum => Some(Rank::Greatest),
            Self::Minimum => Some(Rank::Least),
            _ => None,
        }
    }

    /// The word for it, in names of columns and in explanations.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Sum => "total",
            Self::Count => "count",
            Self::Distinct => "distinct",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Median => "median",
        }
    }

    /// In SQL.
    pub fn sql(self, column: &str) -> String {
        let column = quoted(column);
        match self {
            Self::Average => format!("avg({column})"),
            Self::Sum => format!("sum({column})"),
            Self::Count => format!("count({column})"),
            Self::Distinct => format!("count(DISTINCT {column})"),
            Self::Maximum => format!("max({column})"),
            Self::Minimum => format!("min({column})"),
            Self::Median => format!("median({column})"),
        }
    }
}

/// Whether a column, by its name in a derived query, says how much of something
/// there is. All else may be a value that the data have, such as a year.
pub fn is_amount(column: &str) -> bool {
    [Aggregate::Sum, Aggregate::Count, Aggregate::Distinct].iter().any(|aggregate| {
        column.strip_prefix(aggregate.word()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

/// Which group comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    Greatest,
    Least,
}

impl Rank {
    /// That a word asks for.
    fn of(word: &Word) -> Option<Self> {
        match Aggregate::of(word) {
            Some(aggregate) => aggregate.rank(),
            None if word.is_any(&["most"]) => Some(Self::Greatest),
            None if word.is_any(&["least", "fewest", "bottom"]) => Some(Self::Least),
            None => None,
        }
    }
}

/// What is computed of a column, by its index; `None` stands for the rows.
pub type Measure = (Aggregate, Option<usize>);

/// The words of a question, and which of them name columns.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub words: &'a [Word],
    pub mentions: &'a [Mention],
    pub columns: &'a [Column],
}

impl<'a> Question<'a> {
    /// Whether a column that is named can be computed with.
    pub fn is_number(self, mention: &Mention) -> bool {
        self.columns.get(mention.column).is_some_and(Column::is_number)
    }

    /// What is to be computed, in the order of the words; and which group comes
    /// first, if a word says so that computes nothing itself, such as "highest"
    /// in "the highest average".
    pub fn measures(self, groups: &[Mention]) -> (Vec<Measure>, Option<Rank>) {
        let free = self.free(groups);
        let mut measures = Vec::new();
        let mut rank = None;
        for at in 0..self.words.len() {
            let computed = match self.aggregate(at) {
                Some(aggregate) => self.computed(aggregate, at, &free),
                None => Vec::new(),
            };
            if computed.is_empty() && rank.is_none() {
                rank = self.rank(at);
            }
            for measure in computed {
                if !measures.contains(&measure) {
                    measures.push(measure);
                }
            }
        }
        (measures, rank)
    }

    /// What is asked for and needs numbers where the columns that are named have
    /// none.
    pub fn not_computable(self, groups: &[Mention]) -> Vec<(Aggregate, &'a Column)> {
        let free = self.free(groups);
        let mut missing = Vec::new();
        for at in 0..self.words.len() {
            let Some(aggregate) = self.aggregate(at).filter(|aggregate| aggregate.needs_numbers()) else {
                continue;
            };
            let listed = self.listed(at, &free);
            if let Some(first) = listed.first()
                && !listed.iter().any(|mention| self.is_number(mention))
                && let Some(column) = self.columns.get(first.column)
            {
                missing.push((aggregate, column));
            }
        }
        missing
    }

    fn free(self, groups: &[Mention]) -> Vec<Mention> {
        self.mentions.iter().copied().filter(|mention| !groups.contains(mention)).collect()
    }

    /// The word at a place, unless it is a part of the name of a column.
    fn word(&self, at: usize) -> Option<&Word> {
        let is_name = self.mentions.iter().any(|mention| (mention.from..mention.to).contains(&at));
        self.words.get(at).filter(|_| !is_name)
    }

    fn aggregate(&self, at: usize) -> Option<Aggregate> {
        self.word(at).and_then(Aggregate::of)
    }

    fn rank(&self, at: usize) -> Option<Rank> {
        // "At least 5" is a bound.
        let before = at.checked_sub(1).and_then(|before| self.word(before));
        let is_bound = before.is_some_and(|before| before.is_any(&["at"]));
        self.word(at).filter(|_| !is_bound).and_then(Rank::of)
    }

    /// What the word at a place asks for.
    fn computed(&self, aggregate: Aggregate, at: usize, free: &[Mention]) -> Vec<Measure> {
        let of = self.listed(at, free);
        if aggregate == Aggregate::Count {
            let before = at.checked_sub(1).and_then(|before| self.aggregate(before));
            // "The average number of passengers" is said already by the average.
            if before.is_some_and(|before| before != Aggregate::Count) && self.is_amount(at, &of) {
                return Vec::new();
            }
            return self.counted(at, &of);
        }
        // "The highest average": the average is asked for, and the highest first.
        // But a column of numbers can be the number of something.
        let is_of_next = |next: Aggregate| next != Aggregate::Count || !self.is_amount(at + 1, &of);
        if aggregate.rank().is_some() && self.aggregate(at + 1).is_some_and(is_of_next) {
            return Vec::new();
        }
        let fitting = of.iter().filter(|mention| !aggregate.needs_numbers() || self.is_number(mention));
        fitting.map(|mention| (aggregate, Some(mention.column))).collect()
    }

    /// The first column that is named behind a place, and those that are listed
    /// with it.
    fn listed(&self, at: usize, free: &[Mention]) -> Vec<Mention> {
        let after = self.words.iter().skip(at).position(|word| word.is_any(BEFORE_GROUPS));
        let end = after.map_or(self.words.len(), |to| at + to);
        let mut listed: Vec<Mention> = Vec::new();
        for mention in free.iter().filter(|mention| mention.from > at && mention.from < end) {
            if listed.last().is_some_and(|last| !is_between(self.words, last.to, mention.from)) {
                break;
            }
            listed.push(*mention);
        }
        listed
    }

    /// Whether the word at a place is a part of the name of a column, as in "the
    /// number of passengers" where there is a column of such numbers.
    fn is_amount(&self, at: usize, of: &[Mention]) -> bool {
        of.first().is_some_and(|first| is_between(self.words, at + 1, first.from) && self.is_number(first))
    }

    /// What is counted: the different values of columns, or rows.
    fn counted(&self, at: usize, of: &[Mention]) -> Vec<Measure> {
        let rows = vec![(Aggregate::Count, None)];
        let Some(first) = of.first() else { return rows };
        let between = self.words.get(at..first.from).unwrap_or_default();
        let is_different = between.iter().any(|word| word.is_any(DISTINCT));
        // Of "customer orders", the orders are counted and not the customers.
        let last = first.to.checked_sub(1).and_then(|last| self.words.get(last));
        let is_direct = is_between(self.words, at + 1, first.from)
            && !self.is_number(first)
            && last.is_some_and(Word::is_plural);
        if !is_different && !is_direct {
            return rows;
        }
        let counted = of.iter().filter(|mention| is_different || !self.is_number(mention));
        counted.map(|mention| (Aggregate::Distinct, Some(mention.column))).collect()
    }
}
