//! The state of a connection, apart from its session.

use std::{
    any::Any,
    sync::{Arc, Mutex, OnceLock},
    time::SystemTime,
};

use actix::prelude::*;
use tokio::{sync::oneshot, time::Instant};

use super::{
    ConnectError, Connection, Dialect, RejoinOutcome, RejoinRequest, RejoinService, RequestContext, RestoreSlots,
    TokenOutcome,
    group_ops::GroupJoin,
    groups_token::{TokenEncoder, TokenIssuer},
    hooks,
    memberships::Memberships,
};
use crate::{
    connections::{Command, ConnectionHandle, ConnectionInfo, Pace},
    hub::{
        Caller, CallerState, Hub, HubBehavior, HubContext, HubError, Identity, Request, ResultScope,
        services::HubServices,
    },
    ids::{ConnectionId, GroupKey, HubName},
    membership::LeaseUpdate,
    outbox::{DeferredField, Outbox},
    pipeline::{RejoinReport, TokenGroups, TokenSubject},
};

mod cleanup;

pub(super) use cleanup::CleanupGuard;

/// The error of a client whose connection id is in use.
const ID_IN_USE: &str = "The previous connection with this id has not ended yet. Try again in a moment.";

/// The arguments of a new connection.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) id: ConnectionId,
    pub(crate) dialect: &'static str,
    /// The transport of the request that creates it, by its name on the wire.
    pub(crate) transport: &'static str,
    pub(crate) hubs: Vec<Arc<Hub>>,
    /// Whether it is bound to one hub. Otherwise each channel selects its hubs.
    pub(crate) has_one_hub: bool,
    pub(crate) identity: Arc<Identity>,
    pub(crate) request: Arc<Request>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) services: Arc<HubServices>,
    pub(crate) rejoin_service: Arc<RejoinService>,
    /// The rejoin token that the client presented, for dialects that rejoin when they connect.
    pub(crate) rejoin_token: Option<String>,
    /// The subject of the tokens that it receives.
    pub(crate) token_subject: TokenSubject,
    /// What the connection occupies. It is dropped when the connection ends.
    pub(crate) held_until_end: Box<dyn Any + Send>,
    /// What it occupies while it has had no channel yet.
    pub(crate) held_until_channel: Box<dyn Any + Send>,
    /// What it occupies until requests can no longer reach it, which may be after its end.
    pub(crate) held_until_stop: Box<dyn Any + Send>,
}

impl NewConnection {
    /// The handle with which other modules reach the connection.
    fn handle(&self, commands: Recipient<Command>) -> ConnectionHandle {
        let hubs = names_of(&self.hubs);
        ConnectionHandle {
            id: self.id.clone(),
            user: self.identity.user.clone(),
            hub: hubs.first().filter(|_| self.has_one_hub).cloned(),
            outbox: Arc::clone(&self.outbox),
            info: ConnectionInfo {
                dialect: self.dialect,
                transport: Mutex::new(self.transport),
                remote: self.request.remote,
                user_agent: self.request.user_agent().into(),
                since: SystemTime::now(),
                hubs,
            },
            ended: OnceLock::new(),
            pace: Pace::default(),
            commands,
        }
    }
}

/// The state of a connection. [`CleanupGuard`] wraps it and ends the connection on every exit path.
pub(crate) struct ConnectionState {
    handle: Arc<ConnectionHandle>,
    hubs: Vec<Arc<Hub>>,
    /// The hubs whose OnConnected was run, and whose OnDisconnected is due at the end.
    connected_hubs: Vec<Arc<Hub>>,
    identity: Arc<Identity>,
    request: Arc<Request>,
    services: Arc<HubServices>,
    rejoin_service: Arc<RejoinService>,
    behavior: HubBehavior,
    rejoin_token: Option<String>,
    /// The outcome of that token, until the client is admitted.
    token_outcome: Option<Box<TokenOutcome>>,
    /// Makes the tokens of a client that receives them.
    pub(super) token_issuer: Option<Arc<TokenIssuer>>,
    pub(super) memberships: Memberships,
    /// Receives whether OnConnected succeeded.
    connect_outcome: Option<oneshot::Receiver<bool>>,
    is_registered: bool,
    is_connected: bool,
    started_at: Instant,
    has_ended: bool,
    /// Dropped when the connection ends.
    held_until_end: Option<Box<dyn Any + Send>>,
    /// Dropped with the first channel.
    held_until_channel: Option<Box<dyn Any + Send>>,
    _held_until_stop: Box<dyn Any + Send>,
}

