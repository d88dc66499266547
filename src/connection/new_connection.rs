//! The arguments of a new connection, and the settings of how clients rejoin their groups.

use std::{sync::Arc, time::Duration};

use crate::{
    hub::{Hub, Identity, Request, services::HubServices},
    ids::{ConnectionId, HubName},
    outbox::Outbox,
    pipeline::{Pipeline, Policy, TokenSubject},
    supervised::Supervised,
    tokens::KeyRing,
};

/// The arguments of a new connection.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) id: ConnectionId,
    pub(crate) dialect: &'static str,
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
}

/// Issues rejoin tokens, and has them validated by the pipeline.
#[derive(Debug)]
pub(crate) struct RejoinService {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) pipeline: Supervised<Pipeline>,
    pub(crate) settings: RejoinSettings,
}

/// The settings for clients that rejoin their groups.
#[derive(Clone, Debug)]
pub struct RejoinSettings {
    /// The policy that decides which groups a client rejoins. Default: the token.
    pub policy: Policy,
    /// Policies of hubs that differ from `policy`.
    pub policies: Vec<(HubName, Policy)>,
    /// The lifetime of a token. Default: one day. A connected client receives a new token at half of the lifetime,
    /// so at least half of it remains when a classic client is disconnected.
    pub lifetime: Duration,
    /// The treatment of a client that connects while the store does not answer. Default: it is refused.
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

/// The treatment of a client that connects while the store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// The client is refused and may try again. A connected client is never missing from one of its groups.
    #[default]
    Refuse,
    /// The client is admitted without its durable groups.
    Continue,
}

impl RejoinSettings {
    pub(crate) fn policy_of(&self, hub: &HubName) -> Policy {
        self.policies.iter().find(|(name, _)| name == hub).map_or(self.policy, |(_, policy)| *policy)
    }
}
