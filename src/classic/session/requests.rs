//! Requests of clients that open no channel: start, send and abort.

use super::{CLOSE_NORMAL, ClassicCall, Session, SessionEffects, StartReply};
use crate::connection::{Effect, Reason, RequestContext};

/// A request that opens no channel. If the connection has ended, the sender of the reply is dropped.
#[derive(Debug)]
pub(crate) enum Request {
    /// Runs OnConnected. The reply is sent when it is done.
    Start { context: RequestContext, reply: StartReply },
    /// Invokes a hub method.
    Send(ClassicCall),
    /// Ends the connection.
    Abort,
}

impl Session {
    /// A connection that a hub has aborted answers no request.
    pub(super) fn on_request(&mut self, request: Request) -> SessionEffects {
        match request {
            Request::Abort => self.end(Reason::Stopped, CLOSE_NORMAL),
            Request::Start { .. } | Request::Send(_) if self.is_aborted_by_hub => SessionEffects::none(),
            Request::Start { context, reply } => {
                let is_first = self.start_state.is_unstarted();
                let target = is_first.then_some(Effect::SetContext(context));
                SessionEffects::from(target).then(self.start_state.run_connected_for(reply))
            }
            Request::Send(incoming) => match self.refuse_if_saturated(incoming) {
                Ok(incoming) => self.call(incoming),
                Err(refusal) => refusal,
            },
        }
    }
}
