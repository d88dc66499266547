//! Futures that a connection runs beside its mailbox: lifecycle hooks, hub methods and the restore of groups.

use std::{borrow::Borrow, collections::HashSet, fmt::Display, panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{FutureExt, join_all, try_join_all};
use log::{error, warn};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{ConnectError, Invoke, OnStoreFailure, RejoinService, group_ops::GroupJoiner};
use crate::{
    connections::{ConnectionHandle, JoinCause},
    hub::{Call, CallError, Disconnected, Hub, HubContext, HubError, Reconnected, services::HubServices},
    ids::{ConnectionId, GroupKey, GroupName, HubName},
    message::Json,
    metrics::Metrics,
    outbox::Outbox,
    pipeline::{Claims, Rejoin, RejoinHub, RejoinIdentity, Rejoined},
    store::Owner,
};

/// A group to join, and why.
pub(super) type GroupJoin = (Arc<GroupKey>, JoinCause);

/// The context of hooks and restores of a connection.
pub(crate) struct HookContext {
    pub(super) hubs: Vec<Arc<Hub>>,
    /// One for each hub, in the order of `hubs`.
    pub(super) contexts: Vec<HubContext>,
    pub(super) services: Arc<HubServices>,
    pub(super) rejoin_service: Arc<RejoinService>,
    pub(super) handle: Arc<ConnectionHandle>,
}

/// Runs application code, catches its panics and logs its errors. The fields are for the log.
struct HookRunner<'a> {
    conn: &'a ConnectionId,
    hub: &'a HubName,
    /// The method as the client spelt it, or the hook.
    name: &'a str,
}

