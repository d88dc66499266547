//! Hub methods that a connection runs for its client, and the streams that they return.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Dialect, Event, Invoke,
    hooks::{self, SendTurns},
};
use crate::{
    hub::{CallError, HubError, HubResult, ItemStream, UploadCapacity},
    ids::HubName,
    router::{ClientResult, NotAsked},
};

/// The call that a stream belongs to.
struct StreamCall {
    number: u64,
    hub: HubName,
    method: String,
    cancelled: CancellationToken,
}

impl StreamCall {
    /// `None` if the client expects no stream.
    fn of(Invoke { number, hub, method, cancelled, .. }: &Invoke) -> Option<Self> {
        let cancelled = cancelled.clone()?;
        Some(Self { number: *number, hub: hub.clone(), method: method.clone(), cancelled })
    }
}

impl<D: Dialect> Connection<D> {
    pub(super) fn invoke(&mut self, invoke: Invoke, ctx: &mut Context<Self>) {
        let services = self.state.services();
        let (number, stream) = (invoke.number, StreamCall::of(&invoke));
        let reporter = self.session.reporter(number, &self.state.handle().outbox);
        let run = hooks::invoke(self.state.hub(&invoke.hub), Arc::clone(&services.metrics), invoke, reporter);
        let returned = hooks::run_to_completion(&services.drain.hub_tasks, run, CallError::Failed);
        let sending = self.session.queues_result(number).then(|| self.send_turns());
        let returned = hooks::wait_for_capacity(sending, returned);
        ctx.spawn(returned.into_actor(self).map(move |(result, _turn), this, ctx| {
            let result = match result.map(HubResult::into_value) {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(items)) => match stream {
                    Some(stream) => return this.stream(items, stream, ctx),
                    None => Err(CallError::StreamRequired),
                },
                Err(error) => Err(error),
            };
            this.handle_event(Event::Returned(number, result), ctx);
        }));
    }

    /// Passes the items of a stream to the session, until it is cancelled or the client has gone.
    fn stream(&self, items: ItemStream, call: StreamCall, ctx: &mut Context<Self>) {
        let StreamCall { number, hub, method, cancelled } = call;
        let (client, metrics) = (Arc::clone(self.state.handle()), Arc::clone(&self.state.services().metrics));
        let ended = client.ended().clone();
        let stopped = async move {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = ended.cancelled() => {}
            }
        };
        let items = hooks::stream_items(items, self.send_turns(), (client, hub, method), metrics).take_until(stopped);
        let passed_on = actix::fut::wrap_stream::<_, Self>(items).map(move |(item, _turn), this, ctx| {
            let event = match item {
                Some(item) => Event::StreamItem(number, item),
                None => Event::StreamEnded(number),
            };
            this.handle_event(event, ctx);
        });
        ctx.spawn(passed_on.finish());
    }

    fn send_turns(&self) -> SendTurns {
        SendTurns { outbox: Arc::clone(&self.state.handle().outbox), turns: Arc::clone(&self.send_turns) }
    }

    /// Passes the client's result to the code that has invoked its method.
    pub(super) fn complete_client_result(&mut self, id: &str, result: ClientResult, ctx: &mut Context<Self>) {
        let own_id = self.state.handle().id.clone();
        let completed = self.state.services().router.client_results().complete(id, &own_id, result);
        if let Err(NotAsked) = completed {
            let text = format!("Connection ID '{own_id}' is not valid for invocation ID '{id}'.");
            self.handle_event(Event::ForeignResult(HubError::hidden("InvalidOperationException", text)), ctx);
        }
    }

    pub(super) fn await_upload(capacity: UploadCapacity, ctx: &mut Context<Self>) {
        let waited = actix::fut::wrap_future::<_, Self>(capacity.wait());
        ctx.spawn(waited.map(|(), this, ctx| this.handle_event(Event::UploadReady, ctx)));
    }
}
