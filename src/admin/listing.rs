//! Sorted lists in pages, with cursors.
//!
//! A cursor holds the sort key of the last row of a page. Rows that are added or removed between two requests
//! therefore neither repeat nor hide other rows. If the list is sorted by a number that changes, a row can move to
//! another page.

use std::cmp::Ordering;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{AdminError, query::Query};

/// The number of rows of a page without `limit`.
const DEFAULT_LIMIT: usize = 100;

/// The maximum number of rows of a page, which keeps responses below a megabyte.
const MAX_LIMIT: usize = 1000;

/// The value of the column by which rows are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

/// The position of a row in the order: by value, then by name, which is unique.
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

/// A request for a page: sort order, cursor and limit.
#[derive(Debug)]
pub(super) struct Listing {
    sort: String,
    after: Option<SortKey>,
    pub(super) limit: usize,
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The number of rows of the whole list.
    pub(super) total: usize,
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), total: self.total, next: self.next }
    }
}

impl Listing {
    /// Parses `sort`, `limit` and `cursor`. The default order is by the first of `columns`.
    pub(super) fn parse(query: &Query, columns: &[&str]) -> Result<Self, AdminError> {
        let sort = query.text("sort").unwrap_or(columns[0]);
        if !columns.contains(&sort.strip_prefix('-').unwrap_or(sort)) {
            let reason = format!("must be one of: {}; a - before it reverses the order", columns.join(", "));
            return Err(AdminError::invalid_parameter("sort", reason));
        }
        let after = query.text("cursor").map(|cursor| sort_key_of(cursor, sort)).transpose()?;
        Ok(Self { sort: sort.to_owned(), after, limit: parse_limit(query)? })
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

    /// Selects the page from `rows`. `sort_key` returns the sort key of a row for a column.
    pub(super) fn page<T>(&self, rows: Vec<T>, sort_key: impl Fn(&T, &str) -> SortKey) -> Page<T> {
        let total = rows.len();
        let keyed = rows.into_iter().map(|row| (sort_key(&row, self.column()), row));
        let is_after_cursor = |key: &SortKey| self.after.as_ref().is_none_or(|after| self.compare(key, after).is_gt());
        let mut rest: Vec<_> = keyed.filter(|(key, _)| is_after_cursor(key)).collect();
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

/// Parses the `limit` of a query.
pub(super) fn parse_limit(query: &Query) -> Result<usize, AdminError> {
    let Some(text) = query.text("limit") else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| AdminError::invalid_parameter("limit", format!("must be a number from 1 to {MAX_LIMIT}")))
}

fn sort_key_of(cursor: &str, sort: &str) -> Result<SortKey, AdminError> {
    let cursor: Cursor = decode("cursor", cursor)?;
    if cursor.sort != sort {
        let reason = format!("belongs to a list sorted by `{}`; use that order, or omit the cursor", cursor.sort);
        return Err(AdminError::invalid_parameter("cursor", reason));
    }
    Ok(cursor.after)
}

/// Encodes a cursor for use in a query.
pub(super) fn encode(cursor: &impl Serialize) -> String {
    let json = serde_json::to_vec(cursor).expect("strings and numbers can be serialized");
    URL_SAFE_NO_PAD.encode(json)
}

/// Decodes the result of [`encode`]. `name` is the name of the parameter.
pub(super) fn decode<T: for<'a> Deserialize<'a>>(name: &str, text: &str) -> Result<T, AdminError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    cursor.ok_or_else(|| AdminError::invalid_parameter(name, "must be the unchanged `next` of a previous page"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALLOWED: &[&str] = &["sort", "limit", "cursor"];
    const COLUMNS: &[&str] = &["name", "size"];

    fn listing(query: &str) -> Result<Listing, AdminError> {
        Listing::parse(&Query::parse(query, ALLOWED).expect("allowed parameters"), COLUMNS)
    }

    fn sort_key(row: &(String, u64), column: &str) -> SortKey {
        let value = if column == "size" { Value::Number(row.1) } else { Value::Text(row.0.clone()) };
        SortKey { value, name: row.0.clone() }
    }

    fn all_pages(rows: &[(String, u64)], sort: &str, limit: usize) -> Vec<(String, u64)> {
        let (mut rows_seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let listing = listing(&format!("sort={sort}&limit={limit}&cursor={cursor}")).expect("a valid query");
            let page = listing.page(rows.to_vec(), sort_key);
            assert_eq!(page.total, rows.len());
            rows_seen.extend(page.items);
            match page.next {
                Some(next) => cursor = next,
                None => return rows_seen,
            }
        }
    }

    proptest! {
        #[test]
        fn concatenated_pages_are_the_sorted_list(
            sizes in prop::collection::vec(0u64..4, 0..40), limit in 1usize..12, descending in any::<bool>(),
        ) {
            let rows: Vec<_> = sizes.iter().enumerate().map(|(index, size)| (format!("row {index:02}"), *size)).collect();
            let mut expected = rows.clone();
            expected.sort_by_key(|(_, size)| if descending { u64::MAX - size } else { *size });
            prop_assert_eq!(all_pages(&rows, if descending { "-size" } else { "size" }, limit), expected);
        }

        #[test]
        fn arbitrary_cursor_text_is_an_error(text in ".*") {
            prop_assert!(sort_key_of(&text, "name").is_err());
        }
    }

    #[test]
    fn changes_between_pages_hide_no_row() {
        let rows = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect::<Vec<_>>();
        let first = listing("limit=2").expect("a valid query").page(rows(&["b", "d", "f", "h"]), sort_key);
        let cursor = first.next.expect("two more");
        let second =
            listing(&format!("cursor={cursor}")).expect("a valid query").page(rows(&["a", "e", "f", "h"]), sort_key);
        assert_eq!(second.items, rows(&["e", "f", "h"]), "`d` was removed, `a` and `e` were added");
        assert_eq!(second.next, None);
    }

    #[test]
    fn cursor_of_another_order_is_refused() {
        let rows = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        let cursor = listing("limit=1&sort=-size").expect("a valid query").page(rows, sort_key).next.expect("one more");
        let error = listing(&format!("sort=size&cursor={cursor}")).expect_err("sorted the other way");
        assert!(error.to_string().contains("sorted by `-size`"), "{error}");
    }

    #[test]
    fn invalid_limit_or_order_error_lists_allowed_values() {
        for limit in ["0", "1001", "-1", "many", "99999999999999999999"] {
            let error = listing(&format!("limit={limit}")).expect_err("an invalid limit");
            assert_eq!(error.to_string(), "`limit` must be a number from 1 to 1000");
        }
        let error = listing("sort=colour").expect_err("an unknown column");
        assert!(error.to_string().starts_with("`sort` must be one of: name, size;"), "{error}");
    }
}
