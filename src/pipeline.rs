//! Decides which groups a reconnecting client rejoins.
//!
//! The pipeline validates the rejoin token, applies the hub's [`Policy`] to the groups of the token and of the store,
//! and passes the result through the modules in order. There is one supervised `Pipeline` actor per process.
//! Connections ask it; it asks the store and the modules, which may be actors of the application.
//!
//! The pipeline does not join groups itself. An invalid token is not an error for the client: it is counted, and the
//! client starts without the groups of the token.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    client_log::{self, Cause},
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
};
use actix::prelude::*;

mod claims;
mod policy;
mod refusal;
mod report;
mod validator;

pub(crate) use claims::{Claims, GroupLists, ListKind, ListsSummary, RejoinIdentity, TokenGroups, TokenSubject};
pub use policy::Policy;
pub(crate) use refusal::RejoinError;
pub(crate) use report::{REJOINED_METHOD, RejoinReport};
pub(crate) use validator::RejoinValidator;

/// The maximum number of messages in the pipeline's mailbox. Beyond it senders wait.
const MAILBOX_CAPACITY: usize = 1024;

/// A module can change which groups a client rejoins. Add modules with
/// [`EngineBuilder::module`](crate::EngineBuilder::module). They run in the order in which they were added, each on the
/// result of the previous one.
///
/// ```
/// use hubcast::{GroupName, pipeline::{Module, Rejoining}};
///
/// struct LeaveVault;
///
/// impl Module for LeaveVault {
///     async fn rejoining(&self, Rejoining { mut groups, .. }: Rejoining) -> Vec<GroupName> {
///         groups.retain(|group| **group != *"vault");
///         groups
///     }
/// }
/// ```
pub trait Module: Send + Sync + 'static {
    /// Returns the groups of `rejoining.hub` that the client rejoins. It is called once for each hub at each reconnect,
    /// even if the list is empty. The client waits for the result.
    fn rejoining(&self, rejoining: Rejoining) -> impl Future<Output = Vec<GroupName>> + Send;
}

/// The dyn-compatible form of [`Module`].
pub(crate) trait DynModule: Send + Sync {
    fn rejoining(&self, rejoining: Rejoining) -> Pin<Box<dyn Future<Output = Vec<GroupName>> + Send + '_>>;
}

impl<M: Module> DynModule for M {
    fn rejoining(&self, rejoining: Rejoining) -> Pin<Box<dyn Future<Output = Vec<GroupName>> + Send + '_>> {
        Box::pin(Module::rejoining(self, rejoining))
    }
}

/// A client is about to rejoin its groups. An actor that handles this message can be a module: pass its recipient to
/// [`EngineBuilder::module`](crate::EngineBuilder::module).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<GroupName>")]
pub struct Rejoining {
    /// The hub whose groups are decided.
    pub hub: HubName,
    /// The connection that reconnects, or that continues an earlier connection.
    pub connection: ConnectionId,
    /// The user of the connection.
    pub user: Option<UserId>,
    /// The groups that policy and earlier modules have selected.
    pub groups: Vec<GroupName>,
}

/// If the actor has stopped, the groups stay unchanged.
impl Module for Recipient<Rejoining> {
    async fn rejoining(&self, rejoining: Rejoining) -> Vec<GroupName> {
        self.send(rejoining.clone()).await.unwrap_or(rejoining.groups)
    }
}

/// Asks which groups a client rejoins.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Rejoined")]
pub(crate) struct Rejoin {
    /// The rejoin token that the client presents.
    pub(crate) token: Option<String>,
    pub(crate) identity: RejoinIdentity,
    pub(crate) connection: ConnectionId,
    /// The groups that the client receives messages from, if its connection still lives. They replace those of a token
    /// that could not list all groups.
    pub(crate) current: Option<TokenGroups>,
    /// The hubs that the client reconnects to.
    pub(crate) hubs: Vec<RejoinHub>,
}

/// One hub of a reconnecting client.
#[derive(Clone, Debug)]
pub(crate) struct RejoinHub {
    pub(crate) name: HubName,
    pub(crate) policy: Policy,
    /// The user's durable groups according to the store. If the store was not asked: the durable groups that the
    /// connection is in.
    pub(crate) stored: Vec<GroupName>,
}

/// The decision.
#[derive(Debug, Default)]
pub(crate) struct Rejoined {
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The claims of the token, if it was accepted.
    pub(crate) claims: Option<Claims>,
    /// The reason for which the token was refused. [`RejoinError::Unchecked`] also if a module panicked: the decision
    /// is incomplete.
    pub(crate) refusal: Option<RejoinError>,
    /// The number of groups that the token could not list and that are therefore lost.
    pub(crate) lost: usize,
}

impl Rejoined {
    /// The decision could not be made.
    pub(crate) fn unchecked() -> Self {
        Self { refusal: Some(RejoinError::Unchecked), ..Self::default() }
    }

    /// True if the decision is incomplete.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.refusal == Some(RejoinError::Unchecked)
    }
}

impl<A: Actor> actix::dev::MessageResponse<A, Rejoin> for Rejoined {
    fn handle(self, _: &mut A::Context, reply: Option<actix::dev::OneshotSender<Self>>) {
        if let Some(reply) = reply {
            // Sending fails if the sender no longer waits.
            let _ = reply.send(self);
        }
    }
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
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
    }
}

impl Handler<Rejoin> for Pipeline {
    type Result = ResponseFuture<Rejoined>;

    fn handle(&mut self, rejoin: Rejoin, _: &mut Self::Context) -> Self::Result {
        let (validator, metrics) = (self.validator.clone(), Arc::clone(&self.validator.metrics));
        // Each rejoin runs in a separate task. A panic in a module does not affect other rejoins, and the task
        // continues if this actor crashes, so that no token is used up without effect.
        let rejoined = actix::spawn(async move { validator.rejoin(rejoin).await });
        Box::pin(async move {
            rejoined.await.unwrap_or_else(|interrupted| {
                if interrupted.is_panic() {
                    client_log::log(Cause::ModulePanic, &[("error", &interrupted)]);
                    metrics.hub_panics.increment();
                }
                Rejoined::unchecked()
            })
        })
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Pipeline);
