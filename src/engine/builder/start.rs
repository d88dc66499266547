//! Starts the supervised actors of an engine.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;

use crate::{
    connection::{RejoinService, RejoinSettings, RestoreSlots, StoredLists},
    connections::Connections,
    hub::{reconciler::Reconciler, services::HubServices},
    ids::NodeId,
    membership::{LostUsers, Membership, MembershipConfig, NodeClaim, Reports},
    metrics::Metrics,
    pipeline::{Pipeline, Redemptions, RejoinValidator},
    store::{Node, Process, StoreParts},
    supervised::Supervised,
    tokens::SharedKeyRing,
};

/// The term of the node's lease in the store: the connections of a dead process expire after it.
const LEASE_TERM: Duration = Duration::from_secs(30);

pub(super) fn start_rejoin_service(
    arbiter: &ArbiterHandle,
    ring: SharedKeyRing,
    node: NodeId,
    settings: RejoinSettings,
    services: &Arc<HubServices>,
) -> Arc<RejoinService> {
    let validator = RejoinValidator {
        node,
        ring: ring.clone(),
        redemptions: Redemptions::new(services.durable.store.clone(), Arc::clone(&services.metrics)),
        hubs: services.hubs.clone().into(),
        connections: services.connections.clone(),
        metrics: Arc::clone(&services.metrics),
    };
    let pipeline = Supervised::start("pipeline", arbiter, move || Pipeline::new(validator.clone()));
    let restore_slots = RestoreSlots::default();
    let lists = StoredLists::new(services.durable.store.clone(), Arc::clone(&services.metrics));
    Arc::new(RejoinService { ring, pipeline, settings, lists, services: Arc::clone(services), restore_slots })
}

/// The arguments of [`start_membership`].
pub(super) struct MembershipOptions {
    pub(super) store: StoreParts,
    pub(super) node: NodeId,
    pub(super) process: Process,
    pub(super) deadline: Duration,
    pub(super) token_lifetime: Duration,
    pub(super) connections: Connections,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) fn start_membership(
    arbiter: &ArbiterHandle,
    options: MembershipOptions,
) -> (Supervised<Membership>, NodeClaim, LostUsers) {
    let (reports, node_name, lost_users) = Reports::new();
    let membership = Supervised::start("membership", arbiter, move || {
        let MembershipOptions { store, node, process, deadline, token_lifetime, connections, metrics } = &options;
        // Each actor gets a new incarnation: a crashed one can have lost ends of connections, and the renewal deletes
        // the rows of earlier incarnations.
        let node = Node { id: node.clone(), incarnation: crate::ids::secret(), process: process.clone() };
        let (deadline, token_lifetime) = (*deadline, *token_lifetime);
        let config = MembershipConfig { node, deadline, lease: LEASE_TERM, token_lifetime };
        Membership::new(store.clone(), config, connections.clone(), Arc::clone(metrics), reports.clone())
    });
    (membership.clone(), NodeClaim::new(membership, node_name), lost_users)
}

pub(super) fn start_reconciler(
    arbiter: &ArbiterHandle,
    services: &Arc<HubServices>,
    interval: Option<Duration>,
) -> Supervised<Reconciler> {
    let services = Arc::clone(services);
    Supervised::start("reconciler", arbiter, move || Reconciler::new(Arc::clone(&services), interval))
}
