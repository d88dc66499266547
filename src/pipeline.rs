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
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    metrics::Metrics,
    store::{Redemption, Spend, StoreHandle, Verdict},
    tokens::{KeyRing, Purpose},
};

mod rejoin;

pub use rejoin::{Bearer, Claims, Policy, Presenter, Refusal};

/// How many messages may wait for the pipeline. Beyond it, whoever asks waits.
const MAILBOX: usize = 1024;

/// How many families' lists are remembered that were too long for a token. The oldest is forgotten first,
/// and its client is put back into what is stored alone.
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
    pub(crate) metrics: Arc<Metrics>,
}

impl Judge {
    fn open(&self, token: &str) -> Result<Claims, Refusal> {
        Claims::decode(&self.ring.open(Purpose::Rejoin, token)?)
    }

    async fn accept(&self, claims: Claims, presenter: &Presenter) -> Result<Claims, Refusal> {
        claims.check(presenter, SystemTime::now())?;
        self.redeem(&claims).await?;
        Ok(claims)
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

    fn count(&self, verdict: &Result<Claims, Refusal>, connection: &ConnectionId) {
        match verdict {
            Ok(_) => self.metrics.rejoins_accepted.count(),
            Err(refusal) => {
                info!(conn:% = connection, reason:% = refusal; "rejoin token refused");
                refusal.counter(&self.metrics).count();
            }
        }
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

/// See the module's documentation.
pub(crate) struct Pipeline {
    judge: Judge,
    remembered: HashMap<String, Vec<Arc<GroupKey>>>,
    order: VecDeque<String>,
}

impl Pipeline {
    pub(crate) fn new(judge: Judge) -> Self {
        Self { judge, remembered: HashMap::new(), order: VecDeque::new() }
    }

    /// The remembered list of the family that a token without one names; whether the token is good is seen
    /// later.
    fn remembered(&self, claims: &Claims) -> Vec<Arc<GroupKey>> {
        if claims.has_list() {
            return Vec::new();
        }
        self.remembered.get(&claims.family).cloned().unwrap_or_default()
    }
}

impl Actor for Pipeline {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Rejoin> for Pipeline {
    type Result = ResponseFuture<Rejoined>;

    fn handle(&mut self, rejoin: Rejoin, _: &mut Self::Context) -> Self::Result {
        let judge = self.judge.clone();
        let opened = rejoin.token.as_deref().map(|token| judge.open(token));
        let remembered = opened.iter().flatten().flat_map(|claims| self.remembered(claims)).collect();
        Box::pin(async move {
            let (mut claims, mut is_unchecked) = (None, false);
            if let Some(opened) = opened {
                let verdict = match opened {
                    Ok(claims) => judge.accept(claims, &rejoin.presenter).await,
                    Err(refusal) => Err(refusal),
                };
                judge.count(&verdict, &rejoin.connection);
                is_unchecked = verdict == Err(Refusal::Unchecked);
                claims = verdict.ok();
            }
            let claimed = claims.as_ref().map(|claims| claims.groups().unwrap_or(remembered)).unwrap_or_default();
            let mut groups = Vec::new();
            for hub in &rejoin.hubs {
                groups.extend(judge.decide(hub, &claimed, &rejoin).await);
            }
            Rejoined { groups, claims, is_unchecked }
        })
    }
}

impl Handler<Remember> for Pipeline {
    type Result = ();

    fn handle(&mut self, Remember { family, groups }: Remember, _: &mut Self::Context) {
        self.judge.metrics.rejoins_without_list.count();
        if self.remembered.insert(family.clone(), groups).is_none() {
            self.order.push_back(family);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Pipeline);
