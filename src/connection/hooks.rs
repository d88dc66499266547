//! What a connection has hubs do for it: futures that run beside its mailbox.

use std::{borrow::Borrow, collections::HashSet, fmt::Display, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{
    future::{FutureExt, join_all, try_join_all},
    stream::{self, StreamExt, TryStreamExt},
};
use log::{error, warn};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{ConnectError, Invoke, OnStoreFailure, RejoinService};
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

/// How many groups a connection joins at a time when it is restored.
const JOINS_AT_ONCE: usize = 16;

/// Who works, for whom, and with what.
pub(crate) struct HookContext {
    pub(super) hubs: Vec<Arc<Hub>>,
    /// One for each hub, in their order.
    pub(super) contexts: Vec<HubContext>,
    pub(super) services: Arc<HubServices>,
    pub(super) rejoin_service: Arc<RejoinService>,
    pub(super) handle: Arc<ConnectionHandle>,
}

/// What of the application is run, and for whom: for the log.
struct HookRunner<'a> {
    conn: &'a ConnectionId,
    hub: &'a HubName,
    /// The method, as its caller spelt it, or the hook.
    name: &'a str,
}

impl HookRunner<'_> {
    /// Does some work of the application; if it panics, before or after its first pause, it harms only itself.
    async fn caught<T>(&self, work: impl AsyncFnOnce() -> T, metrics: &Metrics) -> Result<T, HubError> {
        AssertUnwindSafe(async { work().await }).catch_unwind().await.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            error!(conn:% = self.conn, hub:% = self.hub, name = self.name, panic = text; "a hub panicked");
            metrics.hub_panics.count();
            HubError::hidden("Panic", text)
        })
    }

    /// As [`HookRunner::caught`], for a hook that may fail.
    async fn run(&self, hook: impl AsyncFnOnce() -> Result<(), HubError>, metrics: &Metrics) -> Result<(), HubError> {
        self.caught(hook, metrics).await?.inspect_err(|error| self.note(error))
    }

    /// Leaves in the log what a client is not meant to read.
    fn note(&self, error: &HubError) {
        if !error.is_shown() {
            self.warn(error);
        }
    }

    /// As [`HookRunner::note`]; a call that its client got wrong is no failure of the hub.
    fn note_call(&self, error: &CallError) {
        match error {
            CallError::Failed(error) => self.note(error),
            CallError::UnserializableResult(why) => self.warn(why),
            CallError::NoSuchMethod
            | CallError::WrongArgumentCount { .. }
            | CallError::Binding(_)
            | CallError::Unauthorized
            | CallError::NoStream => {}
        }
    }

    fn warn(&self, error: &dyn Display) {
        warn!(conn:% = self.conn, hub:% = self.hub, name = self.name, error:% = error; "a hub failed");
    }
}

/// Runs work to its end, even if the connection that waits for it ends first.
pub(super) fn to_its_end<W, T: 'static, E: 'static>(
    at_work: &TaskTracker,
    work: W,
    interrupted: fn(HubError) -> E,
) -> impl Future<Output = Result<T, E>> + use<W, T, E>
where
    W: Future<Output = Result<T, E>> + 'static,
{
    actix::spawn(at_work.track_future(work))
        .map(move |outcome| outcome.unwrap_or_else(|panic| Err(interrupted(panic.into()))))
}

/// Holds a result back until there is room for it: a client that calls much and reads slowly is held up, and not too
/// slow for its own answers.
pub(super) async fn when_there_is_room(
    outbox: Option<Arc<Outbox>>,
    returned: impl Future<Output = Result<Json, CallError>>,
) -> Result<Json, CallError> {
    let result = returned.await;
    if let Some(outbox) = outbox {
        outbox.room_for(result.as_ref().map_or(0, |json| json.get().len())).await;
    }
    result
}

/// Restores the groups of a connection, then runs OnConnected. Answers the claims that were accepted.
pub(super) async fn connect(scene: HookContext, claim: Option<String>) -> Result<Option<Claims>, ConnectError> {
    let claims = restore(&scene, claim).await?;
    scene.run_connected().await?;
    Ok(claims)
}

/// Joins the durable groups, and those that a token brings back. Answers the claims that were accepted.
pub(super) async fn restore(
    scene: impl Borrow<HookContext>,
    claim: Option<String>,
) -> Result<Option<Claims>, ConnectError> {
    let scene = scene.borrow();
    let durable = scene.all_durable_groups().await?;
    let (groups, claims) = match claim {
        Some(token) => {
            let rejoined = scene.rejoin(Some(token), None, &durable).await?;
            (rejoined.groups, rejoined.claims)
        }
        None => (Vec::new(), None),
    };
    scene.join_all(groups, JoinCause::Token).await?;
    scene.join_all(keys_of(&durable), JoinCause::Store).await?;
    Ok(claims)
}

