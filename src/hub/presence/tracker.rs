//! Follows the connections of the users of this process, and runs the presence handlers of hubs.
//!
//! Connections report their begin and end to the [`Table`], without waiting. One task takes the users from it, asks the
//! store whether they are connected to other nodes and which durable groups they have, by a few queries for up to a
//! thousand users, and runs the handlers. While a handler is slow or the store does not answer, the users wait in the table.
//! The membership actor reports the users of processes that have died.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use actix::ArbiterHandle;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    GroupPresence, MAX_PRESENCE_PAGE, MemberPresence, PresenceChange, PresenceEvent, PresenceHandler,
    table::{Departure, Table},
};
use crate::{
    client_log::{self, Cause},
    connections::{ConnectionHandle, Connections},
    hub::{
        Hub,
        services::{DurableGroups, HubServices},
    },
    ids::{GroupName, HubName, NodeId, UserId},
    membership::LostUsers,
    metrics::Metrics,
    store::{BatchPacing, Change, Error, LastSeen, Members, MembershipChange, MembershipOp, Owner, Page, UserActivity},
};

/// The maximum number of users whose presence is read from the store by one call.
const MAX_BATCH: usize = 1_000;

/// The number of handlers that run at a time: a handler that waits for one thing does not hold up the others.
const MAX_CONCURRENT_HANDLERS: usize = 64;

/// The maximum time of a handler. It is as long as the store may take to answer, which a handler may ask.
const HANDLER_BUDGET: Duration = Duration::from_secs(5);

/// The pause before the store is asked again after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The settings of presence.
#[derive(Clone, Debug)]
pub(crate) struct PresenceSettings {
    /// The name of this process in the store.
    pub(crate) node: NodeId,
    /// How long a user without a connection counts as online.
    pub(crate) window: Duration,
    /// The thread of the handlers.
    pub(crate) arbiter: ArbiterHandle,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Presence {
    settings: PresenceSettings,
    services: Weak<HubServices>,
    durable: Arc<DurableGroups>,
    connections: Connections,
    metrics: Arc<Metrics>,
    /// `None` if no hub has a handler.
    table: Option<Mutex<Table>>,
    has_work: Notify,
}

impl Presence {
    /// `services` are those that it is a part of. If one of `hubs` has a handler, it starts the task that follows the users,
    /// and those of processes that have died. The task ends with its thread.
    pub(crate) fn start(
        hubs: &[Hub],
        settings: PresenceSettings,
        lost_users: LostUsers,
        services: &Weak<HubServices>,
        (durable, connections, metrics): (&Arc<DurableGroups>, &Connections, &Arc<Metrics>),
    ) -> Arc<Self> {
        let is_followed = hubs.iter().any(|hub| hub.presence.is_some());
        let presence = Arc::new(Self {
            table: is_followed.then(|| Mutex::new(Table::new(settings.window))),
            settings,
            services: Weak::clone(services),
            durable: Arc::clone(durable),
            connections: connections.clone(),
            metrics: Arc::clone(metrics),
            has_work: Notify::new(),
        });
        if is_followed {
            let own = Arc::clone(&presence);
            presence.settings.arbiter.spawn(async move { own.run(lost_users).await });
        }
        presence
    }

