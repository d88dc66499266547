//! A client's calls: taken up, and answered where their answer belongs.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Out;
use crate::{
    classic::{
        Settings,
        message::{self, Call, Completion, DEEPEST, Id},
    },
    connection::{Effect, Invoke},
    hub::{Arguments, CallError, CallerState, Reporter, Request, Streams, bind::Binding},
    ids::HubName,
    message::{Json, depth_of},
};

/// Where the answer to a call belongs.
#[derive(Debug)]
pub(crate) enum To {
    /// To the channel that it came over; it is worthless on any other, where the same id means another call.
    Channel(u32),
    /// To a request that waits.
    Request(oneshot::Sender<Box<[u8]>>),
}

/// What names a call.
#[derive(Debug)]
pub(crate) struct PendingInvocation {
    id: Id,
    /// Hub and method as the client spelt them.
    hub: String,
    method: String,
    state: CallerState,
    to: To,
}

impl PendingInvocation {
    pub(super) fn goes_to_a_channel(&self) -> bool {
        matches!(self.to, To::Channel(_))
    }
}

/// A call that has come in.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The hub, as it is registered.
    pub(crate) hub: HubName,
    pub(crate) call: Call,
    pub(crate) to: To,
    /// The request that has brought it, if it came over no channel.
    pub(crate) request: Option<Arc<Request>>,
}

/// A call is not taken: its client may try again.
#[derive(Debug, thiserror::Error)]
#[error("Too many invocations of this connection are under way.")]
pub(crate) struct TooManyInvocations;

/// Puts an element into the sequence of what the client hears.
pub(crate) type Report = Arc<dyn Fn(Box<[u8]>) + Send + Sync>;

/// The calls of one connection.
pub(super) struct Calls {
    settings: Arc<Settings>,
    report: Report,
    running: usize,
    /// Calls that came before the durable groups were joined; no more than may run at a time.
    held: Vec<Incoming>,
}

impl Calls {
    pub(super) fn new(settings: Arc<Settings>, report: Report) -> Self {
        Self { settings, report, running: 0, held: Vec::new() }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.running + self.held.len() >= self.settings.parallel_calls.get()
    }

    /// A call has come in before it may be acted on.
    pub(super) fn hold(&mut self, incoming: Incoming) -> Result<(), TooManyInvocations> {
        self.check(&incoming.to)?;
        self.held.push(incoming);
        Ok(())
    }

    /// Takes up what was held.
    pub(super) fn release(&mut self) -> Out {
        let held = std::mem::take(&mut self.held);
        // Each was checked when it came.
        held.into_iter().filter_map(|incoming| self.take(incoming).ok()).flatten().collect()
    }

    fn check(&self, to: &To) -> Result<(), TooManyInvocations> {
        match to {
            To::Request(_) if self.is_saturated() => Err(TooManyInvocations),
            To::Request(_) | To::Channel(_) => Ok(()),
        }
    }

    /// A call has come in. One that came over a channel is taken in any case: a client whose line is busy is
    /// not read on.
    pub(super) fn take(&mut self, incoming: Incoming) -> Result<Out, TooManyInvocations> {
        let Incoming { hub: registered, call, to, request } = incoming;
        self.check(&to)?;
        let Call { hub, method, arguments, id, state } = call;
        let state = CallerState::new(state);
        let is_too_deep = arguments.iter().any(|argument| depth_of(argument.get()) > DEEPEST);
        let invoke = Invoke {
            hub: registered,
            method: method.clone(),
            arguments: Arguments::new(arguments, Binding::Lenient),
            reporter: Some(self.reporter(id.clone(), state.clone())),
            state: state.clone(),
            streams: Streams::default(),
            request,
        };
        let ticket = PendingInvocation { id, hub, method, state, to };
        if is_too_deep {
            let error = CallError::Binding("an argument nests deeper than 20".into());
            return Ok(vec![self.answer(ticket, &Err(error))]);
        }
        self.running += 1;
        Ok(vec![Effect::Invoke(ticket, invoke)])
    }

    fn reporter(&self, id: Id, state: CallerState) -> Reporter {
        let report = Arc::clone(&self.report);
        Arc::new(move |value: Json| report(message::progress(&id, &value, state.changed())))
    }

    /// A call has come to its end. `channel` is the one that is there now.
    pub(super) fn returned(
        &mut self,
        ticket: PendingInvocation,
        result: &Result<Json, CallError>,
        channel: Option<u32>,
    ) -> Out {
        self.running -= 1;
        match ticket.to {
            To::Channel(number) if channel != Some(number) => Vec::new(),
            To::Channel(_) | To::Request(_) => vec![self.answer(ticket, result)],
        }
    }

    fn answer(&self, ticket: PendingInvocation, result: &Result<Json, CallError>) -> Effect<PendingInvocation> {
        let answer = match result {
            Ok(value) => Completion::result(value),
            Err(CallError::Failed(error)) if error.is_shown() => Completion::error(error),
            Err(error) => Completion::failure(self.text_of(error, &ticket)),
        };
        let bytes = answer.encode(ticket.id, ticket.state.changed());
        match ticket.to {
            To::Request(waiting) => Effect::Reply(waiting, bytes),
            To::Channel(_) => Effect::Frame(bytes),
        }
    }

    /// Wire: the texts of the original, names as the client wrote them.
    fn text_of(&self, error: &CallError, PendingInvocation { hub, method, .. }: &PendingInvocation) -> String {
        if !self.settings.detailed_errors {
            return format!("There was an error invoking Hub method '{hub}.{method}'.");
        }
        let unresolved = |why: String| format!("'{method}' method could not be resolved. {why}");
        match error {
            CallError::WrongArgumentCount { method: registered, expected, .. } if **registered == *method => {
                unresolved(format!("Potential candidates are: \n{registered}({expected} arguments)"))
            }
            CallError::NoSuchMethod | CallError::WrongArgumentCount { .. } => {
                unresolved("No method found with that name.".into())
            }
            CallError::Unauthorized => format!("Caller is not authorized to invoke the {method} method on {hub}."),
            CallError::NoStream => "The method gives no stream.".into(),
            CallError::Binding(text) | CallError::UnserializableResult(text) => text.clone(),
            CallError::Failed(error) => error.message().to_owned(),
        }
    }
}
