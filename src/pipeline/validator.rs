//! What a token is worth, and what follows from it for a client.

use std::{sync::Arc, time::SystemTime};

use log::info;

use super::{
    Claims, DynModule, Families, Rejoin, RejoinError, RejoinHub, RejoinIdentity, Rejoined, Rejoining, TokenGroups,
};
use crate::{
    connections::Connections,
    ids::{ConnectionId, GroupKey},
    metrics::Metrics,
    store::{Redemption, Spend, StoreHandle, Verdict},
    tokens::{KeyRing, Purpose},
};

/// What the pipeline needs to judge.
#[derive(Clone)]
pub(crate) struct RejoinValidator {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) store: StoreHandle,
    pub(crate) modules: Arc<[Box<dyn DynModule>]>,
    pub(crate) connections: Connections,
    pub(crate) families: Families,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a token is worth. What a refused one claims is known, too, if it could be read.
struct Validation {
    claims: Option<Claims>,
    refusal: Option<RejoinError>,
}

impl RejoinValidator {
    /// The groups that a returning client is put back into.
    pub(super) async fn rejoin(&self, mut rejoin: Rejoin) -> Rejoined {
        let (claims, is_unchecked) = match rejoin.token.take() {
            Some(token) => self.accept(&token, &rejoin).await,
            None => (None, false),
        };
        let claimed = claims.as_ref().map(|claims| self.claimed(claims)).unwrap_or_default();
        Rejoined { groups: self.decide_all(&claimed, &rejoin).await, claims, is_unchecked }
    }

    /// The claims of a token that is accepted, and whether the store could not say.
    async fn accept(&self, token: &str, rejoin: &Rejoin) -> (Option<Claims>, bool) {
        let mut validation = self.validator(self.open(token), &rejoin.presenter).await;
        self.reconsider(&mut validation, &rejoin.connection);
        let Validation { claims, refusal } = validation;
        self.count(refusal, &rejoin.connection);
        (claims.filter(|_| refusal.is_none()), refusal == Some(RejoinError::Unchecked))
    }

    /// The groups that a token claims; of one without a list those that are remembered.
    fn claimed(&self, claims: &Claims) -> TokenGroups {
        claims.groups().or_else(|| self.families.list_of(&claims.family)).unwrap_or_default()
    }

    /// Takes note of who has spent a token. A connection may break before the next token has reached its client, which
    /// then has none but the one that is spent: it is good once more, if that connection has ended, and no later token
    /// of the family was spent.
    fn reconsider(&self, validation: &mut Validation, connection: &ConnectionId) {
        let Some(claims) = validation.claims.as_ref().filter(|claims| claims.epoch > 0) else { return };
        match validation.refusal {
            None => self.families.spend(claims, connection),
            Some(RejoinError::Replayed) => {
                let has_ended = |spender: &ConnectionId| self.connections.find(spender).is_none();
                let is_free = self.families.spend_again(claims, connection, has_ended);
                validation.refusal = validation.refusal.filter(|_| !is_free);
            }
            Some(_) => {}
        }
    }

    fn open(&self, token: &str) -> Result<Claims, RejoinError> {
        Claims::decode(&self.ring.open(Purpose::Rejoin, token)?)
    }

    async fn validator(&self, opened: Result<Claims, RejoinError>, presenter: &RejoinIdentity) -> Validation {
        match opened {
            Ok(claims) => Validation { refusal: self.check(&claims, presenter).await.err(), claims: Some(claims) },
            Err(refusal) => Validation { claims: None, refusal: Some(refusal) },
        }
    }

    async fn check(&self, claims: &Claims, presenter: &RejoinIdentity) -> Result<(), RejoinError> {
        claims.check(presenter, SystemTime::now())?;
        self.redeem(claims).await
    }

    async fn redeem(&self, claims: &Claims) -> Result<(), RejoinError> {
        let once = (claims.epoch > 0).then(|| Spend {
            family: claims.family.clone(),
            epoch: claims.epoch,
            expires: claims.expires(),
        });
        let redemption = Redemption { user: claims.user.clone(), issued: claims.issued(), once };
        match self.store.ask(|store| store.redeem(&redemption)).await {
            Ok(Verdict::Accepted) => Ok(()),
            Ok(Verdict::Replayed) => Err(RejoinError::Replayed),
            Ok(Verdict::Revoked) => Err(RejoinError::Revoked),
            Err(_) => Err(RejoinError::Unchecked),
        }
    }

    fn count(&self, refusal: Option<RejoinError>, connection: &ConnectionId) {
        match refusal {
            None => self.metrics.rejoins_accepted.count(),
            Some(refusal) => {
                info!(conn:% = connection, reason:% = refusal; "rejoin token refused");
                refusal.counter(&self.metrics).count();
            }
        }
    }

    /// The groups on all hubs of the client that follow from the groups that it claims.
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
                user: rejoin.presenter.user.clone(),
                groups,
            };
            groups = module.rejoining(rejoining).await;
        }
        groups.iter().map(|name| GroupKey::new(&hub.name, name)).collect()
    }
}
