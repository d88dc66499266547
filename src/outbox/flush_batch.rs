//! How a broadcast is written to many sockets without standing in the way of the next one.

use std::{cell::Cell, rc::Rc, sync::Arc};

use bytes::BytesMut;
use tokio::task::yield_now;

use super::Outbox;

/// How many sockets are written to at a time: a fraction of a millisecond, during which nothing else is
/// done on the thread.
const PORTION: usize = 32;

/// A wave waits until so many turns of the thread have brought no further broadcast …
const CALM: u32 = 4;

/// … but no longer than so many turns, each of which takes some microseconds.
const PATIENCE: u32 = 256;

/// The broadcasts of one thread, counted so that waves can tell whether more are coming.
#[derive(Clone, Debug, Default)]
pub struct FlushScheduler(Rc<Cell<u64>>);

/// The outboxes that a broadcast has something for. Writing to a thousand sockets at once would put a
/// thousand system calls in front of whatever else the thread has to do, the next broadcast included,
/// which could have gone out with the same calls. They are seen to when this is dropped: once no further
/// broadcast is on its way, and a few at a time.
#[derive(Debug)]
pub struct FlushBatch {
    outboxes: Vec<Arc<Outbox>>,
    scheduler: FlushScheduler,
}

impl FlushScheduler {
    /// A wave for one more broadcast.
    #[must_use]
    pub fn batch(&self) -> FlushBatch {
        self.0.set(self.0.get().wrapping_add(1));
        FlushBatch { outboxes: Vec::new(), scheduler: self.clone() }
    }
}

impl FlushBatch {
    pub(super) fn add(&mut self, outbox: Arc<Outbox>) {
        self.outboxes.push(outbox);
    }
}

impl Drop for FlushBatch {
    fn drop(&mut self) {
        let outboxes = std::mem::take(&mut self.outboxes);
        if outboxes.len() <= PORTION {
            flush(&outboxes, &mut BytesMut::new());
        } else {
            actix::spawn(roll(outboxes, self.scheduler.clone()));
        }
    }
}

fn flush(outboxes: &[Arc<Outbox>], scratch: &mut BytesMut) {
    for outbox in outboxes {
        outbox.flush(scratch);
    }
}

async fn roll(outboxes: Vec<Arc<Outbox>>, scheduler: FlushScheduler) {
    let (mut calm, mut seen) = (0, scheduler.0.get());
    for _ in 0..PATIENCE {
        yield_now().await;
        calm = if scheduler.0.get() == seen { calm + 1 } else { 0 };
        seen = scheduler.0.get();
        if calm == CALM {
            break;
        }
    }
    let mut scratch = BytesMut::new();
    for portion in outboxes.chunks(PORTION) {
        flush(portion, &mut scratch);
        yield_now().await;
    }
}
