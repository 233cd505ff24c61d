//! Lists, a page at a time.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

const MOST: u32 = 200;
const USUAL: u32 = 50;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many items: 1 to 200, 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where to go on: the `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl Page {
    /// How many items.
    ///
    /// # Errors
    /// If that is none or too many.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            Ok(limit as usize)
        } else {
            Err(Problem::bad_request(format!("`limit` is {limit}, and has to be from 1 to {MOST}.")))
        }
    }
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// A page of items of which one more than wanted was read, if there was one.
    pub fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let is_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| is_more).map(cursor);
        Self { items, next_cursor }
    }
}

/// What to read for a page: one more than wanted.
#[must_use]
pub fn and_one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// A cursor that no page has given.
#[must_use]
pub fn wrong_cursor() -> Problem {
    Problem::bad_request("`cursor` is not one of this list: give the `nextCursor` of the page before.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let page = Listed::of(vec![9, 8, 7], 2, ToString::to_string);
        assert_eq!((page.items, page.next_cursor.as_deref()), (vec![9, 8], Some("8")));
        assert_eq!(Listed::of(vec![9, 8], 2, ToString::to_string).next_cursor, None);
    }

    #[test]
    fn a_page_has_a_bound() {
        let limit = |limit| Page { limit, cursor: None }.limit().ok();
        assert_eq!(limit(None), Some(50));
        assert_eq!(limit(Some(200)), Some(200));
        assert_eq!((limit(Some(0)), limit(Some(201))), (None, None));
    }
}
