//! Hub method calls of a client: at most `parallel_calls` run at a time, and one more is queued. Calls run to
//! completion even if the client disconnects.

use tokio::time::Instant;

use super::{Session, SessionEffects, State, error_messages::PendingInvocation};
use crate::{
    connection::{Dialect, Effect, Invoke, Reason},
    hub::{Arguments, CallError, CallerState, Streams},
    message::Json,
};

impl Session {
    pub(super) fn build_invoke(&self, method: String, arguments: Vec<Json>, streams: Streams) -> Invoke {
        Invoke {
            hub: self.hub.name().clone(),
            method,
            arguments: Arguments::new(arguments, Self::BEHAVIOR.binding),
            state: CallerState::default(),
            streams,
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
        result: Result<Json, CallError>,
        now: Instant,
    ) -> SessionEffects {
        self.running_calls -= 1;
        let mut effects: SessionEffects = match self.error_messages.completion(&self.hub, invocation, result) {
            Ok(completion) => completion.into_iter().map(Effect::Send).collect(),
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
