//! From a question to what is done about it, where nobody has said what that
//! is: by rules, which are the same each time and can be explained. Pure.
//!
//! ```text
//!   words of the input ─┬─▶ always: a profile of each data
//!                       └─▶ columns and an aggregate are named: one query as well
//! ```

use serde_json::json;

use super::order::{AnalysisOrder, Order, ProfileOrder, TaskOrder};
use super::state::{Column, Plan};
use super::words::{Mention, Word, mentions, words};

/// Most groups that a derived query returns.
const MOST_GROUPS: u32 = 100;
/// Most points in time.
const MOST_TIMES: u32 = 1000;

/// What is known of one of the data.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// What a query can do with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
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
const BEFORE_GROUPS: &[&str] = &["by", "per", "each", "every", "which", "what"];
const BETWEEN: &[&str] = &["and", "or", "the", "of"];

impl Aggregate {
    fn of(word: &Word) -> Option<Self> {
        AGGREGATES.iter().find(|(_, stems)| word.is_any(stems)).map(|(aggregate, _)| *aggregate)
    }

    const fn needs_numbers(self) -> bool {
        matches!(self, Self::Average | Self::Sum | Self::Median)
    }

    /// The word for it, in names of columns and in explanations.
    const fn word(self) -> &'static str {
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

    fn sql(self, column: &str) -> String {
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

/// Whether a plan for the input could use the columns of its data.
pub fn needs_columns(input: &str) -> bool {
    const OTHERS: &[&str] = &["by", "per", "each", "every", "which", "top"];
    words(input).iter().any(|word| Aggregate::of(word).is_some() || word.is_any(OTHERS))
}

/// What is done about an order that does not say it itself. `tables` are those
/// of the data of which the columns are known.
pub fn derive(order: &Order, tables: &[Table]) -> (Plan, Vec<TaskOrder>) {
    let mut tasks: Vec<TaskOrder> = order
        .data
        .iter()
        .map(|data| TaskOrder {
            name: format!("profile-{}", data.name),
            analysis: None,
            profile: Some(ProfileOrder { data: data.name.clone(), columns: Vec::new() }),
        })
        .collect();
    let names: Vec<String> = order.data.iter().map(|data| format!("`{}`", data.name)).collect();
    let mut explanation = format!("No tasks were given. Planned are: a profile of {}", names.join(", "));
    let words = words(&order.input);
    let best = tables
        .iter()
        .filter_map(|table| Query::of(&words, table).map(|query| (table, query)))
        .max_by_key(|(_, query)| query.mentions);
    match best {
        Some((table, query)) => {
            explanation.push_str(&format!(
                "; and {}, because the input asks for it and `{}` has it.",
                query.in_words(),
                table.name
            ));
            tasks.push(query.task(table));
        }
        None => explanation.push_str(
            ". The input names no columns with something to compute from them, such as an average, so there is no \
             query.",
        ),
    }
    (Plan { is_derived: true, explanation }, tasks)
}

/// A query that answers a question.
#[derive(Debug)]
struct Query {
    groups: Vec<Column>,
    /// `None` stands for the rows.
    measures: Vec<(Aggregate, Option<String>)>,
    limit: Option<u32>,
    is_ascending: bool,
    /// How many columns the question names.
    mentions: usize,
}

impl Query {
    fn of(words: &[Word], table: &Table) -> Option<Self> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let mentions = mentions(words, &names);
        let is_number = |mention: &Mention| table.columns[mention.column].is_number();
        let top = top(words);
        let mut groups: Vec<Mention> = Vec::new();
        for mention in &mentions {
            let follows_group = groups.last().is_some_and(|last| is_between(words, last.to, mention.from));
            let is_of_top = top.is_some_and(|(_, at)| mention.from == at);
            // "The top 5 carriers by delay": the delay is what they are compared by.
            let is_compared_by = top.is_some() && is_number(mention) && !is_of_top;
            if is_of_top || (!is_compared_by && (is_grouped_by(words, mention.from) || follows_group)) {
                groups.push(*mention);
            }
        }
        let mut measures = measures(words, &mentions, &groups, &is_number);
        if measures.is_empty() && (!groups.is_empty() || top.is_some()) {
            let compared = mentions
                .iter()
                .copied()
                .find(|mention| top.is_some() && !groups.contains(mention) && is_number(mention));
            measures.push(match compared {
                Some(mention) => (Aggregate::Sum, Some(mention.column)),
                None => (Aggregate::Count, None),
            });
        }
        // "The first 5" of what nobody knows is no question.
        let is_vague =
            top.is_some() && groups.is_empty() && measures.iter().all(|(_, column)| column.is_none());
        if measures.is_empty() || is_vague {
            return None;
        }
        let mut unique: Vec<usize> = Vec::new();
        groups.iter().map(|group| group.column).for_each(|column| {
            if !unique.contains(&column) {
                unique.push(column);
            }
        });
        Some(Self {
            groups: unique.into_iter().map(|column| table.columns[column].clone()).collect(),
            measures: measures
                .into_iter()
                .map(|(aggregate, column)| {
                    (aggregate, column.map(|column| table.columns[column].name.clone()))
                })
                .collect(),
            limit: top.map(|(limit, _)| limit),
            is_ascending: words
                .iter()
                .any(|word| word.is_any(&["lowest", "smallest", "shortest", "least", "bottom"])),
            mentions: mentions.len(),
        })
    }

    fn task(&self, table: &Table) -> TaskOrder {
        let mut columns: Vec<String> = self.groups.iter().map(|group| quoted(&group.name)).collect();
        let groups = columns.join(", ");
        columns.extend(self.measures.iter().map(|(aggregate, column)| {
            let value =
                column.as_deref().map_or_else(|| "count(*)".to_owned(), |column| aggregate.sql(column));
            format!("{value} AS {}", quoted(&alias(*aggregate, column.as_deref())))
        }));
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(&table.name));
        let mut charts = Vec::new();
        if let (Some(group), Some((aggregate, column))) = (self.groups.first(), self.measures.first()) {
            let measure = alias(*aggregate, column.as_deref());
            // Time goes on from left to right; of all else, the most comes first.
            let is_course = self.limit.is_none() && matches!(group.kind.as_str(), "date" | "timestamp");
            let order = match (is_course, self.is_ascending) {
                (true, _) => quoted(&group.name),
                (false, true) => format!("{} ASC NULLS LAST", quoted(&measure)),
                (false, false) => format!("{} DESC NULLS LAST", quoted(&measure)),
            };
            let limit = self.limit.unwrap_or(if is_course { MOST_TIMES } else { MOST_GROUPS });
            sql.push_str(&format!(" GROUP BY {groups} ORDER BY {order} LIMIT {limit}"));
            if self.groups.len() == 1 {
                let mark = if is_course { "line" } else { "bar" };
                charts.push(json!({
                    "name": "query",
                    "mark": mark,
                    "encoding": { "xAxis": { "field": group.name }, "yAxis": { "field": measure } },
                }));
            }
        }
        TaskOrder {
            name: "query".to_owned(),
            analysis: Some(AnalysisOrder { sql, charts, data: vec![table.name.clone()] }),
            profile: None,
        }
    }

