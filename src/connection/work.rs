//! What a connection has hubs do for it: futures that run beside its mailbox.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{
    future::{FutureExt, join_all},
    stream::{self, StreamExt},
};
use log::{error, warn};

use super::{Desk, Invoke, OnStoreFailure, Refused};
use crate::{
    connections::{OnBehalfOf, Seat},
    hub::{Call, CallError, Hub, HubError, Moment, Reconnected, world::World},
    ids::{GroupKey, GroupName, HubName},
    message::Json,
    metrics::Metrics,
    pipeline::{Claims, Presenter, Rejoin, RejoinHub},
    store::Owner,
};

/// How many groups a connection joins at a time when it is restored.
const JOINS_AT_ONCE: usize = 16;

/// Who works, for whom, and with what.
pub(crate) struct Scene {
    pub(super) hubs: Vec<Arc<Hub>>,
    /// One for each hub, in their order.
    pub(super) moments: Vec<Moment>,
    pub(super) world: Arc<World>,
    pub(super) desk: Arc<Desk>,
    pub(super) seat: Arc<Seat>,
}

/// Awaits a future of the application; one that panics harms only itself.
pub(super) async fn caught<T>(work: impl Future<Output = T>, metrics: &Metrics) -> Result<T, HubError> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        error!(panic = text; "a hub panicked");
        metrics.hub_panics.count();
        HubError::hidden("Panic", text)
    })
}

/// Restores the groups of a connection, then runs OnConnected. Answers the claims that were accepted.
pub(super) async fn connect(scene: Scene, claim: Option<String>) -> Result<Option<Claims>, Refused> {
    let mut durable = Vec::new();
    for hub in &scene.hubs {
        durable.push((hub.name().clone(), scene.durable_groups(hub.name()).await?));
    }
    let (mut groups, claims) = match claim {
        Some(token) => scene.claimed(token, &durable).await,
        None => (Vec::new(), None),
    };
    groups.extend(durable.iter().flat_map(|(hub, names)| names.iter().map(|name| GroupKey::new(hub, name))));
    scene.restore(groups).await;
    scene.run_connected().await?;
    Ok(claims)
}

impl Scene {
    async fn durable_groups(&self, hub: &HubName) -> Result<Vec<GroupName>, Refused> {
        let Some(user) = self.seat.user.clone() else { return Ok(Vec::new()) };
        let owner = Owner { hub: hub.clone(), user };
        match self.world.durable_groups(&owner).await {
            Ok(groups) => Ok(groups),
            Err(error) => {
                warn!(conn:% = self.seat.id, error:% = error; "durable groups are not known");
                match self.desk.settings.on_store_failure {
                    OnStoreFailure::Continue => Ok(Vec::new()),
                    OnStoreFailure::Refuse => Err(Refused { error: HubError::new(STORE_FAILURE), is_retryable: true }),
                }
            }
        }
    }

    /// The groups that a rejoin token brings back.
    async fn claimed(
        &self,
        token: String,
        durable: &[(HubName, Vec<GroupName>)],
    ) -> (Vec<Arc<GroupKey>>, Option<Claims>) {
        let hub = |(name, stored): &(HubName, Vec<GroupName>)| RejoinHub {
            name: name.clone(),
            policy: self.desk.settings.policy_of(name),
            stored: stored.clone(),
        };
        let rejoin = Rejoin {
            token: Some(token),
            presenter: Presenter { connection: None, user: self.seat.user.clone(), hub: self.seat.hub.clone() },
            connection: self.seat.id.clone(),
            hubs: durable.iter().map(hub).collect(),
        };
        // The token may be spent when the pipeline dies over it: it must not be presented twice.
        let rejoined = self.desk.pipeline.send_once(rejoin).await.unwrap_or_default();
        (rejoined.groups, rejoined.claims)
    }

    async fn restore(&self, groups: Vec<Arc<GroupKey>>) {
        let join = |group: Arc<GroupKey>| async move {
            let joined = self.world.join(&self.seat.id, &group, OnBehalfOf::Restoration).await;
            if let Err(error) = joined {
                warn!(conn:% = self.seat.id, group:% = group, error:% = error; "a group is not restored");
            }
        };
        stream::iter(groups).for_each_concurrent(JOINS_AT_ONCE, join).await;
    }

    async fn run_connected(&self) -> Result<(), Refused> {
        let metrics = &self.world.metrics;
        let hooks =
            self.hubs.iter().zip(&self.moments).map(|(hub, moment)| caught(hub.connected(moment.clone()), metrics));
        let outcomes = join_all(hooks).await;
        let failed = outcomes.into_iter().find_map(|outcome| outcome.and_then(|outcome| outcome).err());
        failed.map_or(Ok(()), |error| Err(Refused { error, is_retryable: false }))
    }
}

/// What a client is told that cannot be let in for want of the store.
const STORE_FAILURE: &str = "The server cannot look up your groups now. Try again in a moment.";

/// Runs OnReconnected.
pub(super) async fn reconnect(scene: Scene, has_gap: bool) -> Result<(), HubError> {
    let metrics = &scene.world.metrics;
    let hooks = scene.hubs.iter().zip(&scene.moments).map(|(hub, moment)| {
        let reconnected = Reconnected { moment: moment.clone(), has_gap };
        caught(hub.reconnected(reconnected), metrics)
    });
    join_all(hooks).await.into_iter().try_for_each(|outcome| outcome.and_then(|outcome| outcome))
}

/// Runs a hub method.
pub(super) async fn invoke(
    hub: Option<(Arc<Hub>, Moment)>,
    metrics: Arc<Metrics>,
    invoke: Invoke,
) -> Result<Json, CallError> {
    metrics.invocations.count();
    let Some((hub, mut moment)) = hub else { return Err(CallError::NoSuchMethod) };
    if let Some(request) = invoke.request {
        moment.caller.request = request;
    }
    let Invoke { method, arguments, state, reporter, streams, .. } = invoke;
    let call = Call { method, arguments, state, moment, reporter, streams };
    let result = caught(hub.invoke(call), &metrics).await.unwrap_or_else(|panic| Err(CallError::Failed(panic)));
    if result.is_err() {
        metrics.invocations_failed.count();
    }
    result
}
