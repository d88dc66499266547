//! Deferred flushing of a broadcast to many sockets.
//!
//! Writing to a thousand sockets at once would put a thousand system calls in front of all other work of the thread,
//! including the next broadcast, whose messages could have shared the same system calls. A large [`FlushBatch`]
//! therefore waits until no further broadcast arrives on the thread, and then flushes a few outboxes at a time.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::task::yield_now;

use super::Outbox;

/// The maximum size of a batch that is flushed at once.
const MAX_IMMEDIATE: usize = 32;

/// Number of outboxes of a large batch that are flushed without yielding. Flushing them takes about a quarter of a
/// millisecond, during which the thread does nothing else.
const FLUSH_CHUNK: usize = 64;

/// A large batch is flushed after this many consecutive yields without a new broadcast on the thread …
const QUIET_YIELDS: u32 = 4;

/// … or after this many yields in total …
const MAX_YIELDS: u32 = 256;

/// … or after this time without a new broadcast. A yield takes some microseconds, but a millisecond if the thread has
/// much other work. The messages must not wait for that work several times.
const MAX_QUIET_TIME: Duration = Duration::from_micros(200);

/// Counts the broadcasts of one thread, so that batches can tell whether more are arriving.
#[derive(Clone, Debug, Default)]
pub struct FlushScheduler(Rc<Cell<u64>>);

/// The outboxes that one broadcast was pushed into and that must be flushed. See the module's documentation.
#[derive(Debug)]
#[must_use = "call `schedule` after delivery"]
pub struct FlushBatch {
    outboxes: Vec<Arc<Outbox>>,
    scheduler: FlushScheduler,
}

impl FlushScheduler {
    /// Starts a batch for one broadcast.
    pub fn batch(&self) -> FlushBatch {
        self.0.set(self.0.get().wrapping_add(1));
        FlushBatch { outboxes: Vec::new(), scheduler: self.clone() }
    }
}

impl FlushBatch {
    pub(super) fn add(&mut self, outbox: Arc<Outbox>) {
        self.outboxes.push(outbox);
    }

    /// Flushes up to 32 outboxes at once, and more of them from a task that waits for the thread to run out of
    /// broadcasts. Call this after the delivery, on the thread that delivered.
    pub fn schedule(mut self) {
        let outboxes = std::mem::take(&mut self.outboxes);
        if outboxes.len() <= MAX_IMMEDIATE {
            flush(&outboxes, &mut BytesMut::new());
        } else {
            actix::spawn(flush_in_batches(outboxes, self.scheduler.clone()));
        }
    }
}

/// A delivery that panics never reaches [`FlushBatch::schedule`]. The outboxes that it has filled would stay marked as
/// batched, and no later batch would flush them; so their transports are woken instead.
impl Drop for FlushBatch {
    fn drop(&mut self) {
        self.outboxes.drain(..).for_each(|outbox| outbox.leave_batch());
    }
}

fn flush(outboxes: &[Arc<Outbox>], scratch: &mut BytesMut) {
    for outbox in outboxes {
        outbox.flush(scratch);
    }
}

/// Waits until no further broadcast arrives on the thread.
async fn wait_for_quiet(scheduler: &FlushScheduler) {
    let (mut quiet, mut seen, mut quiet_since) = (0, scheduler.0.get(), Instant::now());
    for _ in 0..MAX_YIELDS {
        yield_now().await;
        if scheduler.0.get() != seen {
            (quiet, seen, quiet_since) = (0, scheduler.0.get(), Instant::now());
            continue;
        }
        quiet += 1;
        if quiet == QUIET_YIELDS || quiet_since.elapsed() > MAX_QUIET_TIME {
            return;
        }
    }
}

async fn flush_in_batches(outboxes: Vec<Arc<Outbox>>, scheduler: FlushScheduler) {
    wait_for_quiet(&scheduler).await;
    let mut scratch = BytesMut::new();
    for chunk in outboxes.chunks(FLUSH_CHUNK) {
        flush(chunk, &mut scratch);
        yield_now().await;
    }
}
