//! Hub method calls of a client: at most `parallel_calls` run at a time, and one more is queued. Calls run to
//! completion even if the client disconnects.
//!
//! Wire: calls with a stream in either direction do not count. A queued call would keep the items of the streams before
//! it from being read.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Session, SessionEffects, State, effect::send_unless_empty, error_messages::PendingInvocation};
use crate::{
    aspnetcore::protocol::{Invocation, ServerMessage},
    connection::{Dialect, Effect, Invoke, Reason},
    hub::{Arguments, CallError, CallerState, HubError, Streams},
    payload::Payload,
    router::ClientResult,
};

/// The maximum number of calls with streams that run at a time. A call beyond it fails. The reference server has no
/// limit; a client that starts this many has lost count of them.
const MAX_STREAMING_CALLS: usize = 1000;

/// What a call counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// The number of parallel calls.
    Plain,
    /// The number of calls with streams; the client sends streams and expects a value.
    Upload,
    /// The same; the client expects a stream.
    Stream,
}

impl CallKind {
    fn of(invocation: &Invocation) -> Self {
        match invocation {
            Invocation { wants_stream: true, .. } => Self::Stream,
            Invocation { stream_ids, .. } if stream_ids.is_empty() => Self::Plain,
            _ => Self::Upload,
        }
    }
}

impl Session {
    pub(super) fn on_invocation(&mut self, invocation: Invocation) -> SessionEffects {
        let kind = CallKind::of(&invocation);
        if let Some(error) = self.refusal(kind, &invocation) {
            let id = invocation.id.as_deref();
            return id.map(|id| Effect::Send(self.protocol.write(&ServerMessage::Error { id, error: &error }))).into();
        }
        let (pending, invoke) = self.build_invoke(invocation, kind);
        match kind {
            CallKind::Plain => return self.start_or_queue(pending, invoke),
            CallKind::Upload => self.upload_calls += 1,
            CallKind::Stream => self.streams.insert(pending.id.clone().unwrap_or_default(), pending.number),
        }
        Effect::Invoke(pending, invoke).into()
    }

    /// Why a call with streams cannot be started.
    fn refusal(&self, kind: CallKind, invocation: &Invocation) -> Option<String> {
        let is_in_use = |id: &String| kind == CallKind::Stream && self.streams.contains(id);
        if let Some(id) = invocation.id.as_ref().filter(|id| is_in_use(id)) {
            return Some(format!("Invocation ID '{id}' is already in use."));
        }
        let is_full = kind != CallKind::Plain && self.streaming_calls() >= MAX_STREAMING_CALLS;
        is_full.then(|| format!("The client has {MAX_STREAMING_CALLS} invocations with streams already."))
    }

    pub(super) fn streaming_calls(&self) -> usize {
        self.upload_calls + self.streams.len()
    }

    fn build_invoke(&mut self, invocation: Invocation, kind: CallKind) -> (PendingInvocation, Invoke) {
        let format = self.protocol.format();
        let Invocation { headers, id, target, arguments, stream_ids, wants_stream } = invocation;
        let number = self.next_number;
        self.next_number += 1;
        let pending = PendingInvocation { number, kind, id, target: target.clone() };
        let invoke = Invoke {
            number,
            hub: self.hub.name().clone(),
            method: target,
            arguments: match arguments {
                Ok(values) => Arguments::new(format, values, Self::BEHAVIOR.binding),
                Err(fault) => Arguments::malformed(format, fault),
            },
            state: CallerState::default(),
            streams: Streams { sent: stream_ids.len(), wants_stream },
            uploads: self.uploads.open(stream_ids).into(),
            headers: (!headers.is_empty()).then(|| Arc::new(headers)),
            request: None,
        };
        (pending, invoke)
    }

    fn start_or_queue(&mut self, invocation: PendingInvocation, invoke: Invoke) -> SessionEffects {
        if self.slots.len() < self.settings.parallel_calls.get() {
            self.slots.push(invocation.number);
            return Effect::Invoke(invocation, invoke).into();
        }
        self.queued_call = Some(Box::new((invocation, invoke)));
        SessionEffects::none()
    }

    pub(super) fn on_returned(
        &mut self,
        invocation: &PendingInvocation,
        result: Result<Payload, CallError>,
        now: Instant,
    ) -> SessionEffects {
        let is_cancelled = !self.end_call(invocation);
        let completion = self.error_messages.completion(self.protocol, &self.hub, invocation, result);
        let effects: SessionEffects = match completion {
            Ok(completion) => completion.filter(|_| !is_cancelled).map_or_else(SessionEffects::none, send_unless_empty),
            Err(error) => return self.end_with_error(error, Reason::Faulted),
        };
        effects.then(self.continue_reading(now))
    }

