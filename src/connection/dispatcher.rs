//! The dispatcher of a connection: the calls of its client, the streams in both directions, and the results that the
//! client returns, all by id.
//!
//! It is a pure state machine in the session of each dialect. The session passes each [`Request`] of the client in the
//! order of its arrival, and writes the texts and frames for each [`Action`]. After a change that may have freed a slot
//! or a stream, it takes the actions of the requests that have waited: [`Dispatcher::next_action`].
//!
//! * **Admission.** A limited number of plain calls runs at a time. A further one waits, and with it each request behind
//!   it. Calls with a stream in either direction take no slot: a call that waits would keep the items of the streams
//!   before it from being read.
//! * **Results of the client do not wait.** A hub method that awaits one would otherwise wait for a request that waits
//!   for the method.
//! * **Cancellation.** A stream that is cancelled, or whose client has gone, cancels the token of its call
//!   ([`Invoke::cancelled`]).

use tokio_util::sync::CancellationToken;

use super::Invoke;
use crate::{hub::UploadCapacity, payload::Payload, router::ClientResult};

mod queue;
mod running;
mod uploads;

use queue::Queue;
use running::{CallKind, RunningCalls};
use uploads::OpenUploads;

/// The maximum number of calls with streams that run at a time. A call beyond it fails. The reference server has no
/// limit; a client that starts this many has lost count of them.
const MAX_STREAMING_CALLS: usize = 1000;

/// The limits of a dispatcher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DispatchLimits {
    /// The number of plain calls that run at a time.
    pub(crate) parallel_calls: usize,
    /// The number of items that each stream of the client buffers.
    pub(crate) stream_capacity: usize,
}

/// What a dialect keeps of a call until it has returned.
pub(crate) trait PendingCall {
    /// The id that the client has given the call.
    fn id(&self) -> Option<&str>;
}

/// A call of a hub method that has been received.
#[derive(Debug)]
pub(crate) struct IncomingCall<P> {
    pub(crate) pending: P,
    /// The number, the streams of the client and the cancellation are set when the call starts.
    pub(crate) invoke: Invoke,
    /// The ids of the streams that the client sends along.
    pub(crate) stream_ids: Vec<String>,
}

impl<P> IncomingCall<P> {
    fn kind(&self) -> CallKind {
        match self.invoke.streams.wants_stream {
            true => CallKind::Stream,
            false if self.stream_ids.is_empty() => CallKind::Plain,
            false => CallKind::Upload,
        }
    }
}

/// A request of a client.
#[derive(Debug)]
pub(crate) enum Request<P> {
    /// Calls a hub method.
    Call(IncomingCall<P>),
    /// Sends an item of a stream; `None` if it cannot be read.
    StreamItem(String, Option<Payload>),
    /// Ends a stream, or returns the result of a client method.
    Completion(String, ClientResult),
    /// Wants no more items of the stream that the call with this id returns.
    Cancel(String),
}

/// What the session has to do.
#[derive(Debug)]
pub(crate) enum Action<P> {
    /// Run the hub method.
    Invoke(Invoke),
    /// Tell the client why the call is not run.
    Refuse(P, CallRefusal),
    /// Tell the client that the stream has ended as requested.
    EndStream(P),
    /// Wait for space in a stream of the client, then call [`Dispatcher::on_upload_ready`].
    AwaitUpload(UploadCapacity),
    /// Pass the result of a client method on.
    ClientResult(String, ClientResult),
}

/// Why a call with streams is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallRefusal {
    /// A stream of another call with the same id is running.
    IdInUse,
    /// The client has this many calls with streams.
    TooManyStreams(usize),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Dispatcher<P> {
    limits: DispatchLimits,
    /// False until calls may start.
    is_open: bool,
    /// The number of the next call that starts.
    next_number: u64,
    running: RunningCalls<P>,
    queue: Queue<P>,
    uploads: OpenUploads,
}

impl<P: PendingCall> Dispatcher<P> {
    pub(crate) fn new(limits: DispatchLimits) -> Self {
        Self {
            limits,
            is_open: true,
            next_number: 0,
            running: RunningCalls::new(),
            queue: Queue::new(),
            uploads: OpenUploads::new(limits.stream_capacity),
        }
    }

    /// A dispatcher whose requests wait until [`Dispatcher::open`].
    pub(crate) fn closed(limits: DispatchLimits) -> Self {
        Self { is_open: false, ..Self::new(limits) }
    }

    /// Lets calls start.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    /// Handles a request, unless it has to wait.
    pub(crate) fn dispatch(&mut self, request: Request<P>) -> Option<Action<P>> {
        match request {
            Request::Completion(id, result) if !self.uploads.contains(&id) && !self.queue.opens_stream(&id) => {
                Some(Action::ClientResult(id, result))
            }
            request if self.is_blocked() || !self.is_ready(&request) => {
                self.queue.push(request);
                None
            }
            request => self.handle(request),
        }
    }

