//! What a connection owes others, and pays exactly once however it ends: to leave its groups and the
//! directory, and to have its hubs told.

use std::{
    sync::{Arc, RwLock},
    time::SystemTime,
};

use actix::prelude::*;
use futures_util::future::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    ConnectError, Connection, Dialect, Ending, GroupsChanged, NewConnection, Reason, RejoinService, hooks,
    hooks::HookContext, memberships::Memberships,
};
use crate::{
    connections::{Address, ConnectionHandle, ConnectionInfo},
    hub::{Caller, CallerState, Disconnected, Hub, HubBehavior, HubContext, Identity, Request, services::HubServices},
    ids::{GroupKey, HubName},
    membership::LeaseUpdate,
    outbox::End,
    pipeline::{Claims, Remember, TokenGroups, TokenSubject},
    tokens::Purpose,
};

/// Wire: 1011, internal error (RFC 6455 section 7.4.1).
const INTERNAL_ERROR: End = End { code: 1011 };

/// Nobody reads it.
const FORSAKEN: End = End { code: 1000 };

/// See the module's documentation.
pub(crate) struct ConnectionState {
    handle: Arc<ConnectionHandle>,
    hubs: Vec<Arc<Hub>>,
    /// The hubs that were told of the connection, and are to be told of its end.
    told: Vec<Arc<Hub>>,
    identity: Arc<Identity>,
    request: Arc<Request>,
    services: Arc<HubServices>,
    rejoin_service: Arc<RejoinService>,
    behavior: HubBehavior,
    claim: Option<String>,
    bearer: TokenSubject,
    pub(crate) memberships: Memberships,
    /// Whether OnConnected went well, once it has been run.
    entered: Option<oneshot::Receiver<bool>>,
    is_connected: bool,
    has_ended: bool,
}

impl ConnectionState {
    pub(super) fn new<D: Dialect>(opening: NewConnection, address: Addr<Connection<D>>) -> Self {
        let NewConnection { id, hubs, identity, request, outbox, services, rejoin_service, claim, bearer, .. } =
            opening;
        let names: Vec<_> = hubs.iter().map(|hub| hub.name().clone()).collect();
        let about = ConnectionInfo {
            dialect: opening.dialect,
            transport: RwLock::new(opening.transport),
            remote: request.remote,
            user_agent: user_agent(&request),
            since: SystemTime::now(),
            hubs: names.clone(),
        };
        let hub = if opening.has_one_hub { names.into_iter().next() } else { None };
        let (port, address) = (address.clone().recipient(), Address::new(address));
        let (user, ended) = (identity.user.clone(), CancellationToken::new());
        let handle = Arc::new(ConnectionHandle { id, user, hub, outbox, about, ended, port, address });
        let memberships = Memberships::default();
        Self {
            handle,
            hubs,
            told: Vec::new(),
            identity,
            request,
            services,
            rejoin_service,
            behavior: D::BEHAVIOR,
            claim,
            bearer,
            memberships,
            entered: None,
            is_connected: false,
            has_ended: false,
        }
    }

