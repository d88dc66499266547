//! The calls of a client, and the responses to them.

use std::sync::Arc;

use serde_json::Map;
use tokio::sync::oneshot;

use super::{OwnEffect, Session, SessionEffects};
use crate::{
    classic::message::{self, Call, HubResponse, InvocationId, MAX_NESTING},
    client_log::Cause,
    connection::{self, Action, ClientFault, Effect, IncomingCall, Invoke, PendingCall},
    hub::{Arguments, CallError, CallerState, Reporter, Request, Streams, Uploads, bind::Binding},
    ids::{HubName, MAX_NAME_LENGTH, truncated},
    outbox::Outbox,
    payload::{Format, Payload, json_depth},
};

fn send_frame(bytes: Box<[u8]>) -> Effect<Session> {
    Effect::Own(OwnEffect::SendFrame(bytes))
}

/// Reports a message that calls no method. The response has this text, if the client waits for one.
pub(super) fn refuse(fault: ClientFault, id: Option<InvocationId>, text: String) -> SessionEffects {
    let response = id.map(|id| send_frame(HubResponse::failure(text).encode(id, Map::new())));
    SessionEffects::from(Effect::Report(fault)).then(response)
}

/// The destination of the response to a call.
#[derive(Debug)]
pub(crate) enum ReplyTarget {
    /// The channel that the call came over. On another channel the same id would mean another call, so the response is
    /// dropped if the channel was replaced.
    Channel(u32),
    /// The send request that waits for the response.
    Request(SendReply),
}

/// Receives the body of the response to a send request.
pub(crate) type SendReply = oneshot::Sender<Result<Box<[u8]>, TooManyInvocations>>;

/// A call whose result is pending.
#[derive(Debug)]
pub(crate) struct PendingInvocation {
    id: InvocationId,
    /// Hub and method in the spelling of the client.
    hub: String,
    method: String,
    state: CallerState,
    reply_to: ReplyTarget,
}

impl PendingInvocation {
    pub(super) fn targets_channel(&self) -> bool {
        matches!(self.reply_to, ReplyTarget::Channel(_))
    }

    /// Sends progress to the client, in the order of its messages. A client that has gone gets none.
    pub(super) fn reporter(&self, outbox: &Arc<Outbox>) -> Reporter {
        let (id, state, outbox) = (self.id.clone(), self.state.clone(), Arc::clone(outbox));
        Arc::new(move |value: &Payload| {
            let _ = outbox.push_private(message::encode_progress(&id, value, state.changed()));
        })
    }
}

/// A call of a client, with the destination of its response.
#[derive(Debug)]
pub(crate) struct ClassicCall {
    /// The registered name of the hub.
    pub(crate) hub: HubName,
    pub(crate) call: Call,
    pub(crate) reply_to: ReplyTarget,
    /// The send request that carried the call, if it did not come over a channel.
    pub(crate) request: Option<Arc<Request>>,
}

/// Classic clients have no streams and return no results.
fn invoke_effect(action: Action<PendingInvocation>) -> Option<Effect<Session>> {
    match action {
        Action::Invoke(invoke) => Some(Effect::Invoke(invoke)),
        Action::Refuse(..) | Action::EndStream(_) | Action::AwaitUpload(_) | Action::ClientResult(..) => None,
    }
}

/// The call was not accepted. Its client may try again.
#[derive(Debug, thiserror::Error)]
#[error("Too many invocations of this connection are under way.")]
pub(crate) struct TooManyInvocations;

impl PendingCall for PendingInvocation {
    fn id(&self) -> Option<&str> {
        self.id.as_str()
    }
}

impl Session {
    /// Refuses a send request if too many calls are under way. A call over a channel is always accepted, because the
    /// channel of a saturated client is not read.
    pub(super) fn refuse_if_saturated(&self, incoming: ClassicCall) -> Result<ClassicCall, SessionEffects> {
        match incoming.reply_to {
            ReplyTarget::Request(reply) if self.dispatcher.is_at_limit() => {
                Err(Effect::Own(OwnEffect::Reply(reply, Err(TooManyInvocations))).into())
            }
            ReplyTarget::Request(_) | ReplyTarget::Channel(_) => Ok(incoming),
        }
    }

    /// Passes a call to the dispatcher, where it waits until the durable groups are joined.
    pub(super) fn call(&mut self, incoming: ClassicCall) -> SessionEffects {
        let restored = self.start_state.restore_groups();
        let ClassicCall { hub: registered, call, reply_to, request } = incoming;
        let is_too_deep =
            call.arguments.iter().any(|argument| argument.as_json().is_none_or(|json| json_depth(json) > MAX_NESTING));
        let fault = is_too_deep.then(|| call.fault(Cause::InvalidArguments, "an argument nests deeper than 20"));
        let Call { hub, method, arguments, id, state } = call;
        let state = CallerState::new(state);
        let pending = PendingInvocation { id, hub, method: method.clone(), state: state.clone(), reply_to };
        if let Some(fault) = fault {
            let error = CallError::Binding(fault.reason.clone());
            return restored.then([Effect::Report(fault), self.response(pending, &Err(error))]);
        }
        let invoke = Invoke {
            number: 0,
            hub: registered,
            method,
            arguments: Arguments::new(Format::Json, arguments, Binding::Lenient),
            state,
            streams: Streams::default(),
            uploads: Uploads::default(),
            cancelled: None,
            headers: None,
            request,
        };
        let call = IncomingCall { pending, invoke, stream_ids: Vec::new() };
        let action = self.dispatcher.dispatch(connection::Request::Call(call));
        restored.then(action.and_then(invoke_effect))
    }

    /// Invokes the calls that have waited, as far as they may run.
    pub(super) fn run_waiting(&mut self) -> SessionEffects {
        std::iter::from_fn(|| self.dispatcher.next_action()).filter_map(invoke_effect).collect()
    }

    /// Handles the result of a call.
    pub(super) fn on_returned(&mut self, number: u64, result: &Result<Payload, CallError>) -> SessionEffects {
        let channel = self.channel_number();
        let response = self.dispatcher.end_call(number).and_then(|pending| match pending.reply_to {
            ReplyTarget::Channel(number) if channel != Some(number) => None,
            ReplyTarget::Channel(_) | ReplyTarget::Request(_) => Some(self.response(pending, result)),
        });
        SessionEffects::from(response).then(self.run_waiting())
    }

    fn response(&self, pending: PendingInvocation, result: &Result<Payload, CallError>) -> Effect<Session> {
        let response = match result {
            Ok(value) => HubResponse::result(value),
            Err(CallError::Failed(error)) if error.is_shown() => HubResponse::error(error),
            Err(error) => HubResponse::failure(self.error_text(error, &pending)),
        };
        let bytes = response.encode(pending.id, pending.state.changed());
        match pending.reply_to {
            ReplyTarget::Request(reply) => Effect::Own(OwnEffect::Reply(reply, Ok(bytes))),
            ReplyTarget::Channel(_) => send_frame(bytes),
        }
    }

    /// Wire: the texts of ASP.NET SignalR, with names in the spelling of the client.
    fn error_text(&self, error: &CallError, pending: &PendingInvocation) -> String {
        let [hub, method] = [&pending.hub, &pending.method].map(|name| truncated(name, MAX_NAME_LENGTH));
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
            CallError::StreamRequired => "The method gives a stream, which classic clients cannot receive.".into(),
            CallError::MalformedArguments(text) => text.to_string(),
            CallError::Binding(text) | CallError::UnserializableResult(text) => text.clone(),
            CallError::Failed(error) => error.message().to_owned(),
        }
    }
}
