//! The groups that a client is restored into when it connects or reconnects, and the settings for this.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;

use super::{ConnectError, RestoreSlots, StoredLists, group_ops::GroupJoin};
use crate::{
    client_log::Cause,
    connections::{ConnectionHandle, JoinCause},
    hub::{HubError, Requester, Users, services::HubServices},
    ids::{GroupKey, GroupName, HubName},
    pipeline::{
        Claims, Losses, Pipeline, Policy, Rejoin, RejoinHub, RejoinIdentity, RejoinReport, Rejoined, TokenGroups,
        open_claims,
    },
    store::Owner,
    supervised::Supervised,
    tokens::SharedKeyRing,
};

/// The error of a client whose groups cannot be loaded.
const STORE_FAILURE: &str = "The server cannot look up your groups now. Try again in a moment.";

/// Loads the groups that clients are restored into. The pipeline validates their rejoin tokens; the key ring seals new
/// ones.
#[derive(Debug)]
pub(crate) struct RejoinService {
    pub(crate) ring: SharedKeyRing,
    pub(crate) pipeline: Supervised<Pipeline>,
    pub(crate) settings: RejoinSettings,
    /// Saves the lists of groups that are too long for a token.
    pub(crate) lists: StoredLists,
    /// Loads the durable groups.
    pub(crate) services: Arc<HubServices>,
    pub(crate) restore_slots: RestoreSlots,
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
    /// The client is admitted without its durable groups and those of its rejoin token, which it keeps. A connection that
    /// has not ended keeps the durable groups that it is in.
    Continue,
}

impl RejoinSettings {
    pub(crate) fn policy_of(&self, hub: &HubName) -> Policy {
        self.policies.iter().find(|(name, _)| name == hub).map_or(self.policy, |(_, policy)| *policy)
    }
}

/// The request to restore the groups of a client that reconnected.
pub(crate) struct RejoinRequest {
    /// The token that the client presented.
    pub(crate) token: Option<String>,
    /// Whether to join the durable groups too: the connection is new to this process, or the client starts again.
    pub(crate) joins_durable: bool,
    /// The durable groups that the connection is in.
    pub(crate) durable: Vec<Arc<GroupKey>>,
    /// The groups that the client receives messages from, unless the connection is new to this process.
    pub(crate) current: Option<TokenGroups>,
    /// Applies the membership changes that the client cannot know of yet.
    pub(crate) adjust: Box<GroupAdjustment>,
}

/// Adjusts a list of groups.
pub(crate) type GroupAdjustment = dyn FnOnce(Vec<Arc<GroupKey>>) -> Vec<Arc<GroupKey>>;

/// The outcome of a [`RejoinRequest`].
pub(crate) struct RejoinOutcome {
    /// The groups that the client receives messages from.
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The outcome of the token; `None` if the client presented none.
    pub(crate) token: Option<TokenOutcome>,
}

/// The outcome of a rejoin token.
pub(crate) struct TokenOutcome {
    /// Its claims, if it was accepted.
    pub(crate) claims: Option<Claims>,
    /// It could be neither accepted nor refused. The client keeps it.
    pub(crate) is_unchecked: bool,
    /// The report to the client.
    pub(crate) report: RejoinReport,
}

/// The durable groups of a user, by hub.
type DurableGroups = Vec<(HubName, Vec<GroupName>)>;

fn keys_of(durable: &DurableGroups) -> impl Iterator<Item = Arc<GroupKey>> {
    durable.iter().flat_map(|(hub, names)| names.iter().map(|name| GroupKey::new(hub, name)))
}

fn by_hub(hubs: &[HubName], groups: &[Arc<GroupKey>]) -> DurableGroups {
    let of = |hub: &HubName| groups.iter().filter(|key| key.hub == *hub).map(|key| key.name.clone()).collect();
    hubs.iter().map(|hub| (hub.clone(), of(hub))).collect()
}

