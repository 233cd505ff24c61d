//! From a question to what is done about it, where nobody has said what that
//! is: by rules, which are the same each time and can be explained. Pure.
//!
//! ```text
//!   words of the input ─┬─▶ always: a profile of each data
//!                       └─▶ columns and an aggregate are named: one query as well
//! ```

mod measures;

use serde_json::json;

pub use self::measures::is_amount;
use self::measures::{Aggregate, Question, Rank};
use super::order::{AnalysisOrder, Order, ProfileOrder, TaskOrder};
use super::state::{Column, Plan};
use super::words::{Mention, Word, mentions, words};

/// Most groups that a derived query returns.
const MOST_GROUPS: u32 = 100;
/// Most points in time.
const MOST_TIMES: u32 = 1000;
/// Behind these, columns are named that group what is computed.
const BEFORE_GROUPS: &[&str] = &["by", "per", "each", "every", "which", "what"];
/// These may be between columns that are named together.
const BETWEEN: &[&str] = &["and", "or", "the", "of"];

/// What is known of one of the data.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// Whether a plan for the input could use the columns of its data.
pub fn needs_columns(input: &str) -> bool {
    const OTHERS: &[&str] = &["by", "per", "each", "every", "which", "top", "bottom"];
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
    let caveats: Vec<String> = tables
        .iter()
        .filter(|table| best.as_ref().is_none_or(|(other, _)| other.name == table.name))
        .flat_map(|table| caveats(&words, table))
        .collect();
    match best {
        Some((table, query)) => {
            explanation.push_str(&format!(
                "; and {}, because the input asks for it and `{}` has it.",
                query.in_words(),
                table.name
            ));
            tasks.push(query.task(table));
        }
        None if !caveats.is_empty() => {
            explanation.push_str(". What the input asks for cannot be computed, so there is no query.");
        }
        None => explanation.push_str(
            ". The input names no columns with something to compute from them, such as an average, so there is no \
             query.",
        ),
    }
    (Plan { is_derived: true, explanation, caveats }, tasks)
}

/// What a question asks for that a table cannot give.
fn caveats(words: &[Word], table: &Table) -> Vec<String> {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let mentions = mentions(words, &names);
    let question = Question { words, mentions: &mentions, columns: &table.columns };
    let missing = question.not_computable(&[]).into_iter();
    missing
        .map(|(aggregate, column)| {
            let (name, kind) = (&column.name, &column.kind);
            let word = aggregate.word();
            if kind == "string" {
                format!(
                    "No {word} of `{name}` can be computed, because it is text. If its numbers have words such as NA \
                     among them for what is missing, give the data again with these words as `nullValues`."
                )
            } else {
                format!("No {word} of `{name}` can be computed, because its values are of the type {kind}.")
            }
        })
        .collect()
}

/// A query that answers a question.
#[derive(Debug)]
struct Query {
    groups: Vec<Column>,
    /// `None` stands for the rows.
    measures: Vec<(Aggregate, Option<Column>)>,
    limit: Option<u32>,
    /// Which of the groups comes first.
    rank: Rank,
    /// Whether that matters even where the groups have an order of their own.
    is_ranked: bool,
    /// How many columns the question names.
    mentions: usize,
}