impl HookRunner<'_> {
    /// Runs `work` and turns a panic into an error, whether it panics before or after its first await.
    async fn catch_panic<T>(&self, work: impl AsyncFnOnce() -> T, metrics: &Metrics) -> Result<T, HubError> {
        AssertUnwindSafe(async { work().await }).catch_unwind().await.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            error!(conn:% = self.conn, hub:% = self.hub, name = self.name, panic = text; "hub panicked");
            metrics.hub_panics.increment();
            HubError::hidden("Panic", text)
        })
    }

    /// As [`HookRunner::catch_panic`], for a hook that may fail. Logs the error.
    async fn run(&self, hook: impl AsyncFnOnce() -> Result<(), HubError>, metrics: &Metrics) -> Result<(), HubError> {
        self.catch_panic(hook, metrics).await?.inspect_err(|error| self.log_hidden(error))
    }

    /// Logs an error whose text is not sent to the client.
    fn log_hidden(&self, error: &HubError) {
        if !error.is_shown() {
            self.warn(error);
        }
    }

    /// As [`HookRunner::log_hidden`]. An invalid invocation is not an error of the hub.
    fn log_call_error(&self, error: &CallError) {
        match error {
            CallError::Failed(error) => self.log_hidden(error),
            CallError::UnserializableResult(why) => self.warn(why),
            CallError::NoSuchMethod
            | CallError::WrongArgumentCount { .. }
            | CallError::Binding(_)
            | CallError::Unauthorized
            | CallError::NoStream => {}
        }
    }

    fn warn(&self, error: &dyn Display) {
        let Self { conn, hub, name } = self;
        warn!(conn:% = conn, hub:% = hub, name = name, error:% = error; "hub method or hook returned an error");
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
/// is not disconnected as too slow because of its own results.
pub(super) async fn wait_for_capacity(
    outbox: Option<Arc<Outbox>>,
    returned: impl Future<Output = Result<Json, CallError>>,
) -> Result<Json, CallError> {
    let result = returned.await;
    if let Some(outbox) = outbox {
        outbox.wait_for_capacity(result.as_ref().map_or(0, |json| json.get().len())).await;
    }
    result
}

/// Restores the groups of a connection, then runs OnConnected. Returns the accepted claims of the rejoin token.
pub(super) async fn connect(
    hook_context: HookContext,
    rejoin_token: Option<String>,
    joiner: GroupJoiner,
) -> Result<Option<Claims>, ConnectError> {
    let (groups, claims) = groups_to_restore(&hook_context, rejoin_token).await?;
    joiner.join_all(groups).await?;
    hook_context.run_connected().await?;
    Ok(claims)
}

/// Loads the durable groups and those of the rejoin token. Returns the accepted claims of the token too.
pub(super) async fn groups_to_restore(
    hook_context: impl Borrow<HookContext>,
    rejoin_token: Option<String>,
) -> Result<(Vec<GroupJoin>, Option<Claims>), ConnectError> {
    let hook_context = hook_context.borrow();
    let durable = hook_context.all_durable_groups().await?;
    let (groups, claims) = match rejoin_token {
        Some(token) => {
            let rejoined = hook_context.rejoin(Some(token), None, &durable).await?;
            (rejoined.groups, rejoined.claims)
        }
        None => (Vec::new(), None),
    };
    let claimed = groups.into_iter().map(|group| (group, JoinCause::Token));
    let stored = keys_of(&durable).map(|group| (group, JoinCause::Store));
    Ok((claimed.chain(stored).collect(), claims))
}

/// Runs OnConnected.
pub(super) async fn run_connected(hook_context: HookContext) -> Result<(), ConnectError> {
    hook_context.run_connected().await
}

/// The request to restore the groups of a client that reconnected.
pub(crate) struct RejoinRequest {
    /// The token that the client presented.
    pub(crate) token: Option<String>,
    /// Whether to join the durable groups too: the connection is new to this process, or the client starts again.
    pub(crate) joins_durable: bool,
    /// The durable groups that the connection is in.
    pub(crate) durable: Vec<Arc<GroupKey>>,
    /// Applies the membership changes that the client cannot know of yet.
    pub(crate) adjust: Box<GroupAdjustment>,
}

/// Adjusts a list of groups.
pub(crate) type GroupAdjustment = dyn FnOnce(Vec<Arc<GroupKey>>) -> Vec<Arc<GroupKey>>;

/// The outcome of a [`RejoinRequest`].
pub(crate) struct RejoinOutcome {
    /// The groups that the client receives messages from.
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The accepted claims of the token.
    pub(crate) claims: Option<Claims>,
}

/// Asks the pipeline which groups a client rejoins on its current hubs.
pub(super) async fn groups_to_rejoin(
    hook_context: HookContext,
    request: RejoinRequest,
) -> Result<(Vec<GroupJoin>, RejoinOutcome), ConnectError> {
    let settings = &hook_context.rejoin_service.settings;
    let asks_store =
        request.joins_durable || hook_context.hubs.iter().any(|hub| settings.policy_of(hub.name()).asks_store());
    let durable =
        if asks_store { hook_context.all_durable_groups().await? } else { hook_context.by_hub(&request.durable) };
    let connection = Some(hook_context.handle.id.to_string());
    let Rejoined { mut groups, claims, .. } = hook_context.rejoin(request.token, connection, &durable).await?;
    let durable: HashSet<_> = keys_of(&durable).collect();
    if request.joins_durable {
        groups.extend(durable.iter().cloned());
    }
    let groups = (request.adjust)(groups);
    let cause_of = |group: &Arc<GroupKey>| if durable.contains(group) { JoinCause::Store } else { JoinCause::Token };
    let joins = groups.iter().map(|group| (Arc::clone(group), cause_of(group))).collect();
    Ok((joins, RejoinOutcome { groups, claims }))
}

/// The durable groups of a user, by hub.
type DurableGroups = Vec<(HubName, Vec<GroupName>)>;

fn keys_of(durable: &DurableGroups) -> impl Iterator<Item = Arc<GroupKey>> {
    durable.iter().flat_map(|(hub, names)| names.iter().map(|name| GroupKey::new(hub, name)))
}

impl HookContext {
    async fn all_durable_groups(&self) -> Result<DurableGroups, ConnectError> {
        let hubs =
            self.hubs.iter().map(|hub| async { Ok((hub.name().clone(), self.durable_groups(hub.name()).await?)) });
        try_join_all(hubs).await
    }

    fn by_hub(&self, groups: &[Arc<GroupKey>]) -> DurableGroups {
        let of = |hub: &HubName| groups.iter().filter(|key| key.hub == *hub).map(|key| key.name.clone()).collect();
        self.hubs.iter().map(|hub| (hub.name().clone(), of(hub.name()))).collect()
    }

    async fn durable_groups(&self, hub: &HubName) -> Result<Vec<GroupName>, ConnectError> {
        let Some(user) = self.handle.user.clone() else { return Ok(Vec::new()) };
        let owner = Owner { hub: hub.clone(), user };
        match self.services.durable_groups(&owner).await {
            Ok(groups) => Ok(groups),
            Err(error) => {
                warn!(conn:% = self.handle.id, error:% = error; "failed to load durable groups");
                match self.rejoin_service.settings.on_store_failure {
                    OnStoreFailure::Continue => Ok(Vec::new()),
                    OnStoreFailure::Refuse => Err(self.store_failure()),
                }
            }
        }
    }

    /// Asks the pipeline which groups the client rejoins.
    async fn rejoin(
        &self,
        token: Option<String>,
        connection: Option<String>,
        durable: &DurableGroups,
    ) -> Result<Rejoined, ConnectError> {
        let hub = |(name, stored): &(HubName, Vec<GroupName>)| RejoinHub {
            name: name.clone(),
            policy: self.rejoin_service.settings.policy_of(name),
            stored: stored.clone(),
        };
        let identity = RejoinIdentity { connection, user: self.handle.user.clone(), hub: self.handle.hub.clone() };
        let hubs = durable.iter().map(hub).collect();
        let rejoin = Rejoin { token, identity, connection: self.handle.id.clone(), hubs };
        let rejoined = match &rejoin.identity.connection {
            // A token that is bound to its connection may be presented more than once.
            Some(_) => self.rejoin_service.pipeline.send(rejoin).await.map_err(|_| self.store_failure())?,
            // Any other token may be used up when the pipeline crashes: it must not be presented twice.
            None => {
                let rejoined = self.rejoin_service.pipeline.send_once(rejoin).await;
                rejoined.unwrap_or_else(|_| Rejoined { is_unchecked: true, ..Rejoined::default() })
            }
        };
        match self.rejoin_service.settings.on_store_failure {
            OnStoreFailure::Refuse if rejoined.is_unchecked => Err(self.store_failure()),
            OnStoreFailure::Refuse | OnStoreFailure::Continue => Ok(rejoined),
        }
    }

    fn store_failure(&self) -> ConnectError {
        ConnectError { error: HubError::new(STORE_FAILURE), is_retryable: true }
    }

    /// Runs the same hook of every hub and returns the first error.
    async fn run_hooks<F: Future<Output = Result<(), HubError>>>(
        &self,
        name: &str,
        hook: impl Fn(&Hub, HubContext) -> F,
    ) -> Result<(), HubError> {
        let run = async |(hub, context): (&Arc<Hub>, &HubContext)| {
            let runner = HookRunner { conn: &self.handle.id, hub: hub.name(), name };
            runner.run(async || hook(hub, context.clone()).await, &self.services.metrics).await
        };
        join_all(self.hubs.iter().zip(&self.contexts).map(run)).await.into_iter().collect()
    }

    async fn run_connected(&self) -> Result<(), ConnectError> {
        let connected = self.run_hooks("OnConnected", Hub::connected).await;
        connected.map_err(|error| ConnectError { error, is_retryable: false })
    }
}

/// The error of a client whose groups cannot be loaded.
const STORE_FAILURE: &str = "The server cannot look up your groups now. Try again in a moment.";

/// Runs OnReconnected.
pub(super) async fn run_reconnected(hook_context: HookContext, has_gap: bool) -> Result<(), HubError> {
    hook_context.run_hooks("OnReconnected", |hub, context| hub.reconnected(Reconnected { context, has_gap })).await
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
        let runner = HookRunner { conn: &handle.id, hub: hub.name(), name: "OnDisconnected" };
        // The panic is already logged, and the result is not needed.
        let _ = runner.catch_panic(async || hub.disconnected(disconnected).await, &metrics).await;
    };
    if was_connected {
        join_all(disconnects.into_iter().map(disconnect)).await;
    }
}

/// Runs a hub method.
pub(super) async fn invoke(
    hub: Option<(Arc<Hub>, HubContext)>,
    metrics: Arc<Metrics>,
    invoke: Invoke,
) -> Result<Json, CallError> {
    metrics.invocations.increment();
    let Some((hub, mut context)) = hub else { return Err(CallError::NoSuchMethod) };
    if let Some(request) = invoke.request {
        context.caller.request = request;
    }
    context.state = invoke.state;
    let Invoke { method, arguments, reporter, streams, .. } = invoke;
    let (handle, name) = (Arc::clone(&context.caller.handle), method.clone());
    let runner = HookRunner { conn: &handle.id, hub: hub.name(), name: &name };
    let call = Call { method, arguments, context, reporter, streams };
    let method = async || hub.invoke(call).await.inspect_err(|error| runner.log_call_error(error));
    let outcome = runner.catch_panic(method, &metrics).await.unwrap_or_else(|panic| Err(CallError::Failed(panic)));
    outcome.inspect_err(|_| metrics.invocations_failed.increment())
}
