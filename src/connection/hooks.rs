//! Futures that a connection runs beside its mailbox: lifecycle hooks and hub methods.

use std::{fmt::Display, panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

use futures_util::{
    Stream, StreamExt,
    future::{FutureExt, join_all},
    stream,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::{ConnectError, Invoke};
use crate::{
    client_log::{self, Cause},
    connections::ConnectionHandle,
    hub::{
        Call, CallError, CallSlot, Disconnected, Hub, HubContext, HubError, HubResult, ItemStream, Reconnected,
        Reporter, ResultScope, filters::invocation_events, until_error,
    },
    ids::HubName,
    metrics::Metrics,
    outbox::Outbox,
    payload::Payload,
};

/// Runs application code, catches its panics and logs its errors. The fields are for the log.
struct HookRunner<'a> {
    client: &'a ConnectionHandle,
    hub: &'a HubName,
    /// The method as the client spelt it, or the hook.
    name: &'a str,
}

impl<'a> HookRunner<'a> {
    fn of((client, hub, name): &'a (Arc<ConnectionHandle>, HubName, String)) -> Self {
        Self { client, hub, name }
    }

    /// Runs `work` and turns a panic into an error, whether it panics before or after its first await.
    async fn catch_panic<T>(&self, work: impl AsyncFnOnce() -> T, metrics: &Metrics) -> Result<T, HubError> {
        AssertUnwindSafe(async { work().await }).catch_unwind().await.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            self.log(Cause::HubPanic, "panic", &text);
            metrics.hub_panics.increment();
            HubError::hidden("Panic", text)
        })
    }

    /// As [`HookRunner::catch_panic`], for a hook that may fail. Logs the error.
    async fn run(&self, hook: impl AsyncFnOnce() -> Result<(), HubError>, metrics: &Metrics) -> Result<(), HubError> {
        self.catch_panic(hook, metrics).await?.inspect_err(|error| self.log_hidden(error))
    }

    /// Logs an error whose text, or whose cause, is not sent to the client.
    fn log_hidden(&self, error: &HubError) {
        if let Some(text) = error.hidden_text() {
            self.log(Cause::HubError, "error", &text);
        }
    }

    /// Logs the error of a hub method as [`HookRunner::log_hidden`] does, and a refused call with the reason.
    fn log_call_error(&self, error: &CallError) {
        match error {
            CallError::Failed(error) => self.log_hidden(error),
            CallError::UnserializableResult(why) => self.log(Cause::HubError, "error", why),
            CallError::NoSuchMethod => self.log(Cause::UnknownMethod, "reason", &""),
            CallError::WrongArgumentCount { given, expected, .. } => {
                let reason = format_args!("{given} arguments instead of {expected}");
                self.log(Cause::InvalidArguments, "reason", &reason);
            }
            CallError::MalformedArguments(why) => self.log(Cause::InvalidArguments, "reason", why),
            CallError::Binding(why) => {
                self.log(Cause::InvalidArguments, "reason", &client_log::without_contents(why));
            }
            CallError::Unauthorized => self.log(Cause::CallUnauthorized, "reason", &""),
            CallError::NoStream => self.log(Cause::StreamMismatch, "reason", &"the method returns no stream"),
            CallError::StreamRequired => self.log(Cause::StreamMismatch, "reason", &"the method returns a stream"),
        }
    }

    fn log(&self, cause: Cause, key: &'static str, text: &dyn Display) {
        self.client.log(cause, &[("hub", self.hub), ("method", &self.name), (key, text)]);
    }
}

/// Runs `work` to its end, even if the connection that waits for it ends first.
pub(super) fn run_to_completion<W, T: 'static, E: 'static>(
    hub_tasks: &TaskTracker,
    work: W,
    interrupted: fn(HubError) -> E,
) -> impl Future<Output = Result<T, E>> + use<W, T, E>
where
    W: Future<Output = Result<T, E>> + 'static,
{
    actix::spawn(hub_tasks.track_future(work))
        .map(move |outcome| outcome.unwrap_or_else(|panic| Err(interrupted(panic.into()))))
}

