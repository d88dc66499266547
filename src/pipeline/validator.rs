//! Validates rejoin tokens and decides which groups their clients rejoin.

use std::{sync::Arc, time::SystemTime};

use super::{Claims, DynModule, Families, Rejoin, RejoinError, RejoinHub, Rejoined, Rejoining, TokenGroups};
use crate::{
    client_log::{self, Cause, optional},
    connections::Connections,
    ids::{ConnectionId, GroupKey, NodeId},
    metrics::Metrics,
    store::{Holder, Redemption, StoreHandle, TokenUse, Verdict},
    tokens::{KeyRing, Purpose},
};

/// The services that validation needs.
#[derive(Clone)]
pub(crate) struct RejoinValidator {
    /// The node of this process.
    pub(crate) node: NodeId,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) store: StoreHandle,
    pub(crate) modules: Arc<[Box<dyn DynModule>]>,
    pub(crate) connections: Connections,
    pub(crate) families: Families,
    pub(crate) metrics: Arc<Metrics>,
}

impl RejoinValidator {
    /// Decides which groups a reconnecting client rejoins.
    pub(super) async fn rejoin(&self, mut rejoin: Rejoin) -> Rejoined {
        let (claims, is_unchecked) = match rejoin.token.take() {
            Some(token) => self.accept(&token, &rejoin).await,
            None => (None, false),
        };
        let claimed = claims.as_ref().map(|claims| self.claimed_groups(claims)).unwrap_or_default();
        Rejoined { groups: self.decide_all(&claimed, &rejoin).await, claims, is_unchecked }
    }

    /// The claims of the token if it is accepted, and whether the store did not answer.
    async fn accept(&self, token: &str, rejoin: &Rejoin) -> (Option<Claims>, bool) {
        let accepted = self.validate(token, rejoin).await;
        self.count_outcome(accepted.as_ref().err().copied(), rejoin);
        let is_unchecked = matches!(accepted, Err(RejoinError::Unchecked));
        (accepted.ok(), is_unchecked)
    }

    /// The groups that a token claims. For a token without a list these are the groups that are kept for its family.
    fn claimed_groups(&self, claims: &Claims) -> TokenGroups {
        claims.groups().or_else(|| self.families.groups_of(&claims.family)).unwrap_or_default()
    }

    fn open(&self, token: &str) -> Result<Claims, RejoinError> {
        Claims::decode(&self.ring.open(Purpose::Rejoin, token)?)
    }

    async fn validate(&self, token: &str, rejoin: &Rejoin) -> Result<Claims, RejoinError> {
        let claims = self.open(token)?;
        claims.check(&rejoin.identity, SystemTime::now())?;
        self.redeem(&claims, &rejoin.connection).await?;
        Ok(claims)
    }

    /// Uses the token. A connection can break before the next token has reached its client, which then has only the
    /// used token. The store therefore accepts it again if the connection that holds it has ended.
    async fn redeem(&self, claims: &Claims, connection: &ConnectionId) -> Result<(), RejoinError> {
        let mut redemption = self.redemption(claims, connection);
        let mut verdict = self.store.call(|store| store.redeem(&redemption)).await;
        if let (Ok(Verdict::InUse(holder)), Some(token_use)) = (&verdict, &mut redemption.single_use)
            && self.has_ended(holder)
        {
            token_use.ended = Some(holder.clone());
            verdict = self.store.call(|store| store.redeem(&redemption)).await;
        }
        match verdict {
            Ok(Verdict::Accepted) => Ok(()),
            Ok(Verdict::Replayed | Verdict::InUse(_)) => Err(RejoinError::Replayed),
            Ok(Verdict::Revoked) => Err(RejoinError::Revoked),
            Err(_) => Err(RejoinError::Unchecked),
        }
    }

    fn redemption(&self, claims: &Claims, connection: &ConnectionId) -> Redemption {
        let single_use = (claims.epoch > 0).then(|| TokenUse {
            family: claims.family.clone(),
            epoch: claims.epoch,
            expires_at: claims.expires(),
            holder: Holder { connection: connection.clone(), node: self.node.clone() },
            ended: None,
        });
        Redemption { user: claims.user.clone(), issued_at: claims.issued(), single_use }
    }

    /// True if this process knows that the connection has ended: it was on this node, in this run or an earlier one.
    /// The store learns the end of a connection a moment later.
    fn has_ended(&self, holder: &Holder) -> bool {
        holder.node == self.node && self.connections.find(&holder.connection).is_none()
    }

    fn count_outcome(&self, refusal: Option<RejoinError>, rejoin: &Rejoin) {
        match refusal {
            None => self.metrics.rejoins_accepted.increment(),
            Some(refusal) => {
                self.log_refusal(refusal, rejoin);
                refusal.counter(&self.metrics).increment();
            }
        }
    }

    fn log_refusal(&self, refusal: RejoinError, Rejoin { connection, identity, .. }: &Rejoin) {
        let address = self.connections.find(connection).and_then(|handle| handle.info.remote);
        let (user, address) = (optional(identity.user.as_ref()), optional(address));
        let hub = optional(identity.hub.as_ref());
        client_log::log(
            Cause::RejoinTokenRefused,
            &[("conn", connection), ("user", &user), ("address", &address), ("hub", &hub), ("reason", &refusal)],
        );
    }

    /// Decides the groups on all hubs of the client from the groups that its token claims.
    async fn decide_all(&self, claimed: &TokenGroups, rejoin: &Rejoin) -> Vec<Arc<GroupKey>> {
        let mut groups = Vec::new();
        for hub in &rejoin.hubs {
            groups.extend(self.decide(hub, claimed, rejoin).await);
        }
        groups
    }

    async fn decide(&self, hub: &RejoinHub, claimed: &TokenGroups, rejoin: &Rejoin) -> Vec<Arc<GroupKey>> {
        let token = claimed.of_hub(&hub.name, &hub.stored);
        let mut groups = hub.policy.decide(&token, &hub.stored);
        for module in self.modules.iter() {
            let rejoining = Rejoining {
                hub: hub.name.clone(),
                connection: rejoin.connection.clone(),
                user: rejoin.identity.user.clone(),
                groups,
            };
            groups = module.rejoining(rejoining).await;
        }
        groups.iter().map(|name| GroupKey::new(&hub.name, name)).collect()
    }
}
