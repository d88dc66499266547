//! Decides which groups a returning client is put back into.
//!
//! Role: validates the rejoin token, lets the hub's policy weigh it against the store, then the modules
//! have their say, each in its turn.
//! Life: one for each process, supervised. Neighbours: connections ask it; it asks the store, and modules,
//! which may be actors of the application.
//! Never: it puts nobody into a group itself, and a bad token is no error to a client: it is counted, and
//! the client starts without those groups.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::SystemTime,
};

use actix::prelude::*;
use log::info;

use crate::{
    connections::Connections,
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    metrics::Metrics,
    store::{Redemption, Spend, StoreHandle, Verdict},
    tokens::{KeyRing, Purpose},
};

mod policy;
mod rejoin;

pub use policy::Policy;
pub use rejoin::{Bearer, Claims, Presenter, Refusal};

/// How many messages may wait for the pipeline. Beyond it, whoever asks waits.
const MAILBOX: usize = 1024;

/// Of how many families something is remembered: a list that was too long for a token, who has spent one last. The
/// oldest is forgotten first; its client is put back into what is stored alone.
const REMEMBERED: usize = 10_000;

/// A module's chance to change which groups a client rejoins. Add modules with
/// [`EngineBuilder::module`](crate::EngineBuilder::module); they run in that order, each on the answer of
/// the one before.
pub trait Module: Send + Sync + 'static {
    /// Answers the groups of `rejoining.hub` that the client is put back into. It is asked once for each
    /// hub at each reconnection, also when the list is empty, and while it thinks the client waits.
    fn rejoining(&self, rejoining: Rejoining) -> impl Future<Output = Vec<GroupName>> + Send;
}

/// [`Module`] as an object.
pub(crate) trait DynModule: Send + Sync {
    fn rejoining(&self, rejoining: Rejoining) -> Pin<Box<dyn Future<Output = Vec<GroupName>> + Send + '_>>;
}

impl<M: Module> DynModule for M {
    fn rejoining(&self, rejoining: Rejoining) -> Pin<Box<dyn Future<Output = Vec<GroupName>> + Send + '_>> {
        Box::pin(Module::rejoining(self, rejoining))
    }
}

/// A client is about to be put back into its groups. An actor that handles this message can be a module:
/// pass its recipient.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<GroupName>")]
pub struct Rejoining {
    /// The hub.
    pub hub: HubName,
    /// The connection that returns, or that continues one.
    pub connection: ConnectionId,
    /// Its user.
    pub user: Option<UserId>,
    /// The groups so far.
    pub groups: Vec<GroupName>,
}

/// An actor that has died leaves the list as it is.
impl Module for Recipient<Rejoining> {
    async fn rejoining(&self, rejoining: Rejoining) -> Vec<GroupName> {
        self.send(rejoining.clone()).await.unwrap_or(rejoining.groups)
    }
}

/// A question: which groups does this client rejoin?
#[derive(Clone, Debug, Message)]
#[rtype(result = "Rejoined")]
pub(crate) struct Rejoin {
    /// What the client brought.
    pub(crate) token: Option<String>,
    pub(crate) presenter: Presenter,
    pub(crate) connection: ConnectionId,
    /// The hubs that it is back on.
    pub(crate) hubs: Vec<RejoinHub>,
}

/// One hub of a returning client.
#[derive(Clone, Debug)]
pub(crate) struct RejoinHub {
    pub(crate) name: HubName,
    pub(crate) policy: Policy,
    /// What the store says, if the policy asks it.
    pub(crate) stored: Vec<GroupName>,
}

/// The answer.
#[derive(Debug, Default)]
pub(crate) struct Rejoined {
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The claims of a token that was accepted.
    pub(crate) claims: Option<Claims>,
    /// The store could not say whether the token is good.
    pub(crate) is_unchecked: bool,
}

impl<A: Actor> actix::dev::MessageResponse<A, Rejoin> for Rejoined {
    fn handle(self, _: &mut A::Context, answer: Option<actix::dev::OneshotSender<Self>>) {
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(self);
        }
    }
}

/// A note: the tokens of this family are too short to list its groups.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Remember {
    pub(crate) family: String,
    pub(crate) groups: Vec<Arc<GroupKey>>,
}

/// What the pipeline needs to judge.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) store: StoreHandle,
    pub(crate) modules: Arc<[Box<dyn DynModule>]>,
    pub(crate) connections: Connections,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a token is worth. What a refused one claims is known, too, if it could be read.
struct Judgement {
    claims: Option<Claims>,
    refusal: Option<Refusal>,
}

impl Judge {
    fn open(&self, token: &str) -> Result<Claims, Refusal> {
        Claims::decode(&self.ring.open(Purpose::Rejoin, token)?)
    }

    async fn judge(&self, opened: Result<Claims, Refusal>, presenter: &Presenter) -> Judgement {
        match opened {
            Ok(claims) => Judgement { refusal: self.check(&claims, presenter).await.err(), claims: Some(claims) },
            Err(refusal) => Judgement { claims: None, refusal: Some(refusal) },
        }
    }

    async fn check(&self, claims: &Claims, presenter: &Presenter) -> Result<(), Refusal> {
        claims.check(presenter, SystemTime::now())?;
        self.redeem(claims).await
    }

