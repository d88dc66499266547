//! Validates rejoin tokens and decides which groups their clients rejoin.

use std::{sync::Arc, time::SystemTime};

use log::info;

use super::{
    Claims, DynModule, Families, Rejoin, RejoinError, RejoinHub, RejoinIdentity, Rejoined, Rejoining, TokenGroups,
};
use crate::{
    connections::Connections,
    ids::{ConnectionId, GroupKey},
    metrics::Metrics,
    store::{Redemption, StoreHandle, TokenUse, Verdict},
    tokens::{KeyRing, Purpose},
};

/// The services that validation needs.
#[derive(Clone)]
pub(crate) struct RejoinValidator {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) store: StoreHandle,
    pub(crate) modules: Arc<[Box<dyn DynModule>]>,
    pub(crate) connections: Connections,
    pub(crate) families: Families,
    pub(crate) metrics: Arc<Metrics>,
}

/// The outcome of validating a token. The claims of a refused token are present if it could be decoded.
struct Validation {
    claims: Option<Claims>,
    refusal: Option<RejoinError>,
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
        let mut validation = self.validate(self.open(token), &rejoin.identity).await;
        self.record_or_transfer_use(&mut validation, &rejoin.connection);
        let Validation { claims, refusal } = validation;
        self.count_outcome(refusal, &rejoin.connection);
        (claims.filter(|_| refusal.is_none()), refusal == Some(RejoinError::Unchecked))
    }

    /// The groups that a token claims. For a token without a list these are the groups that are kept for its family.
    fn claimed_groups(&self, claims: &Claims) -> TokenGroups {
        claims.groups().or_else(|| self.families.groups_of(&claims.family)).unwrap_or_default()
    }

    /// Records which connection has used a token. A connection can break before the next token has reached its client,
    /// which then has only the used token. That token is therefore accepted again if the connection that used it has
    /// ended and no later token of the family was used.
    fn record_or_transfer_use(&self, validation: &mut Validation, connection: &ConnectionId) {
        let Some(claims) = validation.claims.as_ref().filter(|claims| claims.epoch > 0) else { return };
        match validation.refusal {
            None => self.families.record_use(claims, connection),
            Some(RejoinError::Replayed) => {
                let has_ended = |previous: &ConnectionId| self.connections.find(previous).is_none();
                let is_transferred = self.families.transfer_use(claims, connection, has_ended);
                validation.refusal = validation.refusal.filter(|_| !is_transferred);
            }
            Some(_) => {}
        }
    }

    fn open(&self, token: &str) -> Result<Claims, RejoinError> {
        Claims::decode(&self.ring.open(Purpose::Rejoin, token)?)
    }

    async fn validate(&self, opened: Result<Claims, RejoinError>, identity: &RejoinIdentity) -> Validation {
        match opened {
            Ok(claims) => Validation { refusal: self.check(&claims, identity).await.err(), claims: Some(claims) },
            Err(refusal) => Validation { claims: None, refusal: Some(refusal) },
        }
    }

    async fn check(&self, claims: &Claims, identity: &RejoinIdentity) -> Result<(), RejoinError> {
        claims.check(identity, SystemTime::now())?;
        self.redeem(claims).await
    }

    async fn redeem(&self, claims: &Claims) -> Result<(), RejoinError> {
        let single_use = (claims.epoch > 0).then(|| TokenUse {
            family: claims.family.clone(),
            epoch: claims.epoch,
            expires_at: claims.expires(),
        });
        let redemption = Redemption { user: claims.user.clone(), issued_at: claims.issued(), single_use };
        match self.store.call(|store| store.redeem(&redemption)).await {
            Ok(Verdict::Accepted) => Ok(()),
            Ok(Verdict::Replayed) => Err(RejoinError::Replayed),
            Ok(Verdict::Revoked) => Err(RejoinError::Revoked),
            Err(_) => Err(RejoinError::Unchecked),
        }
    }

    fn count_outcome(&self, refusal: Option<RejoinError>, connection: &ConnectionId) {
        match refusal {
            None => self.metrics.rejoins_accepted.increment(),
            Some(refusal) => {
                info!(conn:% = connection, reason:% = refusal; "rejoin token refused");
                refusal.counter(&self.metrics).increment();
            }
        }
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
