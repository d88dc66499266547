//! Hub method calls of a client: at most `parallel_calls` run at a time, and one more is queued. Calls run to
//! completion even if the client disconnects.

use tokio::time::Instant;

use super::{Session, SessionEffects, State, effect::send_unless_empty, error_messages::PendingInvocation};
use crate::{
    aspnetcore::protocol::Invocation,
    connection::{Dialect, Effect, Invoke, Reason},
    hub::{Arguments, CallError, CallerState, Streams},
    payload::Payload,
};

impl Session {
    pub(super) fn build_invoke(&self, invocation: Invocation) -> Invoke {
        let format = self.protocol.format();
        let Invocation { target, arguments, stream_ids, wants_stream, .. } = invocation;
        Invoke {
            hub: self.hub.name().clone(),
            method: target,
            arguments: match arguments {
                Ok(values) => Arguments::new(format, values, Self::BEHAVIOR.binding),
                Err(fault) => Arguments::malformed(format, fault),
            },
            state: CallerState::default(),
            streams: Streams { sent: stream_ids.len(), wants_stream },
            request: None,
        }
    }

    pub(super) fn start_or_queue(&mut self, invocation: PendingInvocation, invoke: Invoke) -> SessionEffects {
        if self.running_calls < self.settings.parallel_calls.get() {
            self.running_calls += 1;
            return Effect::Invoke(invocation, invoke).into();
        }
        self.queued_call = Some((invocation, invoke));
        SessionEffects::none()
    }

    pub(super) fn on_returned(
        &mut self,
        invocation: &PendingInvocation,
        result: Result<Payload, CallError>,
        now: Instant,
    ) -> SessionEffects {
        self.running_calls -= 1;
        let mut effects: SessionEffects =
            match self.error_messages.completion(self.protocol, &self.hub, invocation, result) {
                Ok(completion) => completion.map_or_else(SessionEffects::none, send_unless_empty),
                Err(error) => return self.end_with_error(error, Reason::Faulted),
            };
        if let Some((invocation, invoke)) = self.queued_call.take() {
            // The client timeout does not include the time that the call was queued, because nothing was read then.
            self.last_received = self.last_received.map(|_| now);
            effects.append(self.start_or_queue(invocation, invoke));
        }
        match self.state {
            State::Open => effects.append(self.process_buffered(now)),
            State::Leaving if self.queued_call.is_none() => effects.append(self.finish_queued_calls(now)),
            State::Faulted if self.running_calls == 0 => effects.append(self.send_pending_fault()),
            _ => {}
        }
        effects
    }

    /// The client has disconnected. Starts its buffered calls; the connection ends once none is queued.
    pub(super) fn finish_queued_calls(&mut self, now: Instant) -> SessionEffects {
        self.state = State::Open;
        let mut effects = self.process_buffered(now);
        if self.state == State::Open {
            self.state = State::Leaving;
            match self.queued_call {
                Some(_) => effects.append(Effect::MarkClientGone),
                None => effects.append(self.end_lost()),
            }
        }
        effects
    }
}