    pub(crate) fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.handle
    }

    pub(crate) fn services(&self) -> &Arc<HubServices> {
        &self.services
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn claim(&self) -> Option<String> {
        self.claim.clone()
    }

    /// Lets the connection be found by others.
    pub(crate) fn enter(&self) {
        if self.services.connections.enter(&self.handle) {
            self.note(LeaseUpdate::opened(&self.handle));
        }
    }

    /// What hub methods and hooks of this connection work with.
    pub(super) fn scene(&self) -> HookContext {
        HookContext {
            hubs: self.hubs.clone(),
            contexts: self.contexts(),
            services: Arc::clone(&self.services),
            rejoin_service: Arc::clone(&self.rejoin_service),
            handle: Arc::clone(&self.handle),
        }
    }

    /// A hub of the process, which the client need not have named, and the moment for a call of it.
    pub(super) fn hub(&self, name: &HubName) -> Option<(Arc<Hub>, HubContext)> {
        let hub = self.services.hub(name)?;
        Some((Arc::clone(hub), self.context(hub)))
    }

    fn contexts(&self) -> Vec<HubContext> {
        self.hubs.iter().map(|hub| self.context(hub)).collect()
    }

    fn context(&self, hub: &Hub) -> HubContext {
        let caller = Caller {
            handle: Arc::clone(&self.handle),
            hub: hub.name().clone(),
            identity: Arc::clone(&self.identity),
            request: Arc::clone(&self.request),
        };
        HubContext {
            caller,
            state: CallerState::default(),
            behavior: self.behavior,
            services: Arc::clone(&self.services),
        }
    }

    /// Runs OnConnected. If the connection ends meanwhile it is run to its end all the same, and the hubs are
    /// told of the ending then.
    pub(super) fn entering<T: 'static>(
        &mut self,
        connect: impl Future<Output = Result<T, ConnectError>> + 'static,
    ) -> impl Future<Output = Result<T, ConnectError>> + 'static {
        let (tell, entered) = oneshot::channel();
        self.entered = Some(entered);
        self.told = self.hubs.clone();
        let connect = async move {
            let outcome = connect.await;
            // Nobody asks while the connection lives.
            let _ = tell.send(outcome.is_ok());
            outcome
        };
        hooks::to_its_end(&self.services.at_work, connect, ConnectError::interrupted)
    }

    /// Takes note of how OnConnected went.
    pub(super) fn let_in(&mut self, connected: Result<Option<Claims>, ConnectError>) -> Result<(), ConnectError> {
        let claims = connected?;
        if self.has_ended {
            return Ok(());
        }
        self.count_in();
        if let Some(claims) = claims {
            self.bearer.family = claims.family;
            self.bearer.epoch = claims.epoch + 1;
        }
        Ok(())
    }

    /// The groups that the client hears, and a token for them.
    pub(super) fn regrouped(&self) -> GroupsChanged {
        let heard = self.memberships.heard().into_iter();
        let (durable, joined) = heard.partition(|group| self.memberships.is_durable(group));
        let groups = TokenGroups { joined, durable };
        let claims = Claims::new(&self.bearer, &groups, SystemTime::now(), self.rejoin_service.settings.lifetime);
        if !claims.has_list() {
            self.remember(groups.clone());
        }
        let has_unsaid = self.handle.outbox.has_news();
        GroupsChanged { groups, token: self.rejoin_service.ring.seal(Purpose::Rejoin, &claims.encode()), has_unsaid }
    }

    /// Takes note that the client is to be told now of the groups that it was restored into.
    pub(crate) fn hear_restored(&mut self, claimed: &[Arc<GroupKey>]) {
        let at = self.handle.outbox.tail();
        self.memberships.hear_restored(claimed, at);
    }

    /// Takes note that the client is not to hear this group any more.
    pub(super) fn forget(&mut self, group: &Arc<GroupKey>) {
        let at = self.handle.outbox.tail();
        self.memberships.forget(group, at);
    }

    /// Turns to a new channel: what it listens to, and the request that it began with.
    pub(crate) fn turn_to(&mut self, hubs: &[Arc<Hub>], request: &Arc<Request>) {
        (self.hubs, self.request) = (hubs.to_vec(), Arc::clone(request));
    }

    /// Takes note that the client is back. A connection that this process has not seen begin is let in.
    pub(crate) fn resume(&mut self, is_fresh: bool) {
        self.services.metrics.connections_resumed.count();
        if is_fresh {
            self.told = self.hubs.clone();
            self.count_in();
        }
    }

    /// The client has gone for good, and whoever works for it need not wait until it takes something.
    pub(super) fn forsake(&self) {
        self.handle.ended.cancel();
        self.handle.outbox.abandon(FORSAKEN);
    }

    /// Counts the connection as one that its hubs know, once.
    fn count_in(&mut self) {
        if !std::mem::replace(&mut self.is_connected, true) {
            self.services.metrics.connections_opened.count();
        }
    }

    fn remember(&self, groups: TokenGroups) {
        let (pipeline, remember) =
            (self.rejoin_service.pipeline.clone(), Remember { family: self.bearer.family.clone(), groups });
        in_background(async move {
            // What a dead pipeline does not remember is restored from the store.
            let _ = pipeline.send(remember).await;
        });
    }

    fn note(&self, note: LeaseUpdate) {
        let membership = self.services.membership.clone();
        in_background(async move {
            // A supervisor that was restarted asks who is connected.
            let _ = membership.send(note).await;
        });
    }

    /// Ends the connection. Only the first ending counts.
    pub(super) fn depart(&mut self, ending: &Ending) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        match ending.reason {
            Reason::TooSlow | Reason::Crashed => self.handle.outbox.abandon(ending.end),
            _ => self.handle.outbox.finish(ending.end),
        }
        self.handle.ended.cancel();
        for key in self.memberships.all() {
            self.services.groups.abandon(key, &self.handle.id);
        }
        self.services.connections.leave(&self.handle);
        self.note(LeaseUpdate::closed(&self.handle));
        self.count(ending.reason);
        self.tell_hubs(ending);
    }

    fn count(&self, reason: Reason) {
        let metrics = &self.services.metrics;
        if self.is_connected {
            metrics.connections_closed.count();
        }
        match reason {
            Reason::TooSlow => metrics.connections_evicted.count(),
            Reason::TimedOut => metrics.connections_timed_out.count(),
            Reason::Faulted => metrics.connections_faulted.count(),
            _ => {}
        }
    }

    /// Runs OnDisconnected, once it is known that the client was let in.
    fn tell_hubs(&mut self, ending: &Ending) {
        let entered = match self.entered.take() {
            _ if self.is_connected => None,
            Some(entered) => Some(entered),
            None => return,
        };
        let error = ending.error.as_ref().map(|error| (error.kind().to_owned(), error.message().to_owned()));
        let is_stop = ending.reason == Reason::Stopped;
        let disconnected = |hub: &Arc<Hub>| {
            (Arc::clone(hub), Disconnected { context: self.context(hub), error: error.clone(), is_stop })
        };
        let told: Vec<_> = self.told.iter().map(disconnected).collect();
        let (metrics, at_work) = (Arc::clone(&self.services.metrics), self.services.at_work.token());
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.spawn_fn(move || {
                let disconnect = hooks::disconnect(told, entered, metrics);
                drop(actix::spawn(disconnect.map(|()| drop(at_work))));
            });
        }
    }
}

/// Runs something that nobody waits for, if the thread still runs anything.
fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(arbiter) = Arbiter::try_current() {
        arbiter.spawn(task);
    }
}

/// Wire: browsers cannot set the usual header, so the official client sends one of its own beside it.
fn user_agent(request: &Request) -> String {
    let named = request.header("x-signalr-user-agent").or_else(|| request.header("user-agent"));
    named.unwrap_or_default().to_owned()
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.depart(&Ending { reason: Reason::Crashed, error: None, end: INTERNAL_ERROR });
    }
}
