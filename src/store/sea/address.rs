//! Checks of a database address, before [`SeaStore::connect`](super::SeaStore::connect) uses it.
//!
//! They refuse unsupported addresses with helpful errors, and distinguish databases in memory from files. They do not
//! connect, and no error shows a part of an address that could be a password.

use crate::store::Error;

const EXPECTED: &str = "expected sqlite://path/to/file or sqlite::memory:";

/// Refuses addresses that no driver supports, and addresses without a file name: for those, SQLite would open a
/// separate temporary database per connection.
pub(super) fn check(url: &str) -> Result<(), Error> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        // Only the scheme is shown: the rest can contain a password.
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(Error::Address(format!("`{scheme}` is not a supported database, {EXPECTED}")));
    };
    match path.trim_start_matches('/').split('?').next() {
        None | Some("") => Err(Error::Address(format!("`{url}` does not name a file, {EXPECTED}"))),
        Some(_) => Ok(()),
    }
}

/// Whether each connection would have a separate database.
pub(super) fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Whether the address sets the mode, which decides if a missing file is created.
pub(super) fn has_mode(url: &str) -> bool {
    url.contains("mode=")
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
    fn unsupported_database_is_reported_without_its_password() {
        let error = check("postgres://hubcast:hunter2@db/hubcast").unwrap_err().to_string();
        assert!(error.contains("`postgres`") && !error.contains("hunter2"), "{error}");
        for url in ["", "hubcast.db", "/var/lib/hubcast.db", "SQLite.db"] {
            assert!(matches!(check(url), Err(Error::Address(_))), "{url}");
        }
    }

    #[test]
    fn database_in_memory_is_recognized() {
        assert!(is_in_memory("sqlite::memory:") && is_in_memory("sqlite:shared?mode=memory"));
        assert!(!is_in_memory("sqlite:///memory.db?mode=rwc"));
    }
}