    /// The next action of the requests that have waited; `None` once there is none or they have to wait on.
    pub(crate) fn next_action(&mut self) -> Option<Action<P>> {
        while !self.uploads.is_blocked() && self.queue.first().is_some_and(|request| self.is_ready(request)) {
            let action = self.queue.pop().and_then(|request| self.handle(request));
            if action.is_some() {
                return action;
            }
        }
        None
    }

    fn is_ready(&self, request: &Request<P>) -> bool {
        let takes_slot = matches!(request, Request::Call(call) if call.kind() == CallKind::Plain);
        self.is_open && !(takes_slot && self.running.slots() >= self.limits.parallel_calls)
    }

    fn handle(&mut self, request: Request<P>) -> Option<Action<P>> {
        match request {
            Request::Call(call) => Some(self.start(call)),
            Request::StreamItem(id, item) => self.uploads.push(id, item).map(Action::AwaitUpload),
            Request::Completion(id, result) if self.uploads.contains(&id) => {
                self.uploads.complete(&id, result);
                None
            }
            Request::Completion(id, result) => Some(Action::ClientResult(id, result)),
            Request::Cancel(id) => self.running.remove_stream(&id).map(Action::EndStream),
        }
    }

    fn start(&mut self, call: IncomingCall<P>) -> Action<P> {
        let kind = call.kind();
        let IncomingCall { pending, mut invoke, stream_ids } = call;
        if let Some(refusal) = self.refusal(kind, &pending) {
            return Action::Refuse(pending, refusal);
        }
        invoke.number = self.next_number;
        self.next_number += 1;
        invoke.uploads = self.uploads.open(stream_ids).into();
        invoke.cancelled = (kind == CallKind::Stream).then(CancellationToken::new);
        self.running.start(invoke.number, kind, pending, invoke.cancelled.clone());
        Action::Invoke(invoke)
    }

    fn refusal(&self, kind: CallKind, pending: &P) -> Option<CallRefusal> {
        let is_in_use = |id| kind == CallKind::Stream && self.running.has_stream(id);
        if pending.id().is_some_and(is_in_use) {
            return Some(CallRefusal::IdInUse);
        }
        let is_full = kind != CallKind::Plain && self.running.with_streams() >= MAX_STREAMING_CALLS;
        is_full.then_some(CallRefusal::TooManyStreams(MAX_STREAMING_CALLS))
    }

    /// A call that runs; `None` if its client expects no answer any more.
    pub(crate) fn running(&self, number: u64) -> Option<&P> {
        self.running.find(number)
    }

    /// A call has returned a value or failed, or its stream has ended. Returns it if its client expects an answer.
    pub(crate) fn end_call(&mut self, number: u64) -> Option<P> {
        let call = self.running.remove(number);
        self.uploads.forget_unused();
        call
    }

    /// A call waits for the result of a client, and gives its slot back. Otherwise another call could keep the request
    /// from being read that the client answers with.
    pub(crate) fn release_slot(&mut self, number: u64) {
        self.running.release_slot(number);
    }

    /// A stream of the client has space, or is not read any more.
    pub(crate) fn on_upload_ready(&mut self) -> Option<Action<P>> {
        self.uploads.retry().map(Action::AwaitUpload)
    }

    /// The client has gone: its streams end with an error, and those that it receives are cancelled. Its calls continue.
    pub(crate) fn end_streams(&mut self) {
        self.uploads.clear();
        self.running.remove_streams();
    }

    /// The connection has ended: nothing waits, and no answer is expected.
    pub(crate) fn clear(&mut self) {
        self.uploads.clear();
        self.queue = Queue::new();
        self.running = RunningCalls::new();
    }

    /// True if requests wait: for a slot, for space in a stream, or for [`Dispatcher::open`].
    pub(crate) fn is_blocked(&self) -> bool {
        self.uploads.is_blocked() || !self.queue.is_empty()
    }

    /// True if the requests that wait occupy so much memory that nothing more should be decoded.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// About the number of bytes that the requests that wait occupy.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// True if all slots are taken or waited for.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.calls() >= self.limits.parallel_calls
    }

    /// True while a plain call runs, unless it waits for the result of a client.
    pub(crate) fn has_plain_calls(&self) -> bool {
        self.running.slots() > 0
    }

    /// The number of calls that run or wait.
    pub(crate) fn calls(&self) -> usize {
        self.running.len() + self.queue.calls()
    }
}

#[cfg(test)]
mod tests;
