//! A client's calls: run one after the other, and to their end although the client has gone.

use tokio::time::Instant;

use super::{Out, Session, State, error_messages::PendingInvocation};
use crate::{
    connection::{Dialect, Effect, Invoke, Reason},
    hub::{Arguments, CallError, CallerState, Streams},
    message::Json,
};

impl Session {
    pub(super) fn invoke(&self, method: String, arguments: Vec<Json>, streams: Streams) -> Invoke {
        Invoke {
            hub: self.hub.name().clone(),
            method,
            arguments: Arguments::new(arguments, Self::BEHAVIOR.binding),
            state: CallerState::default(),
            reporter: None,
            streams,
            request: None,
        }
    }

    pub(super) fn call(&mut self, ticket: PendingInvocation, invoke: Invoke) -> Out {
        if self.running < self.settings.parallel_calls.get() {
            self.running += 1;
            return vec![Effect::Invoke(ticket, invoke)];
        }
        self.next = Some((ticket, invoke));
        Vec::new()
    }

    pub(super) fn returned(
        &mut self,
        ticket: &PendingInvocation,
        result: Result<Json, CallError>,
        now: Instant,
    ) -> Out {
        self.running -= 1;
        let mut out: Out = match self.texts.answer(&self.hub, ticket, result) {
            Ok(answer) => answer.into_iter().map(Effect::Send).collect(),
            Err(error) => return self.fault(error, Reason::Faulted),
        };
        if let Some((ticket, invoke)) = self.next.take() {
            // Time that the client had to wait for its turn does not count against it.
            self.heard = self.heard.map(|_| now);
            out.append(&mut self.call(ticket, invoke));
        }
        match self.state {
            State::Open => out.append(&mut self.read_on(now)),
            State::Leaving if self.next.is_none() => out.append(&mut self.leave(now)),
            State::Faulted if self.running == 0 => out.append(&mut self.tell_fault()),
            _ => {}
        }
        out
    }

    /// The client has gone: what it called before still runs, then the connection ends.
    pub(super) fn leave(&mut self, now: Instant) -> Out {
        self.state = State::Open;
        let mut out = self.read_on(now);
        if self.state == State::Open {
            self.state = State::Leaving;
            match self.next {
                Some(_) => out.push(Effect::Forsake),
                None => out.append(&mut self.lost()),
            }
        }
        out
    }
}
