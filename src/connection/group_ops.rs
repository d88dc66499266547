//! Joins and leaves of a connection.
//!
//! Invariant: operations on one group run one after another. A join goes to the group through its shard and a leave
//! goes to it directly, so a leave that is sent before the join has finished would overtake it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{fut::ready, prelude::*};
use futures_util::{
    future::{FutureExt, try_join_all},
    stream::{self, StreamExt},
};
use tokio::sync::oneshot;

use super::{ConnectError, Connection, Dialect, Event, memberships::JoinStep};
use crate::{
    client_log::Cause,
    connections::{JoinCause, LeaveCause},
    group::{Admission, Generation, Joined, Left, Member, MemberSink},
    groups::Error,
    hub::HubError,
    ids::GroupKey,
};

/// The number of groups that a connection joins at a time when its groups are restored.
const MAX_CONCURRENT_JOINS: usize = 16;

/// The error of a client that cannot join one of its groups.
const GROUP_FAILURE: &str = "The server cannot put you into your groups now. Try again in a moment.";

/// The delay before a failed rejoin of a crashed group is retried.
const REJOIN_RETRY_DELAY: Duration = Duration::from_secs(1);

pub(super) type GroupReply<T> = oneshot::Sender<Result<T, Error>>;

/// An operation on a group. A join without `answer` is the rejoin of a crashed group.
pub(super) enum GroupOp {
    Join { cause: JoinCause, answer: Option<GroupReply<Joined>> },
    Leave { cause: LeaveCause, answer: GroupReply<Left> },
}

/// Groups with an operation in progress, and the operations that wait for it. Each waiting operation has a caller that
/// waits for its answer or is a rejoin, so the queues are bounded by them.
pub(super) type PendingGroupOps = HashMap<Arc<GroupKey>, VecDeque<GroupOp>>;

fn reply<T>(answer: Option<GroupReply<T>>, result: Result<T, Error>) {
    if let Some(answer) = answer {
        // The caller may have gone.
        let _ = answer.send(result);
    }
}

/// A group to join, and why.
pub(super) type GroupJoin = (Arc<GroupKey>, JoinCause);

