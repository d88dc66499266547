//! Hub methods that a connection runs for its client, and the streams that they return.

use std::{collections::HashMap, sync::Arc};

use actix::prelude::*;

use super::{
    Connection, Dialect, Event, Invoke,
    hooks::{self, SendTurns},
};
use crate::{
    hub::{CallError, HubError, HubResult, ItemStream, UploadCapacity},
    ids::HubName,
    router::{ClientResult, NotAsked},
};

/// The invocations whose clients expect a stream, by number: the task that reads the stream, once there is one.
pub(super) type RunningStreams = HashMap<u64, Option<SpawnHandle>>;

impl<D: Dialect> Connection<D> {
    pub(super) fn invoke(&mut self, invocation: D::PendingInvocation, invoke: Invoke, ctx: &mut Context<Self>) {
        let services = self.state.services();
        let (number, hub, method) = (invoke.number, invoke.hub.clone(), invoke.method.clone());
        if invoke.streams.wants_stream {
            self.streams.insert(number, None);
        }
        let reporter = D::reporter(&invocation, &self.state.handle().outbox);
        let run = hooks::invoke(self.state.hub(&invoke.hub), Arc::clone(&services.metrics), invoke, reporter);
        let returned = hooks::run_to_completion(&services.drain.hub_tasks, run, CallError::Failed);
        let returned = hooks::wait_for_capacity(D::queues_result(&invocation).then(|| self.send_turns()), returned);
        ctx.spawn(returned.into_actor(self).map(move |(result, _turn), this, ctx| {
            let value = match result.map(HubResult::into_value) {
                Ok(Err(items)) => return this.stream(number, items, hub, method, ctx),
                Ok(Ok(value)) => Ok(value),
                Err(error) => Err(error),
            };
            this.streams.remove(&number);
            this.handle_event(Event::Returned(invocation, value), ctx);
        }));
    }

    /// Passes the items of a stream to the session, unless the client has cancelled it meanwhile.
    fn stream(&mut self, number: u64, items: ItemStream, hub: HubName, method: String, ctx: &mut Context<Self>) {
        if !self.streams.contains_key(&number) {
            return;
        }
        let source = (Arc::clone(self.state.handle()), hub, method);
        let items = hooks::stream_items(items, self.send_turns(), source, Arc::clone(&self.state.services().metrics));
        let passed_on = actix::fut::wrap_stream::<_, Self>(items).map(move |(item, _turn), this, ctx| {
            let event = match item {
                Some(item) => Event::StreamItem(number, item),
                None => Event::StreamEnded(number),
            };
            this.handle_event(event, ctx);
        });
        let task = ctx.spawn(passed_on.finish().map(move |(), this, _| {
            this.streams.remove(&number);
        }));
        self.streams.insert(number, Some(task));
    }

    fn send_turns(&self) -> SendTurns {
        SendTurns { outbox: Arc::clone(&self.state.handle().outbox), turns: Arc::clone(&self.send_turns) }
    }

    pub(super) fn cancel_stream(&mut self, number: u64, ctx: &mut Context<Self>) {
        if let Some(Some(task)) = self.streams.remove(&number) {
            ctx.cancel_future(task);
        }
    }

    /// Drops all streams, because nothing is sent to the client any more.
    pub(super) fn cancel_streams(&mut self, ctx: &mut Context<Self>) {
        for task in self.streams.drain().filter_map(|(_, task)| task) {
            ctx.cancel_future(task);
        }
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
