//! What the address of a database says before anybody connects to it.
//!
//! Role: turns away what is no address of ours, in words that help; tells memory from files.
//! Life: functions of a text.
//! Neighbours: only [`SeaStore::connect`](super::SeaStore::connect).
//! Never: it does not connect, and shows nothing of an address that may hold a password.

use crate::store::Error;

const EXPECTED: &str = "expected sqlite://path/to/file or sqlite::memory:";

/// Refuses what no driver would understand, and what SQLite would misread: a file without a name is another
/// database for each connection.
pub(super) fn check(url: &str) -> Result<(), Error> {
    let Some(place) = url.strip_prefix("sqlite:") else {
        // Only the scheme is shown: what follows it may hold a password.
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(Error::Address(format!("`{scheme}` is no database that this build knows, {EXPECTED}")));
    };
    match place.trim_start_matches('/').split('?').next() {
        None | Some("") => Err(Error::Address(format!("`{url}` names no file, {EXPECTED}"))),
        Some(_) => Ok(()),
    }
}

/// Whether each connection to it would have a database of its own.
pub(super) fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Whether it says by itself if a file that is missing is to be made.
pub(super) fn has_mode(url: &str) -> bool {
    url.contains("mode=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_memory_are_addresses() {
        for url in ["sqlite://hubcast.db", "sqlite:///var/lib/hubcast.db?mode=rwc", "sqlite:h.db", "sqlite::memory:"] {
            check(url).unwrap();
        }
    }

    #[test]
    fn a_file_without_a_name_is_refused() {
        for url in ["sqlite:", "sqlite://", "sqlite:///", "sqlite://?mode=rwc"] {
            let error = check(url).unwrap_err().to_string();
            assert!(error.contains("names no file") && error.contains(EXPECTED), "{error}");
        }
    }

    #[test]
    fn another_database_is_named_without_its_password() {
        let error = check("postgres://hubcast:hunter2@db/hubcast").unwrap_err().to_string();
        assert!(error.contains("`postgres`") && !error.contains("hunter2"), "{error}");
        for url in ["", "hubcast.db", "/var/lib/hubcast.db", "SQLite.db"] {
            assert!(matches!(check(url), Err(Error::Address(_))), "{url}");
        }
    }

    #[test]
    fn a_database_in_memory_is_known_by_its_address() {
        assert!(is_in_memory("sqlite::memory:") && is_in_memory("sqlite:shared?mode=memory"));
        assert!(!is_in_memory("sqlite:///memory.db?mode=rwc"));
    }
}
