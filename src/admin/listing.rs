//! Lists in pages: which order, which rows, and where the next page begins.
//!
//! A cursor names the last row of a page by its place in the order, so that rows which come or go meanwhile neither
//! repeat nor hide another. Where the order follows a number that moves, so may a row.

use std::cmp::Ordering;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{AdminError, query::Query};

/// Rows of a page when nobody says how many, and at most: an answer stays below a megabyte.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// What rows are compared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

/// The place of a row: by its value, and among equals by its name, which no other row has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SortKey {
    pub(super) value: Value,
    pub(super) name: String,
}

/// The wire form of a cursor.
#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    after: SortKey,
}

/// What part of a list is wanted, in which order.
#[derive(Debug)]
pub(super) struct Listing {
    sort: String,
    after: Option<SortKey>,
    pub(super) limit: usize,
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Rows of the whole list.
    pub(super) total: usize,
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn map<U>(self, shape: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(shape).collect(), total: self.total, next: self.next }
    }
}

impl Listing {
    /// Reads `sort`, `limit` and `cursor`; the first of `columns` is the usual order.
    pub(super) fn read(query: &Query, columns: &[&str]) -> Result<Self, AdminError> {
        let sort = query.text("sort").unwrap_or(columns[0]);
        if !columns.contains(&sort.strip_prefix('-').unwrap_or(sort)) {
            let fault = format!("has to be one of: {}; with - before it, the largest come first", columns.join(", "));
            return Err(AdminError::parameter("sort", fault));
        }
        let after = query.text("cursor").map(|cursor| mark_of(cursor, sort)).transpose()?;
        Ok(Self { sort: sort.to_owned(), after, limit: limit_of(query)? })
    }

    /// The column that rows are compared by.
    pub(super) fn column(&self) -> &str {
        self.sort.strip_prefix('-').unwrap_or(&self.sort)
    }

    fn compare(&self, one: &SortKey, other: &SortKey) -> Ordering {
        let by_value = one.value.cmp(&other.value);
        let by_value = if self.sort.starts_with('-') { by_value.reverse() } else { by_value };
        by_value.then_with(|| one.name.cmp(&other.name))
    }

    /// The part of `rows` that is wanted; `mark` tells the place of a row.
    pub(super) fn page<T>(&self, rows: Vec<T>, mark: impl Fn(&T, &str) -> SortKey) -> Page<T> {
        let total = rows.len();
        let marked = rows.into_iter().map(|row| (mark(&row, self.column()), row));
        let is_later = |mark: &SortKey| self.after.as_ref().is_none_or(|after| self.compare(mark, after).is_gt());
        let mut rest: Vec<_> = marked.filter(|(mark, _)| is_later(mark)).collect();
        let has_more = rest.len() > self.limit;
        if has_more {
            rest.select_nth_unstable_by(self.limit, |(one, _), (other, _)| self.compare(one, other));
            rest.truncate(self.limit);
        }
        rest.sort_unstable_by(|(one, _), (other, _)| self.compare(one, other));
        let next = rest.last().filter(|_| has_more).map(|(last, _)| self.cursor_after(last));
        Page { items: rest.into_iter().map(|(_, row)| row).collect(), total, next }
    }

    fn cursor_after(&self, last: &SortKey) -> String {
        encode(&Cursor { sort: self.sort.clone(), after: last.clone() })
    }
}

/// The `limit` of a query.
pub(super) fn limit_of(query: &Query) -> Result<usize, AdminError> {
    let Some(text) = query.text("limit") else { return Ok(USUAL) };
    let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| AdminError::parameter("limit", format!("has to be a number from 1 to {MOST}")))
}

fn mark_of(cursor: &str, sort: &str) -> Result<SortKey, AdminError> {
    let cursor: Cursor = decode("cursor", cursor)?;
    if cursor.sort != sort {
        let fault = format!("belongs to a list sorted by `{}`; ask for that order, or without cursor", cursor.sort);
        return Err(AdminError::parameter("cursor", fault));
    }
    Ok(cursor.after)
}