    async fn redeem(&self, claims: &Claims) -> Result<(), Refusal> {
        let once = (claims.epoch > 0).then(|| Spend {
            family: claims.family.clone(),
            epoch: claims.epoch,
            expires: claims.expires(),
        });
        let redemption = Redemption { user: claims.user.clone(), issued: claims.issued(), once };
        match self.store.ask(|store| store.redeem(&redemption)).await {
            Ok(Verdict::Accepted) => Ok(()),
            Ok(Verdict::Replayed) => Err(Refusal::Replayed),
            Ok(Verdict::Revoked) => Err(Refusal::Revoked),
            Err(_) => Err(Refusal::Unchecked),
        }
    }

    fn count(&self, refusal: Option<Refusal>, connection: &ConnectionId) {
        match refusal {
            None => self.metrics.rejoins_accepted.count(),
            Some(refusal) => {
                info!(conn:% = connection, reason:% = refusal; "rejoin token refused");
                refusal.counter(&self.metrics).count();
            }
        }
    }

    /// The groups on all hubs of the client that follow from the groups that it claims.
    async fn decide_all(&self, claimed: &[Arc<GroupKey>], rejoin: &Rejoin) -> Vec<Arc<GroupKey>> {
        let mut groups = Vec::new();
        for hub in &rejoin.hubs {
            groups.extend(self.decide(hub, claimed, rejoin).await);
        }
        groups
    }

    async fn decide(&self, hub: &RejoinHub, claimed: &[Arc<GroupKey>], rejoin: &Rejoin) -> Vec<Arc<GroupKey>> {
        let token: Vec<_> = claimed.iter().filter(|key| key.hub == hub.name).map(|key| key.name.clone()).collect();
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

/// What is known of families, the latest of them.
struct Recent<T> {
    of: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn put(&mut self, family: &str, known: T) {
        if self.of.insert(family.to_owned(), known).is_none() {
            self.order.push_back(family.to_owned());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

/// See the module's documentation.
pub(crate) struct Pipeline {
    judge: Judge,
    /// The groups of families whose lists are too long for a token.
    lists: Recent<Vec<Arc<GroupKey>>>,
    /// The epoch that was spent last, and by which connection.
    spent: Recent<(u64, ConnectionId)>,
}

impl Pipeline {
    pub(crate) fn new(judge: Judge) -> Self {
        Self { judge, lists: Recent::default(), spent: Recent::default() }
    }

    /// The groups that a token claims; of one without a list those that are remembered.
    fn claimed(&self, claims: &Claims) -> Vec<Arc<GroupKey>> {
        claims.groups().or_else(|| self.lists.of.get(&claims.family).cloned()).unwrap_or_default()
    }

    /// Takes note of who has spent a token. A connection may break before the next token has reached its client, which
    /// then has none but the one that is spent: it is good once more, if that connection has ended, and no later token
    /// of the family was spent.
    fn reconsider(&mut self, judgement: &mut Judgement, connection: &ConnectionId) {
        let Some(claims) = judgement.claims.as_ref().filter(|claims| claims.epoch > 0) else { return };
        if judgement.refusal == Some(Refusal::Replayed) {
            let spender = self.spent.of.get(&claims.family).filter(|(epoch, _)| *epoch == claims.epoch);
            let is_free = spender.is_some_and(|(_, spender)| self.judge.connections.find(spender).is_none());
            judgement.refusal = judgement.refusal.filter(|_| !is_free);
        }
        if judgement.refusal.is_none() {
            self.spent.put(&claims.family, (claims.epoch, connection.clone()));
        }
    }
}

impl Actor for Pipeline {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Rejoin> for Pipeline {
    type Result = ResponseActFuture<Self, Rejoined>;

    fn handle(&mut self, mut rejoin: Rejoin, _: &mut Self::Context) -> Self::Result {
        let judge = self.judge.clone();
        let judged = async move {
            let judgement = match rejoin.token.take() {
                Some(token) => Some(judge.judge(judge.open(&token), &rejoin.presenter).await),
                None => None,
            };
            (judgement, rejoin)
        };
        Box::pin(judged.into_actor(self).then(|(judgement, rejoin), this, _| {
            let (claims, is_unchecked) = this.accept(judgement, &rejoin.connection);
            let claimed = claims.as_ref().map(|claims| this.claimed(claims)).unwrap_or_default();
            let judge = this.judge.clone();
            async move { Rejoined { groups: judge.decide_all(&claimed, &rejoin).await, claims, is_unchecked } }
                .into_actor(this)
        }))
    }
}

impl Pipeline {
    /// The claims that are accepted, and whether the store could not say.
    fn accept(&mut self, judgement: Option<Judgement>, connection: &ConnectionId) -> (Option<Claims>, bool) {
        let Some(mut judgement) = judgement else { return (None, false) };
        self.reconsider(&mut judgement, connection);
        let Judgement { claims, refusal } = judgement;
        self.judge.count(refusal, connection);
        (claims.filter(|_| refusal.is_none()), refusal == Some(Refusal::Unchecked))
    }
}

impl Handler<Remember> for Pipeline {
    type Result = ();

    fn handle(&mut self, Remember { family, groups }: Remember, _: &mut Self::Context) {
        self.judge.metrics.rejoins_without_list.count();
        self.lists.put(&family, groups);
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Pipeline);