/// Runs OnConnected.
pub(super) async fn welcome(scene: HookContext) -> Result<(), ConnectError> {
    scene.run_connected().await
}

/// What a client that returns on a new channel is put back into.
pub(crate) struct RejoinRequest {
    /// The token that it presents.
    pub(crate) token: Option<String>,
    /// It joins its durable groups too, since this process has not seen it begin, or it begins anew.
    pub(crate) joins_durable: bool,
    /// Those that it is in, as far as this process knows.
    pub(crate) durable: Vec<Arc<GroupKey>>,
    /// What it cannot have heard of yet: how memberships have changed since.
    pub(crate) correct: Box<GroupAdjustment>,
}

/// Corrects a list of groups.
pub(crate) type GroupAdjustment = dyn FnOnce(Vec<Arc<GroupKey>>) -> Vec<Arc<GroupKey>>;

/// What became of it.
pub(crate) struct RejoinOutcome {
    /// The groups that it is to hear.
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The claims that were accepted.
    pub(crate) claims: Option<Claims>,
}

/// Asks the pipeline which groups a client rejoins on its present hubs, and joins them.
pub(super) async fn rejoin(scene: HookContext, comes: RejoinRequest) -> Result<RejoinOutcome, ConnectError> {
    let settings = &scene.rejoin_service.settings;
    let asks_store = comes.joins_durable || scene.hubs.iter().any(|hub| settings.policy_of(hub.name()).asks_store());
    let durable = if asks_store { scene.all_durable_groups().await? } else { scene.by_hub(&comes.durable) };
    let connection = Some(scene.handle.id.to_string());
    let Rejoined { mut groups, claims, .. } = scene.rejoin(comes.token, connection, &durable).await?;
    let durable: HashSet<_> = keys_of(&durable).collect();
    if comes.joins_durable {
        groups.extend(durable.iter().cloned());
    }
    let groups = (comes.correct)(groups);
    let (stored, others): (Vec<_>, Vec<_>) = groups.iter().cloned().partition(|group| durable.contains(group));
    scene.join_all(others, JoinCause::Token).await?;
    scene.join_all(stored, JoinCause::Store).await?;
    Ok(RejoinOutcome { groups, claims })
}

type Durable = Vec<(HubName, Vec<GroupName>)>;

fn keys_of(durable: &Durable) -> impl Iterator<Item = Arc<GroupKey>> {
    durable.iter().flat_map(|(hub, names)| names.iter().map(|name| GroupKey::new(hub, name)))
}

impl HookContext {
    async fn all_durable_groups(&self) -> Result<Durable, ConnectError> {
        let hubs =
            self.hubs.iter().map(|hub| async { Ok((hub.name().clone(), self.durable_groups(hub.name()).await?)) });
        try_join_all(hubs).await
    }

    fn by_hub(&self, groups: &[Arc<GroupKey>]) -> Durable {
        let of = |hub: &HubName| groups.iter().filter(|key| key.hub == *hub).map(|key| key.name.clone()).collect();
        self.hubs.iter().map(|hub| (hub.name().clone(), of(hub.name()))).collect()
    }

    async fn durable_groups(&self, hub: &HubName) -> Result<Vec<GroupName>, ConnectError> {
        let Some(user) = self.handle.user.clone() else { return Ok(Vec::new()) };
        let owner = Owner { hub: hub.clone(), user };
        match self.services.durable_groups(&owner).await {
            Ok(groups) => Ok(groups),
            Err(error) => {
                warn!(conn:% = self.handle.id, error:% = error; "durable groups are not known");
                match self.rejoin_service.settings.on_store_failure {
                    OnStoreFailure::Continue => Ok(Vec::new()),
                    OnStoreFailure::Refuse => Err(self.refused()),
                }
            }
        }
    }

    /// The groups that the pipeline puts the client back into.
    async fn rejoin(
        &self,
        token: Option<String>,
        connection: Option<String>,
        durable: &Durable,
    ) -> Result<Rejoined, ConnectError> {
        let hub = |(name, stored): &(HubName, Vec<GroupName>)| RejoinHub {
            name: name.clone(),
            policy: self.rejoin_service.settings.policy_of(name),
            stored: stored.clone(),
        };
        let presenter = RejoinIdentity { connection, user: self.handle.user.clone(), hub: self.handle.hub.clone() };
        let hubs = durable.iter().map(hub).collect();
        let rejoin = Rejoin { token, presenter, connection: self.handle.id.clone(), hubs };
        let rejoined = match &rejoin.presenter.connection {
            // A token that is bound to its connection may be presented again and again.
            Some(_) => self.rejoin_service.pipeline.send(rejoin).await.map_err(|_| self.refused())?,
            // Any other may be spent when the pipeline dies over it: it must not be presented twice.
            None => {
                let rejoined = self.rejoin_service.pipeline.send_once(rejoin).await;
                rejoined.unwrap_or_else(|_| Rejoined { is_unchecked: true, ..Rejoined::default() })
            }
        };
        match self.rejoin_service.settings.on_store_failure {
            OnStoreFailure::Refuse if rejoined.is_unchecked => Err(self.refused()),
            OnStoreFailure::Refuse | OnStoreFailure::Continue => Ok(rejoined),
        }
    }