    fn table(&self) -> Option<MutexGuard<'_, Table>> {
        Some(self.table.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection was admitted.
    pub(crate) fn connected(&self, handle: &ConnectionHandle) {
        let Some((mut table, user)) = self.table().zip(handle.user.as_ref()) else { return };
        if table.connect(user) {
            self.has_work.notify_one();
        }
    }

    /// A connection that was admitted has ended.
    pub(crate) fn disconnected(&self, handle: &ConnectionHandle) {
        let Some((mut table, user)) = self.table().zip(handle.user.as_ref()) else { return };
        if table.disconnect(user, Instant::now(), SystemTime::now()) {
            self.has_work.notify_one();
        } else {
            self.metrics.presence_failures.increment();
        }
    }

    /// A connection that was not admitted has ended. The store takes its end for the time when the user was last seen.
    pub(crate) fn refused(&self, handle: &ConnectionHandle) {
        if let Some((mut table, user)) = self.table().zip(handle.user.as_ref()) {
            table.see(user, SystemTime::now());
        }
    }

    fn record_lost(&self, users: Vec<LastSeen>) {
        let Some(mut table) = self.table() else { return };
        let (now, time) = (Instant::now(), SystemTime::now());
        for seen in users {
            let age = time.duration_since(seen.at).unwrap_or_default();
            if !table.record_lost(seen, now, age) {
                self.metrics.presence_failures.increment();
            }
        }
    }

    async fn run(&self, mut lost_users: LostUsers) {
        let mut pacing = BatchPacing::new(self.durable.store.deadline(), MAX_BATCH);
        loop {
            let now = Instant::now();
            let (due, waiting) = self.table().map(|table| (table.next_due(now), table.arriving())).unwrap_or_default();
            let due = due.map(|due| due.max(now + pacing.pause(now, waiting)));
            tokio::select! {
                () = self.has_work.notified() => continue,
                Some(users) = lost_users.recv() => {
                    self.record_lost(users);
                    continue;
                }
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {}
            }
            let Some(services) = self.services.upgrade() else { return };
            if !self.announce_users(&services, &mut pacing).await {
                drop(services);
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Runs the handlers for users that have arrived, then for users that have departed. Returns false if the store has
    /// failed or panicked. The users whose handlers did not run stay in the table.
    async fn announce_users(&self, services: &Arc<HubServices>, pacing: &mut BatchPacing) -> bool {
        let now = Instant::now();
        let due = self.table().map(|mut table| (table.take_arrivals(MAX_BATCH), table.departures(now, MAX_BATCH)));
        let (arrivals, departures) = due.unwrap_or_default();
        pacing.record(now, arrivals.len() + departures.len());
        let Some(events) = logged(self.arrival_events(services, &arrivals)).await else {
            self.table().into_iter().for_each(|mut table| table.put_back_arrivals(arrivals.clone()));
            return false;
        };
        self.run_handlers(services, events, None).await;
        let Some(events) = logged(self.departure_events(services, departures)).await else { return false };
        self.run_handlers(services, events, None).await;
        true
    }

    async fn arrival_events(
        &self,
        services: &Arc<HubServices>,
        users: &[UserId],
    ) -> Result<Vec<(PresenceHandler, PresenceEvent)>, Error> {
        let activity = self.activity(users).await?;
        let arrived = users.iter().zip(activity).filter(|(_, activity)| !self.is_elsewhere(activity));
        let changes = arrived.map(|(user, _)| (user.clone(), PresenceChange::Online)).collect();
        self.events(services, changes).await
    }

    async fn departure_events(
        &self,
        services: &Arc<HubServices>,
        departures: Vec<Departure>,
    ) -> Result<Vec<(PresenceHandler, PresenceEvent)>, Error> {
        let users: Vec<_> = departures.iter().map(|departure| departure.user.clone()).collect();
        let activity = self.activity(&users).await?;
        let offline = |departure: &Departure| {
            let change = PresenceChange::Offline { last_seen: departure.last_seen };
            (departure.user.clone(), change)
        };
        let mut events = self.events(services, departures.iter().map(offline).collect()).await?;
        // Order: the users are removed last, after the store has answered. One that has returned meanwhile is not offline.
        // The node of one that has moved reports its end, or the membership actor does if that node has died.
        let Some(mut table) = self.table() else { return Ok(Vec::new()) };
        let gone: HashSet<_> = departures
            .iter()
            .zip(activity)
            .filter(|(departure, activity)| table.depart(departure) && !self.has_moved(departure, activity))
            .map(|(departure, _)| &departure.user)
            .collect();
        events.retain(|(_, event)| gone.contains(&event.user));
        Ok(events)
    }

    /// Whether a user has a connection to another live node.
    fn is_elsewhere(&self, activity: &UserActivity) -> bool {
        activity.nodes.iter().any(|node| *node != self.settings.node)
    }

    /// Whether a user has been connected to another node since it departed. An open lease on this node is one whose end
    /// is not stored yet: it says that the user was seen until now.
    fn has_moved(&self, departure: &Departure, activity: &UserActivity) -> bool {
        let was_seen_later = activity.last_seen.is_some_and(|seen| seen > departure.last_seen);
        self.is_elsewhere(activity) || (was_seen_later && activity.nodes.is_empty())
    }

    async fn activity(&self, users: &[UserId]) -> Result<Vec<UserActivity>, Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        self.durable.store.call(|store| store.leases.activity(users, SystemTime::now())).await
    }

    /// The events of these changes for each hub with a handler, with the durable groups of the users on the hub.
    async fn events(
        &self,
        services: &Arc<HubServices>,
        changes: Vec<(UserId, PresenceChange)>,
    ) -> Result<Vec<(PresenceHandler, PresenceEvent)>, Error> {
        let mut events = Vec::new();
        if changes.is_empty() {
            return Ok(events);
        }
        for hub in &services.hubs {
            let Some(handler) = &hub.presence else { continue };
            let owner = |(user, _): &(UserId, _)| Owner { hub: hub.name().clone(), user: user.clone() };
            let owners: Vec<_> = changes.iter().map(owner).collect();
            let groups = self.durable.store.call(|store| store.memberships.groups_of(&owners)).await?;
            for ((user, change), groups) in changes.iter().zip(groups) {
                let (user, change, hub) = (user.clone(), *change, hub.name().clone());
                let event = PresenceEvent { user, change, groups, hub, services: Arc::clone(services) };
                events.push((Arc::clone(handler), event));
            }
        }
        Ok(events)
    }

    /// Runs handlers, all of them until `deadline`, or each for [`HANDLER_BUDGET`].
    async fn run_handlers(
        &self,
        services: &HubServices,
        events: Vec<(PresenceHandler, PresenceEvent)>,
        deadline: Option<Instant>,
    ) {
        let run = |(handler, event)| {
            let deadline = deadline.unwrap_or_else(|| Instant::now() + HANDLER_BUDGET);
            self.run_handler(services, handler, event, deadline)
        };
        stream::iter(events).for_each_concurrent(MAX_CONCURRENT_HANDLERS, run).await;
    }

    /// Runs a handler on the thread of the handlers, and waits for it until `deadline`.
    async fn run_handler(
        &self,
        services: &HubServices,
        handler: PresenceHandler,
        event: PresenceEvent,
        deadline: Instant,
    ) {
        let (hub, user) = (event.hub.clone(), event.user.clone());
        if Instant::now() >= deadline {
            return self.record_failure(Cause::PresenceHandlerSlow, &hub, &user);
        }
        self.metrics.presence_events.increment();
        let (finished, outcome) = oneshot::channel();
        let task = services.drain.hub_tasks.token();
        self.settings.arbiter.spawn_fn(move || {
            let handled = AssertUnwindSafe(async move { handler(event).await }).catch_unwind();
            actix::spawn(async move {
                // The receiver is gone if the call that changes a membership was dropped.
                let _ = finished.send(timeout_at(deadline, handled).await);
                drop(task);
            });
        });
        match outcome.await {
            // An error: the thread has stopped.
            Ok(Ok(Ok(()))) | Err(_) => {}
            Ok(Ok(Err(_))) => {
                self.metrics.hub_panics.increment();
                self.record_failure(Cause::HubPanic, &hub, &user);
            }
            Ok(Err(_)) => self.record_failure(Cause::PresenceHandlerSlow, &hub, &user),
        }
    }

    fn record_failure(&self, cause: Cause, hub: &HubName, user: &UserId) {
        self.metrics.presence_failures.increment();
        client_log::log(cause, &[("hub", hub), ("method", &"OnPresence"), ("user", user)]);
    }

    /// Runs the handler of the hub for each durable change that had an effect. All handlers together have
    /// [`HANDLER_BUDGET`]: later changes of the same memberships wait for them.
    pub(in crate::hub) async fn announce(&self, changes: impl IntoIterator<Item = (&MembershipChange, Change)>) {
        let Some(services) = self.services.upgrade().filter(|_| self.table.is_some()) else { return };
        let applied = changes.into_iter().filter(|(_, effect)| *effect == Change::Applied);
        let events: Vec<_> = applied.filter_map(|(change, _)| membership_event(&services, change)).collect();
        self.run_handlers(&services, events, Some(Instant::now() + HANDLER_BUDGET)).await;
    }

    /// A page of the durable members of a group with their presence.
    pub(in crate::hub) async fn of_group(
        &self,
        hub: &HubName,
        group: &GroupName,
        page: &Page,
    ) -> Result<GroupPresence, Error> {
        let page = Page { after: page.after.clone(), limit: page.limit.min(MAX_PRESENCE_PAGE) };
        let Members { users, total } = self.durable.members_of(hub, group, &page).await?;
        let activity = self.activity(&users).await?;
        let now = SystemTime::now();
        let members = users.into_iter().zip(activity).map(|(user, activity)| self.presence_of(user, &activity, now));
        Ok(GroupPresence { members: members.collect(), total })
    }

    fn presence_of(&self, user: UserId, activity: &UserActivity, now: SystemTime) -> MemberPresence {
        if !self.connections.of_user_on_any_hub(&user).is_empty() {
            return MemberPresence { user, is_online: true, last_seen: Some(now) };
        }
        let is_recent = |seen: SystemTime| now.duration_since(seen).map_or(true, |away| away < self.settings.window);
        let is_online = !activity.nodes.is_empty() || activity.last_seen.is_some_and(is_recent);
        MemberPresence { user, is_online, last_seen: activity.last_seen }
    }
}

/// The result of a call of the store. Logs an error or a panic: a store of the application can panic.
async fn logged<T>(call: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(result)) => Some(result),
        Ok(Err(error)) => {
            client_log::log(Cause::PresenceNotRead, &[("error", &error)]);
            None
        }
        Err(_) => {
            client_log::log(Cause::PresenceNotRead, &[("error", &"the store panicked")]);
            None
        }
    }
}

/// The event of a durable change, if its hub has a handler.
fn membership_event(
    services: &Arc<HubServices>,
    MembershipChange { owner, group, op }: &MembershipChange,
) -> Option<(PresenceHandler, PresenceEvent)> {
    let handler = services.hub(&owner.hub)?.presence.clone()?;
    let change = match op {
        MembershipOp::Add => PresenceChange::Joined,
        MembershipOp::Remove => PresenceChange::Left,
    };
    let (user, hub, groups) = (owner.user.clone(), owner.hub.clone(), vec![group.clone()]);
    Some((handler, PresenceEvent { user, change, groups, hub, services: Arc::clone(services) }))
}
