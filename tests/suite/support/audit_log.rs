//! The lines that the engine writes to its audit log.

use std::{
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use log::{
    LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};

/// The audit lines of all tests of this process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records the audit log. A test finds its own lines by names that no other test uses.
pub(crate) struct AuditLog;

impl AuditLog {
    pub(crate) fn start() -> Self {
        // It fails if another test of the process has set it before.
        let _ = log::set_logger(&Self);
        log::set_max_level(LevelFilter::Info);
        Self
    }

    /// The lines that contain one of these texts.
    pub(crate) fn lines_with(&self, texts: &[&str]) -> Vec<String> {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| texts.iter().any(|text| line.contains(text))).cloned().collect()
    }
}

impl Log for AuditLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "hubcast::audit"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = Line(record.args().to_string());
            record.key_values().visit(&mut line).unwrap();
            LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
        }
    }

    fn flush(&self) {}
}

struct Line(String);

impl<'a> VisitSource<'a> for Line {
    fn visit_pair(&mut self, key: Key<'a>, value: Value<'a>) -> Result<(), Error> {
        Ok(write!(self.0, " {key}={value}")?)
    }
}