/// Delays a result until the outbox has capacity for it. A client that invokes much and reads slowly is slowed down; it
/// is not disconnected as too slow because of its own results. The result comes with its turn to be sent.
pub(super) async fn wait_for_capacity(
    sending: Option<SendTurns>,
    returned: impl Future<Output = Result<HubResult, CallError>>,
) -> (Result<HubResult, CallError>, Option<OwnedSemaphorePermit>) {
    let result = returned.await;
    let turn = match sending {
        Some(sending) => sending.wait(result.as_ref().map_or(0, HubResult::value_len)).await,
        None => None,
    };
    (result, turn)
}

/// Lets the results and stream items of one client wait one after another for the capacity of its outbox. If they
/// waited side by side, all of them would be sent once there is capacity for one.
#[derive(Clone)]
pub(super) struct SendTurns {
    pub(super) outbox: Arc<Outbox>,
    pub(super) turns: Arc<Semaphore>,
}

impl SendTurns {
    /// Waits for a turn, and until `bytes` can be queued. The turn ends when the permit is dropped.
    async fn wait(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        self.outbox.wait_for_capacity(bytes).await;
        turn
    }
}

/// Polls a stream of results only while the outbox has capacity, and ends it after its first error or panic. Each item,
/// and the end (`None`), comes with its turn to be sent.
pub(super) fn stream_items(
    items: ItemStream,
    sending: SendTurns,
    (client, hub, method): (Arc<ConnectionHandle>, HubName, String),
    metrics: Arc<Metrics>,
) -> impl Stream<Item = (Option<Result<Payload, HubError>>, Option<OwnedSemaphorePermit>)> {
    let source = Rc::new((client, hub, method));
    let log = Rc::clone(&source);
    let on_panic = move |text: &str| {
        HookRunner::of(&source).log(Cause::HubPanic, "panic", &text);
        metrics.hub_panics.increment();
        HubError::hidden("Panic", text)
    };
    let log_error = move |item: &Result<Payload, HubError>| {
        if let Err(error) = item {
            HookRunner::of(&log).log_hidden(error);
        }
    };
    let items = until_error(items.inspect(log_error).boxed_local(), on_panic);
    items.map(Some).chain(stream::once(async { None })).then(move |item| {
        let sending = sending.clone();
        async move {
            let value = item.as_ref().and_then(|item| item.as_ref().ok());
            let turn = sending.wait(value.map_or(0, |value| value.as_bytes().len())).await;
            (item, turn)
        }
    })
}

/// Runs OnConnected. A client that has presented a rejoin token (`is_rejoin`) connects between the filters of a
/// reconnect. Messages are not replayed, so it may have missed some.
pub(super) async fn run_connected(hubs: Vec<(Arc<Hub>, HubContext)>, is_rejoin: bool) -> Result<(), ConnectError> {
    if !is_rejoin {
        return run_on_connected(hubs, |hub, context| hub.connected(context)).await;
    }
    let connect = |hub: &Arc<Hub>, context: HubContext| {
        let (reconnected, own) = (Reconnected { context, has_gap: true }, Arc::clone(hub));
        hub.with_reconnect_filters(reconnected, move |Reconnected { context, .. }| own.connected(context))
    };
    run_on_connected(hubs, connect).await
}

async fn run_on_connected<F: Future<Output = Result<(), HubError>>>(
    mut hubs: Vec<(Arc<Hub>, HubContext)>,
    connect: impl Fn(&Arc<Hub>, HubContext) -> F,
) -> Result<(), ConnectError> {
    hubs.iter_mut().for_each(|(_, context)| context.scope = ResultScope::OnConnected);
    let connected = run_hooks(&hubs, "OnConnected", connect).await;
    connected.map_err(|error| ConnectError { error, is_retryable: false })
}