/// Joins the groups that `loaded` returns, and returns its other value.
pub(super) fn join_loaded<D: Dialect, T: 'static>(
    loaded: impl ActorFuture<Connection<D>, Output = Result<(Vec<GroupJoin>, T), ConnectError>>,
) -> impl ActorFuture<Connection<D>, Output = Result<T, ConnectError>> {
    loaded.then(|loaded, this, _| -> ResponseActFuture<Connection<D>, _> {
        match loaded {
            Ok((groups, loaded)) if groups.is_empty() => Box::pin(ready(Ok(loaded))),
            Ok((groups, loaded)) => {
                let slot = this.state.restore_slots().take();
                Box::pin(slot.into_actor(this).then(|slot, this, _| {
                    this.join_all(groups).map(move |joined, _, _| {
                        drop(slot);
                        joined.map(|()| loaded)
                    })
                }))
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    })
}

impl<D: Dialect> Connection<D> {
    /// Joins all these groups. If one fails the client is not admitted, because it would assume that it is a member. A
    /// connection that has ended joins none of them.
    fn join_all(
        &self,
        groups: Vec<GroupJoin>,
    ) -> impl ActorFuture<Self, Output = Result<(), ConnectError>> + 'static + use<D> {
        let batches = stream::iter(groups).chunks(MAX_CONCURRENT_JOINS).into_actor(self);
        batches.fold(Ok(()), |result: Result<(), ConnectError>, mut batch, this, ctx| {
            if result.is_err() || this.state.has_ended() {
                batch.clear();
            }
            let joins: Vec<_> = batch.into_iter().map(|join| this.restore_group(join, ctx)).collect();
            try_join_all(joins).map(|joined| result.and(joined.map(drop))).into_actor(this)
        })
    }

    fn restore_group(
        &mut self,
        (group, cause): GroupJoin,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ConnectError>> + use<D> {
        let (answer, joined) = oneshot::channel();
        self.run_group_op(&group, GroupOp::Join { cause, answer: Some(answer) }, ctx);
        let client = Arc::clone(self.state.handle());
        async move {
            match joined.await {
                Ok(Err(error)) => {
                    client.log(Cause::GroupNotRestored, &[("group", &group), ("error", &error)]);
                    Err(ConnectError { error: HubError::new(GROUP_FAILURE), is_retryable: true })
                }
                // The sender is dropped if the connection has ended.
                Ok(Ok(_)) | Err(_) => Ok(()),
            }
        }
    }

    /// Tells the session that the groups of the client may have changed, unless a restore is in progress or the client
    /// receives no tokens.
    pub(super) fn refresh_groups_token(&mut self, ctx: &mut Context<Self>) {
        if self.restores_in_progress > 0 {
            return;
        }
        let Some(issuer) = &self.state.token_issuer else { return };
        issuer.save_changed_list();
        if issuer.keeps_unchecked() {
            // Clears a token that waits for the next frame.
            return self.send_groups_token(false);
        }
        let are_known = issuer.are_groups_known();
        self.handle_event(Event::GroupsChanged { are_known }, ctx);
    }

    /// The groups of the client have changed. From a change that was requested after its admission on, the client gets
    /// tokens again, although its last one could not be checked.
    fn on_groups_changed(&mut self, is_requested: bool, ctx: &mut Context<Self>) {
        if let Some(issuer) = &self.state.token_issuer
            && is_requested
            && self.state.is_admitted()
        {
            issuer.keep_unchecked(false);
        }
        self.refresh_groups_token(ctx);
    }

    /// Runs a group operation after the earlier ones on the same group.
    pub(super) fn run_group_op(&mut self, group: &Arc<GroupKey>, op: GroupOp, ctx: &mut Context<Self>) {
        if let Some(waiting) = self.pending_ops.get_mut(group) {
            return waiting.push_back(op);
        }
        let group = self.state.services().groups.shared_key(group);
        self.pending_ops.insert(Arc::clone(&group), VecDeque::from([op]));
        self.run_next_group_op(&group, ctx);
    }

    /// Starts the next operation on a group. Operations that need no answer of the group are finished at once.
    fn run_next_group_op(&mut self, group: &Arc<GroupKey>, ctx: &mut Context<Self>) {
        while let Some(op) = self.pending_ops.get_mut(group).and_then(VecDeque::pop_front) {
            let is_started = match op {
                // The connection may have left the crashed group meanwhile.
                GroupOp::Join { answer: None, .. } if !self.state.memberships.needs_rejoin(group) => false,
                GroupOp::Join { cause, answer } => self.join(group, cause, answer, ctx),
                GroupOp::Leave { cause, answer } => self.leave(group, cause, answer, ctx),
            };
            if is_started {
                return;
            }
        }
        self.pending_ops.remove(group);
        if self.pending_ops.is_empty() {
            // An empty map would keep the memory for three groups.
            self.pending_ops = PendingGroupOps::new();
        }
    }

    /// Whether a repair may join the connection to a durable group of its user. A client that is not admitted yet, or
    /// whose groups are being restored, gets its durable groups from the store by itself.
    fn is_missing(&self, group: &Arc<GroupKey>) -> bool {
        self.has_settled_groups()
            && self.state.hubs().iter().any(|hub| *hub.name() == group.hub)
            && self.state.memberships.is_missing(group)
    }

    /// Starts a join. Returns false if there is nothing to wait for: a restore and a repair do not undo a leave.
    fn join(
        &mut self,
        group: &Arc<GroupKey>,
        cause: JoinCause,
        answer: Option<GroupReply<Joined>>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let is_unneeded = cause == JoinCause::Repair && !self.is_missing(group);
        if is_unneeded || !self.state.memberships.begin_join(group, cause.restores()) {
            if cause == JoinCause::Store {
                self.state.memberships.decline(group);
            }
            reply(answer, Ok(Joined::Already));
            return false;
        }
        let handle = self.state.handle();
        let member = Member { id: handle.id.clone(), sink: MemberSink::Outbox(Arc::clone(&handle.outbox)) };
        let (groups, group) = (self.state.services().groups.clone(), Arc::clone(group));
        let joined = async move {
            let joined = groups.join(&group, member).await;
            (group, joined)
        };
        ctx.spawn(joined.into_actor(self).map(move |(group, joined), this, ctx| {
            if this.state.memberships.end_join(&group, joined.ok()) == JoinStep::Done {
                this.on_joined(&group, cause, answer, joined, ctx);
            } else if this.join(&group, cause, answer, ctx) {
                return;
            }
            this.run_next_group_op(&group, ctx);
        }));
        true
    }

    fn on_joined(
        &mut self,
        group: &Arc<GroupKey>,
        cause: JoinCause,
        answer: Option<GroupReply<Joined>>,
        joined: Result<Admission, Error>,
        ctx: &mut Context<Self>,
    ) {
        match joined {
            Ok(Admission::Member(joined, _)) => {
                let is_newly_durable = cause.is_durable() && self.state.memberships.make_durable(group);
                let keeps_filter = cause.restores() || (cause == JoinCause::Repair && joined == Joined::Already);
                let joined = if keeps_filter { joined } else { self.receive_from(group, joined) };
                reply(answer, Ok(joined));
                if joined == Joined::Now || is_newly_durable {
                    self.on_groups_changed(cause == JoinCause::Caller, ctx);
                }
            }
            // The connection has ended: the sender of the answer is dropped.
            Ok(Admission::Ended) => {}
            Err(error) => {
                reply(answer, Err(error));
                if self.state.memberships.needs_rejoin(group) {
                    self.schedule_rejoin(Arc::clone(group), ctx);
                }
            }
        }
    }

    fn schedule_rejoin(&self, group: Arc<GroupKey>, ctx: &mut Context<Self>) {
        self.state.handle().log(Cause::GroupNotRejoined, &[("group", &group)]);
        ctx.run_later(REJOIN_RETRY_DELAY, move |this, ctx| this.rejoin_crashed_group(&group, ctx));
    }

    /// Makes the channel receive messages of a group that may have been filtered out. To the client this is a join.
    fn receive_from(&mut self, group: &Arc<GroupKey>, joined: Joined) -> Joined {
        if joined == Joined::Already && !self.state.memberships.is_filtered(group) {
            return joined;
        }
        let outbox = &self.state.handle().outbox;
        // The filter of the channel also lists groups that were left while they were filtered out. The memberships no
        // longer do.
        outbox.update_filter(|view| {
            view.filtered_groups.remove(group);
        });
        let at = outbox.tail();
        self.state.memberships.receive_from(group, at);
        Joined::Now
    }

    /// Starts a leave. Returns false if there is nothing to wait for: a repair only ends memberships that are durable.
    fn leave(
        &mut self,
        group: &Arc<GroupKey>,
        cause: LeaveCause,
        answer: GroupReply<Left>,
        ctx: &mut Context<Self>,
    ) -> bool {
        if cause == LeaveCause::Repair && !self.state.memberships.end_durable(group) {
            reply(Some(answer), Ok(Left::NotMember));
            return false;
        }
        let was_received = !self.state.memberships.is_filtered(group);
        self.state.memberships.begin_leave(group, cause);
        let (groups, group, id) =
            (self.state.services().groups.clone(), Arc::clone(group), self.state.handle().id.clone());
        let left = async move {
            let left = groups.leave(&group, &id).await;
            (group, left)
        };
        ctx.spawn(left.into_actor(self).map(move |(group, left), this, ctx| {
            this.state.memberships.end_leave(&group, cause, left.is_ok(), this.restores_in_progress > 0);
            if left == Ok(Left::Now) && was_received {
                this.state.record_leave(&group);
                reply(Some(answer), left);
                this.on_groups_changed(cause == LeaveCause::Caller, ctx);
            } else {
                // To a client that received nothing from the group, it was no member.
                reply(Some(answer), left.map(|_| Left::NotMember));
            }
            this.run_next_group_op(&group, ctx);
        }));
        true
    }

    /// Rejoins a crashed group if the connection was a member.
    pub(super) fn on_group_crashed(&mut self, group: &Arc<GroupKey>, generation: Generation, ctx: &mut Context<Self>) {
        if !self.state.has_ended() && self.state.memberships.record_crash(group, generation) {
            self.state.handle().log(Cause::GroupRejoined, &[("group", group)]);
            self.rejoin_crashed_group(group, ctx);
        }
    }

    fn rejoin_crashed_group(&mut self, group: &Arc<GroupKey>, ctx: &mut Context<Self>) {
        self.run_group_op(group, GroupOp::Join { cause: JoinCause::Token, answer: None }, ctx);
    }
}