    fn refused(&self) -> ConnectError {
        ConnectError { error: HubError::new(STORE_FAILURE), is_retryable: true }
    }

    /// Joins all of these groups, or the client is not let in: it would believe to be in them.
    async fn join_all(
        &self,
        groups: impl IntoIterator<Item = Arc<GroupKey>>,
        on_behalf_of: JoinCause,
    ) -> Result<(), ConnectError> {
        let join = async |group: Arc<GroupKey>| {
            let joined = self.services.join(&self.handle.id, &group, on_behalf_of).await;
            joined.map(drop).map_err(|error| {
                warn!(conn:% = self.handle.id, group:% = group, error:% = error; "a group is not restored");
                ConnectError { error: HubError::new(GROUP_FAILURE), is_retryable: true }
            })
        };
        stream::iter(groups).map(Ok).try_for_each_concurrent(JOINS_AT_ONCE, join).await
    }

    /// Runs the same hook of every hub, and answers the first failure.
    async fn run_hooks<F: Future<Output = Result<(), HubError>>>(
        &self,
        name: &str,
        hook: impl Fn(&Hub, HubContext) -> F,
    ) -> Result<(), HubError> {
        let run = async |(hub, context): (&Arc<Hub>, &HubContext)| {
            let errand = HookRunner { conn: &self.handle.id, hub: hub.name(), name };
            errand.run(async || hook(hub, context.clone()).await, &self.services.metrics).await
        };
        join_all(self.hubs.iter().zip(&self.contexts).map(run)).await.into_iter().collect()
    }

    async fn run_connected(&self) -> Result<(), ConnectError> {
        let connected = self.run_hooks("OnConnected", Hub::connected).await;
        connected.map_err(|error| ConnectError { error, is_retryable: false })
    }
}

/// What a client is told that cannot be let in for want of the store.
const STORE_FAILURE: &str = "The server cannot look up your groups now. Try again in a moment.";

/// What a client is told that cannot be put into one of its groups.
const GROUP_FAILURE: &str = "The server cannot put you into your groups now. Try again in a moment.";

/// Runs OnReconnected.
pub(super) async fn reconnect(scene: HookContext, has_gap: bool) -> Result<(), HubError> {
    scene.run_hooks("OnReconnected", |hub, context| hub.reconnected(Reconnected { context, has_gap })).await
}

/// Runs OnDisconnected. If the connection ended before its OnConnected did, `entered` tells whether that went
/// well, and if it did not, nobody came who could go.
pub(super) async fn disconnect(
    told: Vec<(Arc<Hub>, Disconnected)>,
    entered: Option<oneshot::Receiver<bool>>,
    metrics: Arc<Metrics>,
) {
    let has_come = match entered {
        Some(entered) => entered.await.unwrap_or_default(),
        None => true,
    };
    let tell = async |(hub, told): (Arc<Hub>, Disconnected)| {
        let handle = Arc::clone(&told.context.caller.handle);
        let errand = HookRunner { conn: &handle.id, hub: hub.name(), name: "OnDisconnected" };
        // A panic is in the log, and there is nobody to tell.
        let _ = errand.caught(async || hub.disconnected(told).await, &metrics).await;
    };
    if has_come {
        join_all(told.into_iter().map(tell)).await;
    }
}

/// Runs a hub method.
pub(super) async fn invoke(
    hub: Option<(Arc<Hub>, HubContext)>,
    metrics: Arc<Metrics>,
    invoke: Invoke,
) -> Result<Json, CallError> {
    metrics.invocations.count();
    let Some((hub, mut context)) = hub else { return Err(CallError::NoSuchMethod) };
    if let Some(request) = invoke.request {
        context.caller.request = request;
    }
    context.state = invoke.state;
    let Invoke { method, arguments, reporter, streams, .. } = invoke;
    let (handle, name) = (Arc::clone(&context.caller.handle), method.clone());
    let errand = HookRunner { conn: &handle.id, hub: hub.name(), name: &name };
    let call = Call { method, arguments, context, reporter, streams };
    let method = async || hub.invoke(call).await.inspect_err(|error| errand.note_call(error));
    let outcome = errand.caught(method, &metrics).await.unwrap_or_else(|panic| Err(CallError::Failed(panic)));
    outcome.inspect_err(|_| metrics.invocations_failed.count())
}
