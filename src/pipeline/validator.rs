//! Validates rejoin tokens and decides which groups their clients rejoin.

use std::{collections::HashSet, fmt::Display, sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{Claims, Policy, Redemptions, Rejoin, RejoinError, RejoinHub, Rejoined, TokenGroups};
use crate::{
    client_log::{self, Cause, optional},
    connections::Connections,
    hub::{
        Hub,
        filters::{EventKind, RejoiningGroups},
    },
    ids::{ConnectionId, GroupKey, GroupName, NodeId},
    metrics::Metrics,
    store::{Holder, Redeemed, Redemption, TokenUse, Verdict},
    tokens::{Purpose, SharedKeyRing},
};

/// The services that validation needs.
#[derive(Clone)]
pub(crate) struct RejoinValidator {
    /// The node of this process.
    pub(crate) node: NodeId,
    pub(crate) ring: SharedKeyRing,
    pub(crate) redemptions: Redemptions,
    /// The hubs, whose filters can change the groups.
    pub(crate) hubs: Arc<[Arc<Hub>]>,
    pub(crate) connections: Connections,
    pub(crate) metrics: Arc<Metrics>,
}

/// A token that was accepted.
struct Accepted {
    claims: Claims,
    /// The groups that the token restores, including the revoked ones.
    claimed: TokenGroups,
    /// The number of groups that it could not list.
    lost: usize,
    /// The groups whose tokens are revoked.
    revoked: Vec<Arc<GroupKey>>,
}

impl RejoinValidator {
    /// Decides which groups a reconnecting client rejoins.
    pub(super) async fn rejoin(&self, mut rejoin: Rejoin) -> Rejoined {
        let Some(token) = rejoin.token.take() else {
            return self.decide_all(&TokenGroups::default(), &rejoin, Rejoined::default()).await;
        };
        match self.accept(&token, &mut rejoin).await {
            Ok(accepted) => self.rejoin_claimed(accepted, rejoin).await,
            Err(refusal) => {
                let refused = Rejoined { refusal: Some(refusal), ..Rejoined::default() };
                self.decide_all(&TokenGroups::default(), &rejoin, refused).await
            }
        }
    }

    /// Decides from the groups of an accepted token.
    async fn rejoin_claimed(&self, accepted: Accepted, rejoin: Rejoin) -> Rejoined {
        let Accepted { claims, mut claimed, lost, revoked } = accepted;
        if lost > 0 {
            self.log(Cause::RejoinTokenIncomplete, &format_args!("{lost} groups lost"), &rejoin);
            self.metrics.rejoins_incomplete.increment();
        }
        if !revoked.is_empty() {
            let revoked: HashSet<_> = revoked.iter().collect();
            claimed.joined.retain(|group| !revoked.contains(group));
        }
        let accepted = Rejoined { claims: Some(claims), lost, revoked, ..Rejoined::default() };
        self.decide_all(&claimed, &rejoin, accepted).await
    }

    /// Validates the token and counts the outcome.
    async fn accept(&self, token: &str, rejoin: &mut Rejoin) -> Result<Accepted, RejoinError> {
        let accepted = self.validate(token, rejoin).await;
        self.count_outcome(accepted.as_ref().err().copied(), rejoin);
        accepted
    }

    async fn validate(&self, token: &str, rejoin: &mut Rejoin) -> Result<Accepted, RejoinError> {
        let claims = open_claims(&self.ring, token)?;
        claims.check(&rejoin.identity, SystemTime::now())?;
        // A connection that still lives knows groups that its token lacks.
        let current = rejoin.current.take().filter(|_| !claims.is_complete());
        let needs_list = current.is_none() && claims.omitted() > 0;
        let claimed = current.unwrap_or_else(|| claims.groups());
        let redemption = Redemption {
            list_of: needs_list.then(|| claims.family.clone()),
            ..self.redemption(&claims, &claimed, &rejoin.connection)
        };
        let Redeemed { revoked_groups: revoked, list, .. } = self.redeem(redemption).await?;
        let (claimed, lost) = match list {
            Some(list) => {
                self.metrics.rejoin_lists_restored.increment();
                let lost = usize::try_from(list.omitted).unwrap_or(usize::MAX);
                (claims.groups_with(list), lost)
            }
            None => (claimed, if needs_list { claims.omitted() } else { 0 }),
        };
        Ok(Accepted { claims, claimed, lost, revoked })
    }

    /// Uses the token. Returns the answer of the store if it is accepted.
    ///
    /// A connection can break before the next token has reached its client, which then has only the used token. The store
    /// therefore accepts it again if the client of the connection that holds it has gone. Meanwhile another connection can
    /// have taken it over, whose client has gone, too. A connection whose own client has gone leaves the token to the next.
    async fn redeem(&self, mut redemption: Redemption) -> Result<Redeemed, RejoinError> {
        // A limit of the starts, because a call that is given up can have used the token.
        let last_start = Instant::now() + self.redemptions.time_limit();
        loop {
            let own = redemption.single_use.as_ref().map(|token_use| &token_use.holder);
            if own.is_some_and(|own| self.has_gone(own)) || Instant::now() > last_start {
                return Err(RejoinError::Unchecked);
            }
            let redeemed = self.redemptions.redeem(redemption.clone()).await.map_err(|_| RejoinError::Unchecked)?;
            match (&redeemed.verdict, &mut redemption.single_use) {
                (Verdict::Accepted, _) => return Ok(redeemed),
                (Verdict::Revoked, _) => return Err(RejoinError::Revoked),
                (Verdict::InUse(holder), Some(token_use))
                    if token_use.ended.as_ref() != Some(holder) && self.has_gone(holder) =>
                {
                    token_use.ended = Some(holder.clone());
                }
                (Verdict::Replayed | Verdict::InUse(_), _) => return Err(RejoinError::Replayed),
            }
        }
    }

    fn redemption(&self, claims: &Claims, claimed: &TokenGroups, connection: &ConnectionId) -> Redemption {
        let single_use = (claims.epoch > 0).then(|| TokenUse {
            family: claims.family.clone(),
            epoch: claims.epoch,
            expires_at: claims.expires(),
            holder: Holder { connection: connection.clone(), node: self.node.clone() },
            ended: None,
        });
        let groups = claimed.joined.clone();
        Redemption { user: claims.user.clone(), issued_at: claims.issued(), groups, list_of: None, single_use }
    }

    /// True if this process knows that the client of the connection has gone: it was on this node, in this run or an
    /// earlier one. The store learns the end of a connection a moment later.
    fn has_gone(&self, holder: &Holder) -> bool {
        holder.node == self.node && self.is_lost(&holder.connection)
    }

    /// True if a connection of this node has ended, or its client has gone.
    fn is_lost(&self, connection: &ConnectionId) -> bool {
        self.connections.find(connection).is_none_or(|handle| handle.has_gone())
    }

    fn count_outcome(&self, refusal: Option<RejoinError>, rejoin: &Rejoin) {
        match refusal {
            None => self.metrics.rejoins_accepted.increment(),
            // The store is not to blame, and the token is presented again.
            Some(RejoinError::Unchecked) if self.is_lost(&rejoin.connection) => {}
            Some(refusal) => {
                self.log(Cause::RejoinTokenRefused, &refusal, rejoin);
                refusal.counter(&self.metrics).increment();
            }
        }
    }

    fn log(&self, cause: Cause, reason: &dyn Display, Rejoin { connection, identity, .. }: &Rejoin) {
        let address = self.connections.find(connection).and_then(|handle| handle.info.remote);
        let (user, address) = (optional(identity.user.as_ref()), optional(address));
        let hub = optional(identity.hub.as_ref());
        client_log::log(
            cause,
            &[("conn", connection), ("user", &user), ("address", &address), ("hub", &hub), ("reason", reason)],
        );
    }

    /// Adds the groups on all hubs of the client, decided from the groups that its token claims.
    async fn decide_all(&self, claimed: &TokenGroups, rejoin: &Rejoin, mut rejoined: Rejoined) -> Rejoined {
        for hub in &rejoin.hubs {
            let token = claimed.of_hub(&hub.name, &hub.stored);
            let groups = Policy::Union.decide(&hub.policy.decide(&token, &hub.stored), &hub.kept);
            match self.filter(hub, rejoin, groups).await {
                Some(groups) => rejoined.groups.extend(groups.iter().map(|name| GroupKey::new(&hub.name, name))),
                None => return Rejoined::unchecked(),
            }
        }
        rejoined
    }

    /// Passes the groups of a hub through its filters. `None` if a filter failed: the decision is incomplete.
    async fn filter(&self, hub: &RejoinHub, rejoin: &Rejoin, groups: Vec<GroupName>) -> Option<Vec<GroupName>> {
        let registered = self.hubs.iter().find(|registered| *registered.name() == hub.name);
        let Some(chain) = registered.and_then(|hub| hub.chain(EventKind::RejoiningGroups)) else {
            return Some(groups);
        };
        let rejoining = RejoiningGroups {
            hub: hub.name.clone(),
            connection: rejoin.connection.clone(),
            user: rejoin.identity.user.clone(),
            groups,
            users: hub.users.clone(),
        };
        match chain.decide(rejoining).await {
            Ok(rejoining) => Some(rejoining.groups),
            Err(stopped) => stopped.is_refusal.then(Vec::new),
        }
    }
}

/// The claims of a token that a key of the ring has signed. They are not checked.
pub(crate) fn open_claims(ring: &SharedKeyRing, token: &str) -> Result<Claims, RejoinError> {
    Claims::decode(&ring.current().open(Purpose::Rejoin, token)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{
        connections::ConnectionHandle,
        hub::{
            services::HubServices,
            tests::{Stub, register, services_with},
        },
        ids::UserId,
        store::{Error, GroupList, StoreParts, TokenStore, memory::MemoryStore},
        tokens::KeyRing,
    };

    struct TestNode {
        services: Arc<HubServices>,
        validator: RejoinValidator,
    }

    impl TestNode {
        fn new(store: StoreParts) -> Self {
            let services = services_with(store, Vec::new());
            let validator = RejoinValidator {
                node: "alpha".into(),
                ring: SharedKeyRing::new(KeyRing::ephemeral()),
                redemptions: Redemptions::new(services.durable.store.clone(), Arc::default()),
                hubs: Arc::new([]),
                connections: services.connections.clone(),
                metrics: Arc::default(),
            };
            Self { services, validator }
        }

        fn connect(&self, id: &str) -> Arc<ConnectionHandle> {
            register(&self.services, "chat", id, None, Stub::default())
        }

        async fn redeem(&self, connection: &ConnectionHandle) -> Result<Redeemed, RejoinError> {
            self.validator.redeem(token_use(&connection.id)).await
        }

        /// Redeems the token, and then loses the client.
        async fn redeem_and_go(&self, connection: &ConnectionHandle) -> Result<Redeemed, RejoinError> {
            let redeemed = self.redeem(connection).await;
            connection.ended().cancel();
            redeemed
        }
    }

    fn memory() -> StoreParts {
        StoreParts::of(Arc::new(MemoryStore::default()))
    }

    /// The use of one token by this connection.
    fn token_use(connection: &ConnectionId) -> Redemption {
        let issued_at = SystemTime::now();
        let holder = Holder { connection: connection.clone(), node: "alpha".into() };
        let expires_at = issued_at + Duration::from_secs(60);
        let single_use = Some(TokenUse { family: "family".into(), epoch: 1, expires_at, holder, ended: None });
        Redemption { user: None, issued_at, groups: Vec::new(), list_of: None, single_use }
    }

    #[actix::test]
    async fn token_is_taken_over_from_each_gone_connection() {
        let node = TestNode::new(memory());
        let (first, second, third) = (node.connect("first"), node.connect("second"), node.connect("third"));
        assert!(node.redeem_and_go(&first).await.is_ok());
        let (second, third) = join(node.redeem_and_go(&second), node.redeem(&third)).await;
        assert!(second.is_ok() && third.is_ok(), "{second:?} {third:?}");
    }

    #[actix::test]
    async fn connection_of_a_gone_client_takes_no_token() {
        let node = TestNode::new(memory());
        let (first, gone) = (node.connect("first"), node.connect("gone"));
        assert!(node.redeem_and_go(&first).await.is_ok());
        gone.ended().cancel();
        assert_eq!(node.redeem(&gone).await, Err(RejoinError::Unchecked));
    }

    /// A store in which another connection has taken the token over at each call.
    struct ContestedStore;

    impl TokenStore for ContestedStore {
        async fn redeem_all(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, Error> {
            sleep(Duration::from_secs(1)).await;
            let in_use = || Verdict::InUse(Holder { connection: ConnectionId::random(), node: "alpha".into() });
            Ok(redemptions.iter().map(|_| Redeemed::refused(in_use())).collect())
        }

        async fn revoke(&self, _: &UserId, _: SystemTime) -> Result<(), Error> {
            Ok(())
        }

        async fn revoke_group(&self, _: &GroupKey, _: SystemTime) -> Result<(), Error> {
            Ok(())
        }

        async fn save_lists(&self, _: &[GroupList]) -> Result<u64, Error> {
            Ok(0)
        }

        async fn release_holders(&self, _: &NodeId, _: &[ConnectionId]) -> Result<(), Error> {
            Ok(())
        }

        async fn delete_expired(&self, _: SystemTime, _: Duration, _: Duration) -> Result<(), Error> {
            Ok(())
        }
    }

    #[actix::test]
    async fn contested_token_is_given_up_in_time() {
        tokio::time::pause();
        let node = TestNode::new(StoreParts { tokens: Arc::new(ContestedStore), ..memory() });
        let client = node.connect("client");
        let redeemed = timeout(Duration::from_secs(10), node.redeem(&client)).await;
        assert_eq!(redeemed.expect("two calls of five seconds"), Err(RejoinError::Unchecked));
    }
}
