//! The calls that run, by number and by id.

use tokio_util::sync::{CancellationToken, DropGuard};

use super::PendingCall;

/// What a call counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// The number of parallel calls.
    Plain,
    /// The number of calls with streams; the client sends streams and expects a value.
    Upload,
    /// The same; the client expects a stream.
    Stream,
}

/// A call that runs.
#[derive(Debug)]
struct RunningCall<P> {
    number: u64,
    kind: CallKind,
    holds_slot: bool,
    pending: P,
    /// Cancels the stream that the call returns.
    _stream: Option<DropGuard>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct RunningCalls<P> {
    /// In the order of their numbers.
    calls: Vec<RunningCall<P>>,
    slots: usize,
    with_streams: usize,
}

impl<P: PendingCall> RunningCalls<P> {
    pub(super) const fn new() -> Self {
        Self { calls: Vec::new(), slots: 0, with_streams: 0 }
    }

    /// Adds a call. Its number is greater than those before.
    pub(super) fn start(&mut self, number: u64, kind: CallKind, pending: P, stream: Option<CancellationToken>) {
        let holds_slot = kind == CallKind::Plain;
        self.slots += usize::from(holds_slot);
        self.with_streams += usize::from(!holds_slot);
        let stream = stream.map(CancellationToken::drop_guard);
        self.calls.push(RunningCall { number, kind, holds_slot, pending, _stream: stream });
    }

    pub(super) fn find(&self, number: u64) -> Option<&P> {
        Some(&self.calls[self.index(number)?].pending)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<P> {
        self.index(number).map(|index| self.remove_at(index))
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.calls.binary_search_by_key(&number, |call| call.number).ok()
    }

    fn remove_at(&mut self, index: usize) -> P {
        let call = self.calls.remove(index);
        self.slots -= usize::from(call.holds_slot);
        self.with_streams -= usize::from(call.kind != CallKind::Plain);
        call.pending
    }

    /// Frees the slot of a call, if it holds one.
    pub(super) fn release_slot(&mut self, number: u64) {
        if let Some(index) = self.index(number) {
            self.slots -= usize::from(std::mem::take(&mut self.calls[index].holds_slot));
        }
    }

    pub(super) fn has_stream(&self, id: &str) -> bool {
        self.stream_index(id).is_some()
    }

    /// Removes the call that returns the stream with this id.
    pub(super) fn remove_stream(&mut self, id: &str) -> Option<P> {
        self.stream_index(id).map(|index| self.remove_at(index))
    }

    fn stream_index(&self, id: &str) -> Option<usize> {
        self.calls.iter().position(|call| call.kind == CallKind::Stream && call.pending.id() == Some(id))
    }

    /// Removes all calls that return streams.
    pub(super) fn remove_streams(&mut self) {
        self.calls.retain(|call| call.kind != CallKind::Stream);
        self.with_streams = self.calls.iter().filter(|call| call.kind != CallKind::Plain).count();
    }

    /// The number of plain calls that hold a slot.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The number of calls with streams in either direction.
    pub(super) fn with_streams(&self) -> usize {
        self.with_streams
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }
}
