//! The shutdown of the process, as far as hubs are concerned.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::task::TaskTracker;

/// Whether shutdown has begun, and the hub code that it waits for.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Hub methods and hooks that are running.
    pub(crate) hub_tasks: TaskTracker,
    has_begun: AtomicBool,
}

impl Drain {
    /// True once shutdown has begun. Connections that start later are sent away.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Waits until all hub methods and hooks have finished.
    pub(crate) async fn hub_tasks_finished(&self) {
        self.hub_tasks.close();
        self.hub_tasks.wait().await;
    }
}
