//! What the handles to the groups and the users of a hub share.

use std::sync::Arc;

use super::{
    presence::Presence,
    requester::Requester,
    services::{DurableGroups, HubServices},
};
use crate::{ids::HubName, router::Router};

/// A hub, the requester of changes in it, and the services that make them.
#[derive(Clone, Debug)]
pub(super) struct HubScope {
    pub(super) hub: HubName,
    pub(super) requester: Requester,
    pub(super) router: Arc<Router>,
    pub(super) durable: Arc<DurableGroups>,
    pub(super) presence: Arc<Presence>,
}

impl HubScope {
    pub(super) fn new(services: &HubServices, hub: &HubName, requester: &Requester) -> Self {
        Self {
            hub: hub.clone(),
            requester: requester.clone(),
            router: Arc::clone(&services.router),
            durable: Arc::clone(&services.durable),
            presence: Arc::clone(&services.presence),
        }
    }
}