impl Query {
    fn of(words: &[Word], table: &Table) -> Option<Self> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let mentions = mentions(words, &names);
        let question = Question { words, mentions: &mentions, columns: &table.columns };
        let top = top(words);
        let mut groups: Vec<Mention> = Vec::new();
        for mention in &mentions {
            let follows_group = groups.last().is_some_and(|last| is_between(words, last.to, mention.from));
            let is_of_top = top.is_some_and(|(_, at)| mention.from == at);
            // "The top 5 carriers by delay": the delay is what they are compared by.
            let is_compared_by = top.is_some() && question.is_number(mention) && !is_of_top;
            if is_of_top || (!is_compared_by && (is_grouped_by(words, mention.from) || follows_group)) {
                groups.push(*mention);
            }
        }
        let (mut measures, rank) = question.measures(&groups);
        // Something else than what is asked for would be taken for it.
        if measures.is_empty() && !question.not_computable(&groups).is_empty() {
            return None;
        }
        if measures.is_empty() && (!groups.is_empty() || top.is_some()) {
            let compared = mentions
                .iter()
                .copied()
                .find(|mention| top.is_some() && !groups.contains(mention) && question.is_number(mention));
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
        // "Which day had the highest delay" asks for that day, and "the highest
        // delay per day" for all of them.
        let asks_which = groups.first().is_some_and(|group| {
            word_before(words, group.from).is_some_and(|word| word.is_any(&["which", "what"]))
        });
        let extreme = measures.first().and_then(|(aggregate, _)| aggregate.rank());
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
                .map(|(aggregate, column)| (aggregate, column.map(|column| table.columns[column].clone())))
                .collect(),
            limit: top.map(|(limit, _)| limit),
            rank: rank.or(extreme).unwrap_or(Rank::Greatest),
            is_ranked: top.is_some() || rank.is_some() || (asks_which && extreme.is_some()),
            mentions: mentions.len(),
        })
    }

    fn task(&self, table: &Table) -> TaskOrder {
        let mut columns: Vec<String> = self.groups.iter().map(|group| quoted(&group.name)).collect();
        let groups = columns.join(", ");
        columns.extend(self.measures.iter().map(|(aggregate, column)| {
            let value =
                column.as_ref().map_or_else(|| "count(*)".to_owned(), |column| aggregate.sql(&column.name));
            format!("{value} AS {}", quoted(&alias(*aggregate, column.as_ref())))
        }));
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(&table.name));
        let mut charts = Vec::new();
        if let (Some(group), Some((aggregate, column))) = (self.groups.first(), self.measures.first()) {
            let measure = alias(*aggregate, column.as_ref());
            // Time goes on from left to right; of all else, the most comes first,
            // unless the least was asked for.
            let is_course = !self.is_ranked && matches!(group.kind.as_str(), "date" | "timestamp");
            let order = match (is_course, self.rank) {
                (true, _) => quoted(&group.name),
                (false, Rank::Least) => format!("{} ASC NULLS LAST", quoted(&measure)),
                (false, Rank::Greatest) => format!("{} DESC NULLS LAST", quoted(&measure)),
            };
            let limit = self.limit.unwrap_or(if is_course { MOST_TIMES } else { MOST_GROUPS });
            sql.push_str(&format!(" GROUP BY {groups} ORDER BY {order} LIMIT {limit}"));
            // The last day of each group is nothing that a bar could be as long as.
            let is_number =
                *aggregate == Aggregate::Distinct || column.as_ref().is_none_or(Column::is_number);
            if self.groups.len() == 1 && is_number {
                let mark = if is_course { "line" } else { "bar" };
                charts.push(
                    json!({
                        "name": "query",
                        "mark": mark,
                        "encoding": { "xAxis": { "field": group.name }, "yAxis": { "field": measure } },
                    })
                    .into(),
                );
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
                    format!("the number of different `{}`", column.name)
                }
                Some(column) => format!("the {} of `{}`", aggregate.word(), column.name),
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

/// How many, and where it is said of what: "top 5 carriers".
fn top(words: &[Word]) -> Option<(u32, usize)> {
    let at = words.iter().position(|word| word.is_any(&["top", "first", "bottom"]))?;
    let number = words.get(at + 1)?.number()?;
    Some((number.clamp(1, MOST_GROUPS), at + 2))
}

/// Whether a word that asks for groups stands before a place.
fn is_grouped_by(words: &[Word], at: usize) -> bool {
    word_before(words, at).is_some_and(|word| word.is_any(BEFORE_GROUPS))
}

/// The word before a place that is no article and the like.
fn word_before(words: &[Word], at: usize) -> Option<&Word> {
    words[..at].iter().rev().find(|word| !word.is_any(&["the", "of"]))
}

/// Whether nothing but "and" and the like is between two places.
fn is_between(words: &[Word], from: usize, to: usize) -> bool {
    words.get(from..to).is_some_and(|between| between.iter().all(|word| word.is_any(BETWEEN)))
}

fn alias(aggregate: Aggregate, column: Option<&Column>) -> String {
    let word = aggregate.word();
    column.map_or_else(|| word.to_owned(), |column| format!("{word}_{}", column.name))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
