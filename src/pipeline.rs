//! Decides which groups a reconnecting client rejoins.
//!
//! The pipeline validates the rejoin token, applies the hub's [`Policy`] to the groups of the token and of the store,
//! and passes the result through the filters of the hub ([`crate::filters`]). There is one supervised `Pipeline` actor
//! per process. Connections ask it; it asks the store and the filters, which may be actors of the application. It has no
//! state that its restart could lose: used and revoked tokens are in the store, redemptions on their way to it outlive
//! the actor, and the modes and figures of filters are shared with the engine.
//!
//! The pipeline does not join groups itself. An invalid token is not an error for the client: it is counted, and the
//! client starts without the groups of the token.

use std::sync::Arc;

use crate::{
    client_log::{self, Cause},
    hub::Users,
    ids::{ConnectionId, GroupKey, GroupName, HubName},
};
use actix::prelude::*;

mod claims;
mod policy;
mod redemptions;
mod refusal;
mod report;
mod validator;

pub(crate) use claims::{Claims, GroupLists, ListKind, ListsSummary, RejoinIdentity, TokenGroups, TokenSubject};
pub use policy::Policy;
pub(crate) use redemptions::Redemptions;
pub(crate) use refusal::RejoinError;
pub(crate) use report::{Losses, REJOINED_METHOD, RejoinReport};
pub(crate) use validator::{RejoinValidator, open_claims};

/// The maximum number of messages in the pipeline's mailbox. Beyond it senders wait.
const MAILBOX_CAPACITY: usize = 1024;

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
    /// Those of `stored` that the connection is in, if it still lives. It stays in them under every policy.
    pub(crate) kept: Vec<GroupName>,
    /// The users of the hub, for its filters.
    pub(crate) users: Users,
}

/// The decision.
#[derive(Debug, Default)]
pub(crate) struct Rejoined {
    pub(crate) groups: Vec<Arc<GroupKey>>,
    /// The claims of the token, if it was accepted.
    pub(crate) claims: Option<Claims>,
    /// The reason for which the token was refused. [`RejoinError::Unchecked`] also if a filter failed: the decision is
    /// incomplete.
    pub(crate) refusal: Option<RejoinError>,
    /// The number of groups that the token could not list and that are therefore lost.
    pub(crate) lost: usize,
    /// The groups that the token did not restore, because the tokens of the group are revoked.
    pub(crate) revoked: Vec<Arc<GroupKey>>,
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
        // Each rejoin runs in a separate task. A panic in it does not affect other rejoins, and the task
        // continues if this actor crashes, so that no token is used up without effect.
        let rejoined = actix::spawn(async move { validator.rejoin(rejoin).await });
        Box::pin(async move {
            rejoined.await.unwrap_or_else(|interrupted| {
                if interrupted.is_panic() {
                    client_log::log(Cause::RejoinPanic, &[("error", &interrupted)]);
                    metrics.hub_panics.increment();
                }
                Rejoined::unchecked()
            })
        })
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Pipeline);
