//! The conformance suites of the stores that need a server. Each test has a database of its own.
//!
//! `tests/run` installs the servers. Without them, the tests fail.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test and reports its location")]

mod azure;
mod deadlocks;
mod mariadb;
mod postgres;
mod server_checks;
mod support;
mod tls;
