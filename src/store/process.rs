//! The process that holds the name of a node.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::LastSeen;
use crate::ids::secret;

/// A process that can hold the name of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Identifies the process to the store, in at most 64 bytes. Processes that can run at the same time have different
    /// ids. A process that has the id of an ended one takes over its nodes at once.
    pub id: String,
    /// The name of its host, for operators.
    pub host: String,
    /// Its number on the host, for operators.
    pub pid: u32,
    /// When it started, for operators.
    pub since: SystemTime,
}

impl Process {
    /// This process, with an id of its own.
    #[must_use]
    pub fn current() -> Self {
        Self::with_id(secret())
    }

    /// This process, with an id that no other running process has, such as one that a locked file contains.
    #[must_use]
    pub fn with_id(id: impl Into<String>) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { id: id.into(), host, pid: std::process::id(), since: SystemTime::now() }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)?;
        let whole_seconds = self.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match Timestamp::try_from(SystemTime::UNIX_EPOCH + Duration::from_secs(whole_seconds)) {
            Ok(since) => write!(f, " since {since}"),
            Err(_) => Ok(()),
        }
    }
}

/// A process holds the name of a node until its lease expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The process.
    pub process: Process,
    /// When the lease expires, unless the process renews it. `None`: never.
    pub until: Option<SystemTime>,
}

/// The result of [`LeaseStore::renew`](super::LeaseStore::renew).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The process holds the name of the node.
    Renewed {
        /// The number of leases of dead processes and incarnations that were closed.
        closed: u64,
        /// The users of these leases, each once, with the latest time at which it had a connection to any node.
        users: Vec<LastSeen>,
    },
    /// Another process holds it. The call has changed nothing.
    Held(NodeLease),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_shown_by_number_host_and_start() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250);
        let process = Process { id: "x".into(), host: "web-1".into(), pid: 4711, since };
        assert_eq!(process.to_string(), "process 4711 on web-1 since 2027-01-15T08:00:00Z");
    }

    #[test]
    fn current_process_has_a_new_id_each_time() {
        let (one, two) = (Process::current(), Process::current());
        assert_ne!(one.id, two.id);
        assert_eq!((one.pid, one.host.is_empty()), (std::process::id(), false));
    }
}
