//! What a connection begins with, and how its kind is put back into groups.

use std::{sync::Arc, time::Duration};

use crate::{
    hub::{Hub, Identity, Request, services::HubServices},
    ids::{ConnectionId, HubName},
    outbox::Outbox,
    pipeline::{Pipeline, Policy, TokenSubject},
    supervised::Supervised,
    tokens::KeyRing,
};

/// Everything that makes a connection what it is.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) id: ConnectionId,
    pub(crate) dialect: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) hubs: Vec<Arc<Hub>>,
    /// True if it has one hub for good, and false if each channel says which it listens to.
    pub(crate) has_one_hub: bool,
    pub(crate) identity: Arc<Identity>,
    pub(crate) request: Arc<Request>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) services: Arc<HubServices>,
    pub(crate) rejoin_service: Arc<RejoinService>,
    /// The rejoin token that the client has brought, if this is how its dialect rejoins.
    pub(crate) claim: Option<String>,
    /// Whose tokens it gets.
    pub(crate) bearer: TokenSubject,
}

/// Where tokens are made and judged.
#[derive(Debug)]
pub(crate) struct RejoinService {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) pipeline: Supervised<Pipeline>,
    pub(crate) settings: RejoinSettings,
}

/// How clients are put back into their groups, and what happens when nobody knows which those are.
#[derive(Clone, Debug)]
pub struct RejoinSettings {
    /// Who decides. Default: the token.
    pub policy: Policy,
    /// Policies of hubs that differ.
    pub policies: Vec<(HubName, Policy)>,
    /// For how long a token is accepted. Default one day; a client that stays is given a new one at half of it, so
    /// that half of it has to last while a classic client is away.
    pub lifetime: Duration,
    /// What happens to a client that comes while the store does not answer. Default: it is refused.
    pub on_store_failure: OnStoreFailure,
}

impl Default for RejoinSettings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            policies: Vec::new(),
            lifetime: Duration::from_secs(24 * 60 * 60),
            on_store_failure: OnStoreFailure::default(),
        }
    }
}

/// What happens to a client that comes while the store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// It is refused, and may try again: it never is in fewer groups than it should be.
    #[default]
    Refuse,
    /// It is let in without its durable groups.
    Continue,
}

impl RejoinSettings {
    pub(crate) fn policy_of(&self, hub: &HubName) -> Policy {
        self.policies.iter().find(|(name, _)| name == hub).map_or(self.policy, |(_, policy)| *policy)
    }
}
