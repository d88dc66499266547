//! Results of client methods.

use std::{any::type_name, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::Target;
use crate::{
    connections::{Command, ConnectionHandle},
    hub::{
        bind::{Binding, bind_payload},
        filters::{AfterSend, Chain, EventKind},
    },
    ids::ConnectionId,
    message::Invocation,
    router::{ClientResult, InvokeError, Recipients, SentInvocation},
};

/// What waiting for a client result means to the code that waits.
#[derive(Clone, Debug)]
pub(crate) enum ResultScope {
    /// OnConnected is running. Nothing is read from its client.
    OnConnected,
    /// The call holds a slot among the parallel calls of its client.
    Call(CallSlot),
    /// Other code may wait.
    Free,
}

/// The slot of a call.
#[derive(Clone, Debug)]
pub(crate) struct CallSlot {
    pub(crate) caller: Arc<ConnectionHandle>,
    pub(crate) number: u64,
}

impl CallSlot {
    /// Gives the slot back, so that the answer can be read behind other calls of the same client.
    async fn release(&self) {
        // A connection that has ended reads nothing anyway.
        let _ = self.caller.commands.send(Command::ReleaseSlot(self.number)).await;
    }
}

impl Target {
    /// Invokes `method` on a single client of ASP.NET Core SignalR, [`Clients::client`](super::Clients::client) or
    /// [`Clients::caller`](super::Clients::caller), and returns its result. There is no time limit. Dropping the future
    /// cancels the wait; a later answer is ignored.
    ///
    /// A hub method that waits gives back its slot among the parallel calls of its caller.
    ///
    /// ```
    /// use hubcast::{Args, Clients, HubError};
    ///
    /// async fn ask(clients: Clients, Args((id, question)): Args<(String, String)>) -> Result<String, HubError> {
    ///     Ok(clients.client(id).invoke("ask", (question,)).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`InvokeError`], which a hub method can return with `?`. The text of the client's error is then sent to the
    /// caller.
    pub async fn invoke<T: DeserializeOwned>(
        mut self,
        method: &str,
        arguments: impl Serialize,
    ) -> Result<T, InvokeError> {
        self.single_connection()?;
        match &self.clients.scope {
            ResultScope::OnConnected => return Err(InvokeError::InOnConnected),
            ResultScope::Call(slot) => slot.release().await,
            ResultScope::Free => {}
        }
        let router = &self.clients.router;
        let mut invocation = Invocation::new(&self.clients.hub, method, &arguments)?;
        if router.formats().include_message_pack() {
            invocation.pack_arguments(&arguments)?;
        }
        if self.is_caller {
            self.wait_for_capacity(&invocation).await;
        }
        let sent = match self.clients.chain.take() {
            // The future is boxed, so that that of an unfiltered invocation is not larger.
            Some(chain) => Box::pin(self.start_filtered(&chain, invocation)).await?,
            None => self.start(invocation)?,
        };
        decode(sent.result().await?)
    }

    fn start(&self, invocation: Invocation) -> Result<SentInvocation, InvokeError> {
        self.clients.router.start_invocation(self.single_connection()?, invocation)
    }

    /// Sends between the filters. The client can answer while filters run after the send.
    async fn start_filtered(&mut self, chain: &Chain, invocation: Invocation) -> Result<SentInvocation, InvokeError> {
        let passed = self.before_send(chain, invocation).await;
        let invocation = passed.map_err(|stopped| InvokeError::Refused(stopped.error.message().to_owned()))?;
        let event = chain.handles(EventKind::AfterSend).then(|| Arc::new(self.event(invocation.clone())));
        let started = self.start(invocation)?;
        if let Some(sent) = event {
            chain.observe(AfterSend { sent, reached: 1 }).await;
        }
        Ok(started)
    }

    fn single_connection(&self) -> Result<&ConnectionId, InvokeError> {
        match &self.destination.recipients {
            Recipients::Connections(ids) => match &ids[..] {
                [id] => Ok(id),
                _ => Err(InvokeError::NotSingle),
            },
            Recipients::All | Recipients::Users(_) | Recipients::Groups(_) => Err(InvokeError::NotSingle),
        }
    }
}

fn decode<T: DeserializeOwned>(result: ClientResult) -> Result<T, InvokeError> {
    match result {
        ClientResult::Result(value) => bind_payload(Binding::Strict, &value)
            .map_err(|reason| InvokeError::WrongType { expected: without_paths(type_name::<T>()), reason }),
        ClientResult::Error(text) => Err(InvokeError::Client(text)),
        ClientResult::Void => Err(InvokeError::NoResult),
    }
}

/// The name of a type without the paths of its modules.
fn without_paths(name: &str) -> String {
    let mut short = String::new();
    for part in name.split_inclusive(|character: char| !character.is_alphanumeric() && !matches!(character, ':' | '_'))
    {
        short += part.rsplit("::").next().unwrap_or(part);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_name_has_no_paths() {
        assert_eq!(without_paths(type_name::<Option<(i32, Vec<String>)>>()), "Option<(i32, Vec<String>)>");
        assert_eq!(without_paths("i32"), "i32");
    }
}
