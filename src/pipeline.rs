//! Decides which groups a returning client is put back into.
//!
//! Role: validates the rejoin token, lets the hub's policy weigh it against the store, then the modules
//! have their say, each in its turn.
//! Life: one for each process, supervised. Neighbours: connections ask it; it asks the store, and modules,
//! which may be actors of the application.
//! Never: it puts nobody into a group itself, and a bad token is no error to a client: it is counted, and
//! the client starts without those groups.

use std::{future::Future, pin::Pin, sync::Arc};

use actix::prelude::*;
use log::error;

use crate::ids::{ConnectionId, GroupKey, GroupName, HubName, UserId};

mod claims;
mod families;
mod policy;
mod validator;

pub use claims::{Claims, RejoinError, RejoinIdentity, TokenGroups, TokenSubject};
pub(crate) use families::Families;
pub use policy::Policy;
pub(crate) use validator::RejoinValidator;

/// How many messages may wait for the pipeline. Beyond it, whoever asks waits.
const MAILBOX: usize = 1024;

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
    pub(crate) presenter: RejoinIdentity,
    pub(crate) connection: ConnectionId,
    /// The hubs that it is back on.
    pub(crate) hubs: Vec<RejoinHub>,
}

/// One hub of a returning client.
#[derive(Clone, Debug)]
pub(crate) struct RejoinHub {
    pub(crate) name: HubName,
    pub(crate) policy: Policy,
    /// What the store says; if nobody has asked it, which of the groups that the connection is in for good it is in.
    pub(crate) stored: Vec<GroupName>,
}

/// The answer.
#[derive(Debug, Default)]
pub(crate) struct Rejoined {
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The claims of a token that was accepted.
    pub(crate) claims: Option<Claims>,
    /// Nobody can say: the store did not answer whether the token is good, or a module panicked.
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
    pub(crate) groups: TokenGroups,
}

/// See the module's documentation.
pub(crate) struct Pipeline {
    validator: RejoinValidator,
}

impl Pipeline {
    pub(crate) fn new(validator: RejoinValidator) -> Self {
        Self { validator }
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
        let (validator, metrics) = (self.validator.clone(), Arc::clone(&self.validator.metrics));
        // A task of its own: what a module does to it harms no other, and it goes on if this actor dies, so that no
        // token is spent for nothing.
        let judged = actix::spawn(async move { validator.rejoin(rejoin).await });
        Box::pin(async move {
            judged.await.unwrap_or_else(|interrupted| {
                if interrupted.is_panic() {
                    error!(error:% = interrupted; "a module panicked");
                    metrics.hub_panics.count();
                }
                Rejoined { is_unchecked: true, ..Rejoined::default() }
            })
        })
    }
}

impl Handler<Remember> for Pipeline {
    type Result = ();

    fn handle(&mut self, Remember { family, groups }: Remember, _: &mut Self::Context) {
        self.validator.metrics.rejoins_without_list.count();
        self.validator.families.remember(&family, groups);
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Pipeline);