impl ConnectionState {
    pub(super) fn new<D: Dialect>(new: NewConnection, address: Addr<Connection<D>>, session: &D) -> Self {
        let handle = Arc::new(new.handle(address.recipient()));
        let NewConnection {
            hubs,
            identity,
            request,
            services,
            rejoin_service,
            rejoin_token,
            token_subject,
            held_until_end,
            held_until_channel,
            held_until_stop,
            ..
        } = new;
        let mut memberships = Memberships::default();
        let token_issuer = session
            .wants_tokens()
            .then(|| TokenIssuer::new::<D>(&rejoin_service, &handle, token_subject, memberships.share_received()));
        Self {
            handle,
            hubs,
            connected_hubs: Vec::new(),
            identity,
            request,
            services,
            rejoin_service,
            behavior: D::BEHAVIOR,
            rejoin_token,
            token_outcome: None,
            token_issuer,
            memberships,
            connect_outcome: None,
            is_registered: false,
            is_connected: false,
            started_at: Instant::now(),
            has_ended: false,
            held_until_end: Some(held_until_end),
            held_until_channel: Some(held_until_channel),
            _held_until_stop: held_until_stop,
        }
    }

    pub(super) fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.handle
    }

    pub(super) fn services(&self) -> &Arc<HubServices> {
        &self.services
    }

    pub(super) fn restore_slots(&self) -> RestoreSlots {
        self.rejoin_service.restore_slots.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the client was admitted.
    pub(super) fn is_admitted(&self) -> bool {
        self.is_connected
    }

    /// Adds the connection to the directory, once.
    ///
    /// # Errors
    /// If the directory has another connection with the same id. Both would use the same memberships in groups, so that
    /// the end of one would end those of the other.
    pub(super) fn register(&mut self) -> Result<(), ConnectError> {
        if self.is_registered {
            return Ok(());
        }
        if !self.services.connections.register(&self.handle) {
            return Err(ConnectError { error: HubError::new(ID_IN_USE), is_retryable: true });
        }
        self.is_registered = true;
        self.send_lease_update(LeaseUpdate::opened(&self.handle));
        Ok(())
    }

    /// The hubs that the client receives from.
    pub(super) fn hubs(&self) -> &[Arc<Hub>] {
        &self.hubs
    }

    /// The current hubs, each with the context for its hooks.
    pub(super) fn hub_contexts(&self) -> Vec<(Arc<Hub>, HubContext)> {
        self.hubs.iter().map(|hub| (Arc::clone(hub), self.context(hub))).collect()
    }

    /// Loads the groups to join: see [`RejoinService::groups_to_restore`].
    pub(super) fn groups_to_restore(
        &mut self,
    ) -> impl Future<Output = Result<(Vec<GroupJoin>, Option<TokenOutcome>), ConnectError>> + use<> {
        let rejoin_token = self.rejoin_token.take();
        let (rejoin_service, client) = (Arc::clone(&self.rejoin_service), Arc::clone(&self.handle));
        rejoin_service.groups_to_restore(client, names_of(&self.hubs), rejoin_token)
    }

    /// Loads the groups to rejoin: see [`RejoinService::groups_to_rejoin`].
    pub(super) fn groups_to_rejoin(
        &self,
        request: RejoinRequest,
    ) -> impl Future<Output = Result<(Vec<GroupJoin>, RejoinOutcome), ConnectError>> + use<> {
        let (rejoin_service, client) = (Arc::clone(&self.rejoin_service), Arc::clone(&self.handle));
        rejoin_service.groups_to_rejoin(client, names_of(&self.hubs), request)
    }

    /// A hub of the process, with the context for an invocation of it. The client need not have requested this hub.
    pub(super) fn hub(&self, name: &HubName) -> Option<(Arc<Hub>, HubContext)> {
        let hub = self.services.hub(name)?;
        Some((Arc::clone(hub), self.context(hub)))
    }

    fn context(&self, hub: &Hub) -> HubContext {
        let caller = Caller {
            handle: Arc::clone(&self.handle),
            hub: hub.name().clone(),
            identity: Arc::clone(&self.identity),
            request: Arc::clone(&self.request),
            headers: None,
        };
        HubContext {
            caller,
            state: CallerState::default(),
            behavior: self.behavior,
            scope: ResultScope::Free,
            services: Arc::clone(&self.services),
        }
    }

    /// Runs a future that runs OnConnected. If the connection ends meanwhile, the future still runs to its end, and
    /// OnDisconnected follows it.
    pub(super) fn track_connect(
        &mut self,
        connect: impl Future<Output = Result<(), ConnectError>> + 'static,
    ) -> impl Future<Output = Result<(), ConnectError>> + 'static {
        let (report, connect_outcome) = oneshot::channel();
        self.connect_outcome = Some(connect_outcome);
        self.connected_hubs = self.hubs.clone();
        let connect = async move {
            let outcome = connect.await;
            // The receiver is only read if the connection ends first.
            let _ = report.send(outcome.is_ok());
            outcome
        };
        hooks::run_to_completion(&self.services.drain.hub_tasks, connect, ConnectError::interrupted)
    }

    /// Records that the groups of the client are joined, or why they are not.
    pub(super) fn end_restore(
        &mut self,
        restored: Result<Option<TokenOutcome>, ConnectError>,
    ) -> Result<(), ConnectError> {
        self.log_refused(&restored);
        self.record_restored(&[]);
        self.token_outcome = restored?.map(Box::new);
        if let Some((issuer, token)) = self.token_issuer.as_ref().zip(self.token_outcome.as_ref()) {
            issuer.keep_unchecked(token.is_unchecked);
        }
        Ok(())
    }

    /// True if the client has presented a rejoin token that was accepted, and is not admitted yet.
    pub(super) fn is_rejoin(&self) -> bool {
        self.token_outcome.as_ref().is_some_and(|token| token.claims.is_some())
    }

    /// Records the outcome of OnConnected. The client is admitted if it succeeded. Returns the report on the rejoin
    /// token, if the client presented one.
    pub(super) fn admit(&mut self, connected: Result<(), ConnectError>) -> Result<Option<RejoinReport>, ConnectError> {
        self.log_refused(&connected);
        self.connect_outcome = None;
        connected?;
        let (claims, report) = self.token_outcome.take().map(|token| (token.claims, token.report)).unzip();
        if !self.has_ended {
            self.count_connected();
            // A client that has gone was not joined to all groups, and comes back with the same token.
            let claims = claims.flatten().filter(|_| !self.handle.has_gone());
            if let Some((issuer, claims)) = self.token_issuer.as_ref().zip(claims) {
                issuer.continue_family(claims);
            }
        }
        Ok(report)
    }

    /// The field of a frame that brings the client a rejoin token, if it receives them now.
    pub(super) fn token_field(&self) -> Option<DeferredField> {
        self.token_issuer.as_ref().filter(|issuer| !issuer.keeps_unchecked()).map(TokenIssuer::field)
    }

    pub(super) fn set_token_encoder(&self, encode: TokenEncoder) {
        if let Some(issuer) = &self.token_issuer {
            issuer.set_encoder(encode);
        }
    }

    /// The groups that the client receives messages from.
    pub(super) fn token_groups(&self) -> TokenGroups {
        self.memberships.token_groups()
    }

    /// Records the rejoin token that the client has presented, and the groups that it lists.
    pub(super) fn record_presented_token(&self, token: Option<&str>, groups: &TokenGroups) {
        if let Some(issuer) = &self.token_issuer {
            issuer.record_presented(token, groups);
        }
    }

    /// True if `token` is the last one that was written for the client, or none was.
    pub(super) fn is_current_token(&self, token: Option<&str>) -> bool {
        self.token_issuer.as_ref().is_none_or(|issuer| issuer.is_current(token))
    }

    /// Records that the client learns now of its restored groups, except those that it `claimed` (sorted).
    pub(super) fn record_restored(&mut self, claimed: &[Arc<GroupKey>]) {
        let at = self.handle.outbox.tail();
        self.memberships.record_restored(claimed, at);
    }

    /// Records that the client receives no more messages of this group.
    pub(super) fn record_leave(&mut self, group: &Arc<GroupKey>) {
        let at = self.handle.outbox.tail();
        self.memberships.record_leave(group, at);
    }

    /// Hooks run for these hubs and see this request from now on.
    pub(super) fn set_context(&mut self, context: &RequestContext) {
        (self.hubs, self.request) = (context.hubs.clone(), Arc::clone(&context.request));
    }

    /// Replaces the identity of the client. Its user stays, because other clients know the connection by it.
    pub(super) fn refresh_identity(&mut self, identity: &Identity) {
        self.identity = Arc::new(Identity { user: self.identity.user.clone(), ..identity.clone() });
    }

    /// Records that a channel was attached.
    pub(super) fn record_channel(&mut self, transport: &'static str) {
        self.handle.info.set_transport(transport);
        self.held_until_channel = None;
    }

    /// Counts that the client reconnected. A connection that is new to this process (`is_recreated`) is admitted.
    pub(super) fn count_reconnect(&mut self, is_recreated: bool) {
        self.services.metrics.connections_resumed.increment();
        if is_recreated {
            self.connected_hubs = self.hubs.clone();
            self.count_connected();
        }
    }

    /// Counts the connection as opened, once.
    fn count_connected(&mut self) {
        if !std::mem::replace(&mut self.is_connected, true) {
            self.services.metrics.connections_opened.increment();
            self.services.presence.connected(&self.handle);
            self.log_connected();
        }
    }

    fn send_lease_update(&self, update: LeaseUpdate) {
        let membership = self.services.durable.membership.clone();
        in_background(async move {
            // After a restart the membership actor reads all live connections from the directory.
            let _ = membership.send(update).await;
        });
    }
}

fn names_of(hubs: &[Arc<Hub>]) -> Vec<HubName> {
    hubs.iter().map(|hub| hub.name().clone()).collect()
}

/// Spawns a detached task, unless the runtime of the thread has stopped.
pub(super) fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(arbiter) = Arbiter::try_current() {
        arbiter.spawn(task);
    }
}
