//! Checks of the address of a SQLite database, before [`SeaStore::connect`](crate::store::sea::SeaStore::connect) uses it.
//!
//! They distinguish databases in memory from files. They do not connect.

use std::borrow::Cow;

use crate::store::{
    Error,
    sea::parameters::{self, Parameters},
};

const EXPECTED: &str = "expected sqlite://path/to/file or sqlite::memory:";

/// The lists of the driver.
const PARAMETERS: Parameters = Parameters {
    is_known: |name| matches!(name, "mode" | "cache" | "immutable" | "vfs"),
    choices: &[
        (&["mode"], &["ro", "rw", "rwc", "memory"]),
        (&["cache"], &["private", "shared"]),
        (&["immutable"], &["true", "false", "1", "0"]),
    ],
};

/// Refuses unknown parameters, and addresses without a file name: for those, SQLite would open a separate temporary
/// database per connection.
pub(in crate::store::sea) fn check(url: &str) -> Result<(), Error> {
    let path = url.trim_start_matches("sqlite:");
    match path.trim_start_matches('/').split('?').next() {
        None | Some("") => Err(Error::Address(format!("`{url}` does not name a file, {EXPECTED}"))),
        Some(_) => PARAMETERS.check(url),
    }
}

/// The path and the mode of an address, read as its driver reads them: a path may contain `mode=` or `:memory:` too.
fn path_and_mode(url: &str) -> (&str, Option<Cow<'_, str>>) {
    let rest = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    (path, parameters::pairs(url).find(|(name, _)| name == "mode").map(|(_, mode)| mode))
}

/// Whether the driver creates a missing file.
pub(super) fn creates_file(url: &str) -> bool {
    !is_in_memory(url) && path_and_mode(url).1.is_none_or(|mode| mode == "rwc")
}

/// Whether each connection would have a separate database.
pub(super) fn is_in_memory(url: &str) -> bool {
    let (path, mode) = path_and_mode(url);
    path == ":memory:" || mode.is_some_and(|mode| mode == "memory")
}

/// Whether the address sets the mode, which decides if a missing file is created.
pub(super) fn has_mode(url: &str) -> bool {
    path_and_mode(url).1.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_memory_addresses_are_accepted() {
        for url in ["sqlite://hubcast.db", "sqlite:///var/lib/hubcast.db?mode=rwc", "sqlite:h.db", "sqlite::memory:"] {
            check(url).unwrap();
        }
    }

    #[test]
    fn address_without_file_name_is_refused() {
        for url in ["sqlite:", "sqlite://", "sqlite:///", "sqlite://?mode=rwc"] {
            let error = check(url).unwrap_err().to_string();
            assert!(error.contains("does not name a file") && error.contains(EXPECTED), "{error}");
        }
    }

    #[test]
    fn database_in_memory_is_recognized() {
        assert!(is_in_memory("sqlite::memory:") && is_in_memory("sqlite:shared?mode=memory"));
        assert!(is_in_memory("sqlite://:memory:") && is_in_memory("sqlite:a?cache=shared&mode=memory"));
        assert!(!is_in_memory("sqlite:///memory.db?mode=rwc"));
    }

    #[test]
    fn mode_decides_whether_a_file_is_created() {
        assert!(creates_file("sqlite:a.db") && creates_file("sqlite:///a.db?mode=rwc"));
        for url in ["sqlite:a.db?mode=rw", "sqlite:a.db?mode=ro", "sqlite::memory:", "sqlite:a?mode=memory"] {
            assert!(!creates_file(url), "{url}");
        }
    }

    #[test]
    fn mode_and_memory_in_path_are_part_of_the_name() {
        for url in ["sqlite:///srv/:memory:/hubcast.db", "sqlite:///srv/mode=memory", "sqlite:a.db?cache=mode=memory"] {
            assert!(!is_in_memory(url) && !has_mode(url), "{url}");
        }
        assert!(has_mode("sqlite:///srv/mode=x/a.db?cache=shared&mode=ro"));
    }
}