fn store_failure() -> ConnectError {
    ConnectError { error: HubError::new(STORE_FAILURE), is_retryable: true }
}

impl RejoinService {
    /// Loads the durable groups and those of the rejoin token. Returns the outcome of the token too.
    pub(super) async fn groups_to_restore(
        self: Arc<Self>,
        client: Arc<ConnectionHandle>,
        hubs: Vec<HubName>,
        rejoin_token: Option<String>,
    ) -> Result<(Vec<GroupJoin>, Option<TokenOutcome>), ConnectError> {
        let durable = self.all_durable_groups(&client, &hubs, &[]).await?;
        let stored = keys_of(&durable).map(|group| (group, JoinCause::Store));
        let Some(token) = rejoin_token else { return Ok((stored.collect(), None)) };
        let rejoined = self.rejoin(&client, Some(token), None, None, self.hubs_of(&client, &durable, &[])).await?;
        let all: BTreeSet<_> = rejoined.groups.iter().cloned().chain(keys_of(&durable)).collect();
        let report =
            RejoinReport::new(&hubs, all.iter().cloned(), self.losses(&rejoined, &hubs, |group| all.contains(group)));
        let is_unchecked = rejoined.is_unchecked();
        let claimed = rejoined.groups.into_iter().map(|group| (group, JoinCause::Token));
        Ok((claimed.chain(stored).collect(), Some(TokenOutcome { claims: rejoined.claims, is_unchecked, report })))
    }

    /// Asks the pipeline which groups a client rejoins on its current hubs.
    pub(super) async fn groups_to_rejoin(
        self: Arc<Self>,
        client: Arc<ConnectionHandle>,
        hubs: Vec<HubName>,
        request: RejoinRequest,
    ) -> Result<(Vec<GroupJoin>, RejoinOutcome), ConnectError> {
        let settings = &self.settings;
        let asks_store = request.joins_durable || hubs.iter().any(|hub| settings.policy_of(hub).asks_store());
        let durable = if asks_store {
            self.all_durable_groups(&client, &hubs, &request.durable).await?
        } else {
            by_hub(&hubs, &request.durable)
        };
        let (connection, has_token) = (Some(client.id.to_string()), request.token.is_some());
        let rejoin_hubs = self.hubs_of(&client, &durable, &request.durable);
        let mut rejoined = self.rejoin(&client, request.token, connection, request.current, rejoin_hubs).await?;
        let durable: HashSet<_> = keys_of(&durable).collect();
        let mut groups = std::mem::take(&mut rejoined.groups);
        if request.joins_durable {
            groups.extend(durable.iter().cloned());
        }
        let groups = (request.adjust)(groups);
        let cause_of =
            |group: &Arc<GroupKey>| if durable.contains(group) { JoinCause::Store } else { JoinCause::Token };
        let joins = groups.iter().map(|group| (Arc::clone(group), cause_of(group))).collect();
        let token = has_token.then(|| {
            let all: HashSet<_> = groups.iter().collect();
            let losses = self.losses(&rejoined, &hubs, |group| all.contains(group));
            let report = RejoinReport::new(&hubs, groups.iter().cloned(), losses);
            TokenOutcome { is_unchecked: rejoined.is_unchecked(), claims: rejoined.claims, report }
        });
        Ok((joins, RejoinOutcome { groups, token }))
    }

    /// The losses of a client with a token on these hubs. `is_in` tells whether it is in a group for another reason.
    fn losses(&self, rejoined: &Rejoined, hubs: &[HubName], is_in: impl Fn(&Arc<GroupKey>) -> bool) -> Losses {
        let revoked = rejoined.revoked.iter().filter(|group| hubs.contains(&group.hub) && !is_in(group)).count();
        self.services.metrics.rejoin_groups_unlisted.add(rejoined.lost as u64);
        self.services.metrics.rejoin_groups_revoked.add(revoked as u64);
        Losses { refusal: rejoined.refusal, unlisted: rejoined.lost, revoked }
    }

