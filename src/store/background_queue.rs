//! A queue for one background task. A value that is added starts the task, unless it runs; the task ends when nothing
//! waits.
//!
//! It is pure: the caller spawns the task.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// See the module's documentation. `Q` holds the values. Clones share it.
pub(crate) struct BackgroundQueue<Q> {
    state: Arc<Mutex<State<Q>>>,
}

struct State<Q> {
    queue: Q,
    /// A [`QueueWorker`] exists.
    has_worker: bool,
}

impl<Q> BackgroundQueue<Q> {
    pub(crate) fn new(queue: Q) -> Self {
        Self { state: Arc::new(Mutex::new(State { queue, has_worker: false })) }
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        // The values of a queue are valid after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads or changes the queue. Values that are added here do not start the task.
    pub(crate) fn with<T>(&self, access: impl FnOnce(&mut Q) -> T) -> T {
        access(&mut self.lock().queue)
    }

    /// Adds a value by `add`. Returns the worker for a new task, unless one runs.
    ///
    /// # Errors
    /// The error of `add`, and no task is needed.
    pub(crate) fn add<E>(&self, add: impl FnOnce(&mut Q) -> Result<(), E>) -> Result<Option<QueueWorker<Q>>, E> {
        let mut state = self.lock();
        add(&mut state.queue)?;
        let is_new = !std::mem::replace(&mut state.has_worker, true);
        Ok(is_new.then(|| QueueWorker { queue: self.clone(), is_active: true }))
    }
}

impl<Q> Clone for BackgroundQueue<Q> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<Q> fmt::Debug for BackgroundQueue<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundQueue").finish_non_exhaustive()
    }
}

/// The right of a task to work on a queue. There is one at a time. If its task panics or is dropped, the next value that is
/// added starts another task.
#[must_use = "no task works on the queue if it is dropped"]
pub(crate) struct QueueWorker<Q> {
    queue: BackgroundQueue<Q>,
    /// False once the work has ended: another worker may exist.
    is_active: bool,
}

impl<Q> QueueWorker<Q> {
    /// What the task does next. `None` from `next`, as nothing waits, ends the work: the task must end.
    pub(crate) fn next<T>(&mut self, next: impl FnOnce(&mut Q) -> Option<T>) -> Option<T> {
        if !self.is_active {
            return None;
        }
        let mut state = self.queue.lock();
        let work = next(&mut state.queue);
        state.has_worker = work.is_some();
        self.is_active = work.is_some();
        work
    }
}

impl<Q> Drop for QueueWorker<Q> {
    fn drop(&mut self) {
        if self.is_active {
            self.queue.lock().has_worker = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    type Queue = BackgroundQueue<Vec<u32>>;

    fn push(queue: &Queue, value: u32) -> Option<QueueWorker<Vec<u32>>> {
        let push = |values: &mut Vec<u32>| {
            values.push(value);
            Ok::<(), Infallible>(())
        };
        let Ok(worker) = queue.add(push);
        worker
    }

    #[test]
    fn queue_has_one_worker_until_it_is_empty() {
        let queue = Queue::new(Vec::new());
        let mut worker = push(&queue, 1).expect("the first value starts a task");
        assert!(push(&queue, 2).is_none(), "a task runs");
        assert_eq!([worker.next(Vec::pop), worker.next(Vec::pop), worker.next(Vec::pop)], [Some(2), Some(1), None]);
        let next = push(&queue, 3).expect("the task has ended");
        assert_eq!(worker.next(Vec::pop), None, "the value is that of the next task");
        drop(worker);
        assert!(push(&queue, 4).is_none(), "the next task runs");
        drop(next);
    }

    #[test]
    fn refused_value_starts_no_task() {
        let queue = Queue::new(Vec::new());
        assert!(matches!(queue.add(|_| Err("full")), Err("full")));
        assert!(push(&queue, 1).is_some());
    }

    #[test]
    fn dropped_worker_is_replaced() {
        let queue = Queue::new(Vec::new());
        drop(push(&queue, 1));
        let mut worker = push(&queue, 2).expect("no task works on the queue");
        assert_eq!([worker.next(Vec::pop), worker.next(Vec::pop)], [Some(2), Some(1)]);
        assert_eq!(queue.with(|values| values.len()), 0);
    }
}