    fn in_words(&self) -> String {
        let measures: Vec<String> = self
            .measures
            .iter()
            .map(|(aggregate, column)| match column {
                None => "the number of rows".to_owned(),
                Some(column) if *aggregate == Aggregate::Distinct => {
                    format!("the number of different `{column}`")
                }
                Some(column) => format!("the {} of `{column}`", aggregate.word()),
            })
            .collect();
        let groups: Vec<String> = self.groups.iter().map(|group| format!("`{}`", group.name)).collect();
        let mut text = measures.join(" and ");
        if !groups.is_empty() {
            text.push_str(&format!(" by {}", groups.join(" and ")));
        }
        if let Some(limit) = self.limit {
            text.push_str(&format!(", the first {limit}"));
        }
        text
    }
}

/// What is to be computed, in the order of the words.
fn measures(
    words: &[Word],
    mentions: &[Mention],
    groups: &[Mention],
    is_number: &impl Fn(&Mention) -> bool,
) -> Vec<(Aggregate, Option<usize>)> {
    let free: Vec<&Mention> = mentions.iter().filter(|mention| !groups.contains(mention)).collect();
    let mut measures = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let is_name = mentions.iter().any(|mention| (mention.from..mention.to).contains(&at));
        let Some(aggregate) = Aggregate::of(word).filter(|_| !is_name) else { continue };
        // "The highest average": the average is asked for, and the highest first.
        let next = words.get(at + 1).and_then(Aggregate::of);
        if matches!(aggregate, Aggregate::Maximum | Aggregate::Minimum) && next.is_some() {
            continue;
        }
        let end =
            words[at..].iter().position(|word| word.is_any(BEFORE_GROUPS)).map_or(words.len(), |to| at + to);
        let of: Vec<&Mention> = listed(words, &free, at, end);
        if aggregate == Aggregate::Count {
            let distinct =
                of.first().filter(|mention| words[at..mention.from].iter().any(|word| word.is_any(DISTINCT)));
            measures.push(match distinct {
                Some(mention) => (Aggregate::Distinct, Some(mention.column)),
                None => (Aggregate::Count, None),
            });
            continue;
        }
        let fitting = of.into_iter().filter(|mention| !aggregate.needs_numbers() || is_number(mention));
        measures.extend(fitting.map(|mention| (aggregate, Some(mention.column))));
    }
    let mut unique = Vec::new();
    for measure in measures {
        if !unique.contains(&measure) {
            unique.push(measure);
        }
    }
    unique
}

/// The first column that is named from a word on, and those that are listed with it.
fn listed<'a>(words: &[Word], free: &[&'a Mention], at: usize, end: usize) -> Vec<&'a Mention> {
    let mut listed: Vec<&Mention> = Vec::new();
    for mention in free.iter().copied().filter(|mention| mention.from > at && mention.from < end) {
        if listed.last().is_some_and(|last| !is_between(words, last.to, mention.from)) {
            break;
        }
        listed.push(mention);
    }
    listed
}

/// How many, and where it is said of what: "top 5 carriers".
fn top(words: &[Word]) -> Option<(u32, usize)> {
    let at = words.iter().position(|word| word.is_any(&["top", "first", "bottom"]))?;
    let number = words.get(at + 1)?.number()?;
    Some((number.clamp(1, MOST_GROUPS), at + 2))
}

/// Whether a word that asks for groups stands before a place.
fn is_grouped_by(words: &[Word], at: usize) -> bool {
    let before = words[..at].iter().rev().find(|word| !word.is_any(&["the", "of"]));
    before.is_some_and(|word| word.is_any(BEFORE_GROUPS))
}

/// Whether nothing but "and" and the like is between two places.
fn is_between(words: &[Word], from: usize, to: usize) -> bool {
    words.get(from..to).is_some_and(|between| between.iter().all(|word| word.is_any(BETWEEN)))
}

fn alias(aggregate: Aggregate, column: Option<&str>) -> String {
    column.map_or_else(|| aggregate.word().to_owned(), |column| format!("{}_{column}", aggregate.word()))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