    /// Loads the durable groups of a client. `current` are those that its connection is in.
    async fn all_durable_groups(
        &self,
        client: &ConnectionHandle,
        hubs: &[HubName],
        current: &[Arc<GroupKey>],
    ) -> Result<DurableGroups, ConnectError> {
        let load = async |(hub, current): (HubName, Vec<GroupName>)| {
            let groups = self.durable_groups(client, &hub, current).await?;
            Ok((hub, groups))
        };
        try_join_all(by_hub(hubs, current).into_iter().map(load)).await
    }

    async fn durable_groups(
        &self,
        client: &ConnectionHandle,
        hub: &HubName,
        current: Vec<GroupName>,
    ) -> Result<Vec<GroupName>, ConnectError> {
        let Some(user) = client.user.clone() else { return Ok(Vec::new()) };
        let owner = Owner { hub: hub.clone(), user };
        match self.services.durable.groups_of(&owner).await {
            Ok(groups) => Ok(groups),
            Err(error) => {
                client.log(Cause::GroupsNotLoaded, &[("hub", hub), ("error", &error)]);
                match self.settings.on_store_failure {
                    OnStoreFailure::Continue => Ok(current),
                    OnStoreFailure::Refuse => Err(store_failure()),
                }
            }
        }
    }

    /// The hubs that a client reconnects to. `current` are the durable groups that its connection is in.
    fn hubs_of(
        &self,
        client: &Arc<ConnectionHandle>,
        durable: &DurableGroups,
        current: &[Arc<GroupKey>],
    ) -> Vec<RejoinHub> {
        let requester = Requester::Caller(Arc::clone(client));
        let names: Vec<_> = durable.iter().map(|(name, _)| name.clone()).collect();
        let hub = |(stored, (name, current)): (&Vec<GroupName>, (HubName, Vec<GroupName>))| RejoinHub {
            policy: self.settings.policy_of(&name),
            kept: Policy::Intersection.decide(&current, stored),
            stored: stored.clone(),
            users: Users::new(&self.services, &name, &requester),
            name,
        };
        durable.iter().map(|(_, stored)| stored).zip(by_hub(&names, current)).map(hub).collect()
    }

    /// Saves the list that completes a token, if its client has returned before that was done.
    async fn save_list_of(&self, token: &str) {
        if self.lists.are_saved() {
            return;
        }
        // A token that is not valid is refused later.
        if let Ok(claims) = open_claims(&self.ring, token)
            && claims.omitted() > 0
        {
            self.lists.flush_family(&claims.family).await;
        }
    }

    /// Asks the pipeline which groups the client rejoins.
    async fn rejoin(
        &self,
        client: &ConnectionHandle,
        token: Option<String>,
        connection: Option<String>,
        current: Option<TokenGroups>,
        hubs: Vec<RejoinHub>,
    ) -> Result<Rejoined, ConnectError> {
        if let Some(token) = token.as_deref().filter(|_| current.is_none()) {
            self.save_list_of(token).await;
        }
        let identity = RejoinIdentity { connection, user: client.user.clone(), hub: client.hub.clone() };
        let rejoin = Rejoin { token, identity, connection: client.id.clone(), current, hubs };
        let rejoined = match &rejoin.identity.connection {
            // A token that is bound to its connection may be presented more than once.
            Some(_) => self.pipeline.send(rejoin).await.map_err(|_| store_failure())?,
            // Any other token may be used up when the pipeline crashes: it must not be presented twice.
            None => {
                let rejoined = self.pipeline.send_once(rejoin).await;
                rejoined.unwrap_or_else(|_| Rejoined::unchecked())
            }
        };
        match self.settings.on_store_failure {
            OnStoreFailure::Refuse if rejoined.is_unchecked() => Err(store_failure()),
            OnStoreFailure::Refuse | OnStoreFailure::Continue => Ok(rejoined),
        }
    }
}