    /// Frees the place of a call. False if its client has cancelled it.
    fn end_call(&mut self, invocation: &PendingInvocation) -> bool {
        let is_expected = match invocation.kind {
            CallKind::Plain => {
                self.slots.retain(|number| *number != invocation.number);
                return true;
            }
            CallKind::Upload => {
                self.upload_calls -= 1;
                true
            }
            CallKind::Stream => self.streams.remove(invocation.number).is_some(),
        };
        self.uploads.forget_unused();
        is_expected
    }

    /// Starts the queued call if there is a slot for it, and handles the messages behind it.
    fn continue_reading(&mut self, now: Instant) -> SessionEffects {
        let mut effects = SessionEffects::none();
        if let Some(queued) = self.queued_call.take() {
            let (invocation, invoke) = *queued;
            // The client timeout does not include the time that the call was queued, because nothing was read then.
            self.last_received = self.last_received.map(|_| now);
            effects.append(self.start_or_queue(invocation, invoke));
        }
        match self.state {
            State::Open => effects.append(self.process_buffered(now)),
            State::Leaving if self.queued_call.is_none() => effects.append(self.finish_queued_calls(now)),
            State::Faulted if self.slots.is_empty() => effects.append(self.send_pending_fault()),
            _ => {}
        }
        effects
    }

    /// The client has disconnected. Starts its buffered calls; the connection ends once none is queued.
    pub(super) fn finish_queued_calls(&mut self, now: Instant) -> SessionEffects {
        self.state = State::Open;
        let mut effects = self.process_buffered(now);
        self.uploads.clear();
        if self.state == State::Open {
            self.state = State::Leaving;
            match self.queued_call {
                Some(_) => effects.append(Effect::MarkClientGone),
                None => effects.append(self.end_lost()),
            }
        }
        effects
    }

    /// Sends an item of a stream, or the error that ends the stream.
    pub(super) fn on_stream_item(&mut self, number: u64, item: Result<Payload, HubError>) -> SessionEffects {
        let error = match item {
            Ok(item) => {
                let write = |id| self.protocol.write(&ServerMessage::StreamItem { id, item: &item });
                return self.streams.id(number).map(write).map(Effect::Send).into();
            }
            Err(error) => error,
        };
        let text = self.error_messages.for_client("An error occurred on the server while streaming results.", &error);
        let write = |id: String| self.protocol.write(&ServerMessage::Error { id: &id, error: &text });
        let ended = self.streams.remove(number).map(write).map(Effect::Send);
        self.uploads.forget_unused();
        ended.into()
    }

    pub(super) fn on_stream_ended(&mut self, number: u64) -> SessionEffects {
        let write = |id: String| self.protocol.write(&ServerMessage::StreamEnd { id: &id });
        let ended = self.streams.remove(number).map(write).map(Effect::Send);
        self.uploads.forget_unused();
        ended.into()
    }

    /// The client cancels a stream. Wire: the stream ends without an error, and no plain call is cancelled.
    pub(super) fn on_cancel(&mut self, id: &str) -> SessionEffects {
        let Some(number) = self.streams.remove_id(id) else { return SessionEffects::none() };
        let end = self.protocol.write(&ServerMessage::StreamEnd { id });
        [Effect::CancelStream(number), Effect::Send(end)].into()
    }

    pub(super) fn on_stream_message(&mut self, id: String, item: Option<Payload>) -> SessionEffects {
        self.uploads.push(id, item).map(Effect::AwaitUpload).into()
    }

    /// The end of a stream of the client, or its answer to an invocation. Wire: a result ends a stream, too.
    pub(super) fn on_completion(&mut self, id: String, result: ClientResult) -> SessionEffects {
        if !self.uploads.contains(&id) {
            return Effect::ClientResult(id, result).into();
        }
        let error = match result {
            ClientResult::Error(error) => Some(error),
            ClientResult::Void | ClientResult::Result(_) => None,
        };
        self.uploads.complete(&id, error);
        SessionEffects::none()
    }

    /// A call waits for a client result. Its slot is free, so that the answer is read behind other calls of the client.
    pub(super) fn on_slot_released(&mut self, number: u64, now: Instant) -> SessionEffects {
        let holding = self.slots.len();
        self.slots.retain(|slot| *slot != number);
        if self.slots.len() < holding { self.continue_reading(now) } else { SessionEffects::none() }
    }

    /// A stream of the client has space, or is not read any more.
    pub(super) fn on_upload_ready(&mut self, now: Instant) -> SessionEffects {
        if let Some(capacity) = self.uploads.retry() {
            return Effect::AwaitUpload(capacity).into();
        }
        self.last_received = self.last_received.map(|_| now);
        if self.state == State::Open { self.process_buffered(now) } else { SessionEffects::none() }
    }
}
