//! The requester of a change, and the audit log of changes.

use std::{borrow::Cow, fmt::Display, sync::Arc};

use log::{Level, Record, kv::Value, log_enabled, logger};

use crate::connections::{ConnectionHandle, Reconnect};

/// The target of the audit log.
const TARGET: &str = "hubcast::audit";

/// The requester of the application, unless it names itself.
const APPLICATION: &str = "application";

/// Who requests a change of connections, groups or users.
#[derive(Clone, Debug)]
pub(crate) enum Requester {
    /// A hub method or hook of this connection. Its changes are logged at `debug` only, because a client causes them.
    Caller(Arc<ConnectionHandle>),
    /// The application, or an operator by its name.
    Named(Arc<str>),
}

impl Requester {
    pub(crate) fn application() -> Self {
        Self::named(APPLICATION)
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::Named(name.into())
    }

    /// The connection whose hub method or hook this is.
    pub(super) fn caller(&self) -> Option<&Arc<ConnectionHandle>> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Named(_) => None,
        }
    }

    /// Logs a disconnect of the subject. The result is the number of clients that were told.
    pub(crate) fn audit_disconnect(
        &self,
        subject: &[(&str, &str)],
        reconnect: Reconnect,
        result: &Result<usize, impl Display>,
    ) {
        let subject = [subject, &[("reconnect", reconnect.name())]].concat();
        self.audit("disconnect", &subject, result, |count| format!("{count} disconnected"));
    }

    /// Logs a change: one line with the requester, the subject as fields, and the result.
    pub(crate) fn audit<T, E: Display>(
        &self,
        action: &str,
        subject: &[(&str, &str)],
        result: &Result<T, E>,
        describe: impl FnOnce(&T) -> String,
    ) {
        let (level, by) = match self {
            Self::Caller(caller) => (Level::Debug, &*caller.id),
            Self::Named(name) => (Level::Info, &**name),
        };
        if !log_enabled!(target: TARGET, level) {
            return;
        }
        let result = result.as_ref().map_or_else(|error| format!("failed: {error}"), describe);
        let fields = [("by", by)].into_iter().chain(subject.iter().copied()).chain([("result", &*result)]);
        let texts: Vec<_> = fields.map(|(name, text)| (name, quoted_if_needed(text))).collect();
        let fields: Vec<_> = texts.iter().map(|(name, text)| (*name, Value::from(&**text))).collect();
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record.level(level).target(TARGET).module_path_static(Some(module_path!())).key_values(&fields);
        logger().log(&record.args(format_args!("{action}")).build());
    }
}

/// Quotes a text that is not a single plain word. Clients choose names of users and groups, and a line break in one must
/// not look like a line of the log.
fn quoted_if_needed(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:@/+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.into() } else { format!("{text:?}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unusual_names_are_quoted() {
        for (text, logged) in [
            ("ann@example.org", "ann@example.org"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("ann\nINFO forged", "\"ann\\nINFO forged\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
        ] {
            assert_eq!(quoted_if_needed(text), logged);
        }
    }
}