/// Runs OnReconnected.
pub(super) async fn run_reconnected(hubs: Vec<(Arc<Hub>, HubContext)>, has_gap: bool) -> Result<(), HubError> {
    run_hooks(&hubs, "OnReconnected", |hub, context| hub.reconnected(Reconnected { context, has_gap })).await
}

/// Runs the same hook of every hub and returns the first error.
async fn run_hooks<F: Future<Output = Result<(), HubError>>>(
    hubs: &[(Arc<Hub>, HubContext)],
    name: &str,
    hook: impl Fn(&Arc<Hub>, HubContext) -> F,
) -> Result<(), HubError> {
    let run = async |(hub, context): &(Arc<Hub>, HubContext)| {
        let runner = HookRunner { client: &context.caller.handle, hub: hub.name(), name };
        runner.run(async || hook(hub, context.clone()).await, &context.services.metrics).await
    };
    join_all(hubs.iter().map(run)).await.into_iter().collect()
}

/// Runs OnDisconnected. If the connection ended before OnConnected has finished, `connect_outcome` reports whether it
/// succeeded. If it failed, OnDisconnected is not run.
pub(super) async fn run_disconnected(
    disconnects: Vec<(Arc<Hub>, Disconnected)>,
    connect_outcome: Option<oneshot::Receiver<bool>>,
    metrics: Arc<Metrics>,
) {
    let was_connected = match connect_outcome {
        Some(connect_outcome) => connect_outcome.await.unwrap_or_default(),
        None => true,
    };
    let disconnect = async |(hub, disconnected): (Arc<Hub>, Disconnected)| {
        let handle = Arc::clone(&disconnected.context.caller.handle);
        let runner = HookRunner { client: &handle, hub: hub.name(), name: "OnDisconnected" };
        // The panic is already logged, and the result is not needed.
        let _ = runner.catch_panic(async || hub.disconnected(disconnected).await, &metrics).await;
    };
    if was_connected {
        join_all(disconnects.into_iter().map(disconnect)).await;
    }
}

/// Runs a hub method, counts it and measures its duration.
pub(super) async fn invoke(
    hub: Option<(Arc<Hub>, HubContext)>,
    metrics: Arc<Metrics>,
    invoke: Invoke,
    reporter: Option<Reporter>,
) -> Result<HubResult, CallError> {
    metrics.invocations.increment();
    let started = Instant::now();
    let outcome = run_method(hub, &metrics, invoke, reporter).await;
    let durations = &metrics.durations;
    let histogram = if outcome.is_ok() { &durations.completed_invocations } else { &durations.failed_invocations };
    histogram.record(started.elapsed());
    outcome.inspect_err(|_| metrics.invocations_failed.increment())
}

async fn run_method(
    hub: Option<(Arc<Hub>, HubContext)>,
    metrics: &Metrics,
    invoke: Invoke,
    reporter: Option<Reporter>,
) -> Result<HubResult, CallError> {
    let Some((hub, mut context)) = hub else { return Err(CallError::NoSuchMethod) };
    if let Some(request) = invoke.request {
        context.caller.request = request;
    }
    context.state = invoke.state;
    context.caller.headers = invoke.headers;
    context.scope = ResultScope::Call(CallSlot { caller: Arc::clone(&context.caller.handle), number: invoke.number });
    let Invoke { method, arguments, streams, uploads, .. } = invoke;
    let (handle, name) = (Arc::clone(&context.caller.handle), method.clone());
    let runner = HookRunner { client: &handle, hub: hub.name(), name: &name };
    let call = Call { method, arguments, context, reporter, streams, uploads };
    let run = async |call| {
        let method = async || hub.invoke(call).await.inspect_err(|error| runner.log_call_error(error));
        runner.catch_panic(method, metrics).await.unwrap_or_else(|panic| Err(CallError::Failed(panic)))
    };
    match hub.chain(invocation_events()) {
        // A call that the hub refuses reaches no filter.
        Some(chain) if hub.find_method(&call).is_ok() => chain.invoke(call, run).await,
        Some(_) | None => run(call).await,
    }
}
