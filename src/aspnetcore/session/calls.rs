//! Calls of hub methods, and the messages that answer them. Calls run to completion even if the client disconnects.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Session, SessionEffects, State, effect::send_unless_empty, error_messages::PendingInvocation};
use crate::{
    aspnetcore::protocol::{Invocation, ServerMessage},
    connection::{Action, CallRefusal, Dialect, Effect, IncomingCall, Invoke, PendingCall, Reason, Request},
    hub::{Arguments, CallError, CallerState, HubError, Streams, Uploads},
    payload::Payload,
};

impl Session {
    /// Passes a request to the dispatcher.
    pub(super) fn dispatch(&mut self, request: Request<PendingInvocation>) -> SessionEffects {
        let action = self.dispatcher.dispatch(request);
        action.map_or_else(SessionEffects::none, |action| self.perform(action))
    }

    fn perform(&self, action: Action<PendingInvocation>) -> SessionEffects {
        match action {
            Action::Invoke(invoke) => Effect::Invoke(invoke).into(),
            Action::Refuse(call, refusal) => {
                let text = refusal_text(&call, refusal);
                self.send_for(&call, |id| ServerMessage::Error { id, error: &text })
            }
            // Wire: a cancelled stream ends without an error.
            Action::EndStream(call) => self.stream_end(&call),
            Action::AwaitUpload(capacity) => Effect::AwaitUpload(capacity).into(),
            Action::ClientResult(id, result) => Effect::ClientResult(id, result).into(),
        }
    }

    pub(super) fn incoming_call(&self, invocation: Invocation) -> IncomingCall<PendingInvocation> {
        let format = self.protocol.format();
        let Invocation { headers, id, target, arguments, stream_ids, wants_stream } = invocation;
        let invoke = Invoke {
            number: 0,
            hub: self.hub.name().clone(),
            method: target.clone(),
            arguments: match arguments {
                Ok(values) => Arguments::new(format, values, Self::BEHAVIOR.binding),
                Err(fault) => Arguments::malformed(format, fault),
            },
            state: CallerState::default(),
            streams: Streams { sent: stream_ids.len(), wants_stream },
            uploads: Uploads::default(),
            cancelled: None,
            headers: (!headers.is_empty()).then(|| Arc::new(headers)),
            request: None,
        };
        IncomingCall { pending: PendingInvocation { id, target }, invoke, stream_ids }
    }

    pub(super) fn on_returned(
        &mut self,
        number: u64,
        result: Result<Payload, CallError>,
        now: Instant,
    ) -> SessionEffects {
        let Some(call) = self.dispatcher.end_call(number) else { return self.continue_calls(now) };
        match self.error_messages.completion(self.protocol, &self.hub, &call, result) {
            Ok(completion) => {
                completion.map_or_else(SessionEffects::none, send_unless_empty).then(self.continue_calls(now))
            }
            Err(error) => self.end_with_error(error, Reason::Faulted),
        }
    }

    /// A slot or a stream may be free: handles the requests that have waited, and the messages behind them.
    fn continue_calls(&mut self, now: Instant) -> SessionEffects {
        if self.dispatcher.is_blocked() {
            // The client timeout does not include the time that requests have waited.
            self.last_received = self.last_received.map(|_| now);
        }
        let mut effects = self.run_waiting();
        match self.state {
            State::Open => effects.append(self.process_buffered(now)),
            State::Leaving if !self.dispatcher.is_blocked() => effects.append(self.finish_waiting(now)),
            State::Faulted if !self.dispatcher.has_plain_calls() => effects.append(self.send_pending_fault()),
            _ => {}
        }
        effects
    }

    fn run_waiting(&mut self) -> SessionEffects {
        let mut effects = SessionEffects::none();
        while let Some(action) = self.dispatcher.next_action() {
            effects.append(self.perform(action));
        }
        effects
    }

    /// The client has disconnected. Starts the calls that it has sent before; the connection ends once none waits.
    pub(super) fn finish_waiting(&mut self, now: Instant) -> SessionEffects {
        self.state = State::Open;
        let mut effects = self.run_waiting().then(self.process_buffered(now));
        self.dispatcher.end_streams();
        if self.state == State::Open {
            match self.dispatcher.is_blocked() {
                true => self.state = State::Leaving,
                false => effects.append(self.end_lost()),
            }
        }
        effects
    }

    /// Sends an item of a stream, or the error that ends the stream.
    pub(super) fn on_stream_item(&mut self, number: u64, item: Result<Payload, HubError>) -> SessionEffects {
        let error = match item {
            Ok(item) => {
                let call = self.dispatcher.running(number);
                return call.map_or_else(SessionEffects::none, |call| {
                    self.send_for(call, |id| ServerMessage::StreamItem { id, item: &item })
                });
            }
            Err(error) => error,
        };
        let text = self.error_messages.for_client("An error occurred on the server while streaming results.", &error);
        let ended = self.dispatcher.end_call(number);
        ended.map_or_else(SessionEffects::none, |call| {
            self.send_for(&call, |id| ServerMessage::Error { id, error: &text })
        })
    }

    pub(super) fn on_stream_ended(&mut self, number: u64) -> SessionEffects {
        let ended = self.dispatcher.end_call(number);
        ended.map_or_else(SessionEffects::none, |call| self.stream_end(&call))
    }

    fn stream_end(&self, call: &PendingInvocation) -> SessionEffects {
        self.send_for(call, |id| ServerMessage::StreamEnd { id })
    }

    /// Sends a message about a call, if its client has given it an id.
    fn send_for<'a>(
        &self,
        call: &'a PendingInvocation,
        message: impl FnOnce(&'a str) -> ServerMessage<'a>,
    ) -> SessionEffects {
        let written = call.id().map(|id| self.protocol.write(&message(id)));
        written.map_or_else(SessionEffects::none, send_unless_empty)
    }

    /// A call waits for a client result, and gives its slot back.
    pub(super) fn on_slot_released(&mut self, number: u64, now: Instant) -> SessionEffects {
        self.dispatcher.release_slot(number);
        self.continue_calls(now)
    }

    /// A stream of the client has space, or is not read any more.
    pub(super) fn on_upload_ready(&mut self, now: Instant) -> SessionEffects {
        match self.dispatcher.on_upload_ready() {
            Some(action) => self.perform(action),
            None => self.continue_calls(now),
        }
    }
}

/// Wire: the reference server has the first text.
fn refusal_text(call: &PendingInvocation, refusal: CallRefusal) -> String {
    match refusal {
        CallRefusal::IdInUse => format!("Invocation ID '{}' is already in use.", call.id().unwrap_or_default()),
        CallRefusal::TooManyStreams(limit) => format!("The client has {limit} invocations with streams already."),
    }
}