/// A cursor as text that fits a query.
pub(super) fn encode(cursor: &impl Serialize) -> String {
    let json = serde_json::to_vec(cursor).expect("text and numbers have a form in JSON");
    URL_SAFE_NO_PAD.encode(json)
}

/// What [`encode`] has encoded; `name` is the parameter's.
pub(super) fn decode<T: for<'a> Deserialize<'a>>(name: &str, text: &str) -> Result<T, AdminError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    cursor.ok_or_else(|| AdminError::parameter(name, "has to be the `next` of a page before, unchanged"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALLOWED: &[&str] = &["sort", "limit", "cursor"];
    const COLUMNS: &[&str] = &["name", "size"];

    fn listing(query: &str) -> Result<Listing, AdminError> {
        Listing::read(&Query::parse(query, ALLOWED).expect("only what is allowed"), COLUMNS)
    }

    fn mark(row: &(String, u64), column: &str) -> SortKey {
        let value = if column == "size" { Value::Number(row.1) } else { Value::Text(row.0.clone()) };
        SortKey { value, name: row.0.clone() }
    }

    fn all_pages(rows: &[(String, u64)], sort: &str, limit: usize) -> Vec<(String, u64)> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let listing = listing(&format!("sort={sort}&limit={limit}&cursor={cursor}")).expect("well asked");
            let page = listing.page(rows.to_vec(), mark);
            assert_eq!(page.total, rows.len());
            seen.extend(page.items);
            match page.next {
                Some(next) => cursor = next,
                None => return seen,
            }
        }
    }

    proptest! {
        #[test]
        fn the_pages_of_a_list_are_the_list_in_order(
            sizes in prop::collection::vec(0u64..4, 0..40), limit in 1usize..12, descends in any::<bool>(),
        ) {
            let rows: Vec<_> = sizes.iter().enumerate().map(|(place, size)| (format!("row {place:02}"), *size)).collect();
            let mut expected = rows.clone();
            expected.sort_by_key(|(_, size)| if descends { u64::MAX - size } else { *size });
            prop_assert_eq!(all_pages(&rows, if descends { "-size" } else { "size" }, limit), expected);
        }

        #[test]
        fn no_text_makes_a_cursor_panic(text in ".*") {
            prop_assert!(mark_of(&text, "name").is_err());
        }
    }

    #[test]
    fn rows_that_come_and_go_between_pages_hide_no_other() {
        let rows = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect::<Vec<_>>();
        let first = listing("limit=2").expect("well asked").page(rows(&["b", "d", "f", "h"]), mark);
        let cursor = first.next.expect("two more");
        let second = listing(&format!("cursor={cursor}")).expect("well asked").page(rows(&["a", "e", "f", "h"]), mark);
        assert_eq!(second.items, rows(&["e", "f", "h"]), "`d` has gone, `a` and `e` have come");
        assert_eq!(second.next, None);
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let rows = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        let cursor = listing("limit=1&sort=-size").expect("well asked").page(rows, mark).next.expect("one more");
        let refusal = listing(&format!("sort=size&cursor={cursor}")).expect_err("sorted the other way");
        assert!(refusal.to_string().contains("sorted by `-size`"), "{refusal}");
    }

    #[test]
    fn a_bad_limit_or_order_is_told_what_is_allowed() {
        for limit in ["0", "1001", "-1", "many", "99999999999999999999"] {
            let refusal = listing(&format!("limit={limit}")).expect_err("no such limit");
            assert_eq!(refusal.to_string(), "`limit` has to be a number from 1 to 1000");
        }
        let refusal = listing("sort=colour").expect_err("no such column");
        assert!(refusal.to_string().starts_with("`sort` has to be one of: name, size;"), "{refusal}");
    }
}
