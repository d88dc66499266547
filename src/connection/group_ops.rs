//! How a connection joins and leaves groups, on behalf of whoever asks.
//!
//! What is asked of one group is asked one after the other: a join takes its way through the shard, and a leave
//! that is sent at once would overtake it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use log::{info, warn};
use tokio::sync::oneshot;

use super::{Connection, Dialect, Event, memberships::Joining};
use crate::{
    connections::JoinCause,
    group::{Admission, Generation, Joined, Left, Member, MemberSink},
    groups::Error,
    ids::GroupKey,
};

/// How long after a group could not be joined afresh it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) type GroupReply<T> = oneshot::Sender<Result<T, Error>>;

/// What somebody wants of a group.
pub(super) enum GroupOp {
    Join { on_behalf_of: JoinCause, answer: Option<GroupReply<Joined>> },
    Leave(GroupReply<Left>),
}

/// Groups that have been asked for something, and what is to be asked of them next. It holds no more than there
/// are who wait for an answer.
pub(super) type PendingGroupOps = HashMap<Arc<GroupKey>, VecDeque<GroupOp>>;

fn reply<T>(answer: Option<GroupReply<T>>, result: Result<T, Error>) {
    if let Some(answer) = answer {
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }
}

impl<D: Dialect> Connection<D> {
    /// Tells the session which groups its client hears.
    pub(super) fn tell_groups(&mut self, ctx: &mut Context<Self>) {
        if self.restorations == 0 && self.session.wants_tokens() {
            let regrouped = self.state.regrouped();
            self.drive(Event::GroupsChanged(regrouped), ctx);
        }
    }

    /// Asks a group for something, in its turn.
    pub(super) fn ask(&mut self, group: &Arc<GroupKey>, wish: GroupOp, ctx: &mut Context<Self>) {
        if let Some(waiting) = self.turns.get_mut(group) {
            return waiting.push_back(wish);
        }
        self.turns.insert(Arc::clone(group), VecDeque::from([wish]));
        self.take_turns(group, ctx);
    }

    /// Asks a group for what is next, until it has something to answer.
    fn take_turns(&mut self, group: &Arc<GroupKey>, ctx: &mut Context<Self>) {
        while let Some(wish) = self.turns.get_mut(group).and_then(VecDeque::pop_front) {
            let is_asked = match wish {
                // Who joins afresh may have left meanwhile.
                GroupOp::Join { answer: None, .. } if !self.state.memberships.is_adrift(group) => false,
                GroupOp::Join { on_behalf_of, answer } => self.join(group, on_behalf_of, answer, ctx),
                GroupOp::Leave(answer) => {
                    self.leave(group, answer, ctx);
                    true
                }
            };
            if is_asked {
                return;
            }
        }
        self.turns.remove(group);
    }

    /// Asks to be let in; false if that is not to be asked.
    fn join(
        &mut self,
        group: &Arc<GroupKey>,
        on_behalf_of: JoinCause,
        answer: Option<GroupReply<Joined>>,
        ctx: &mut Context<Self>,
    ) -> bool {
        if !self.state.memberships.begin_join(group, on_behalf_of.restores()) {
            reply(answer, Ok(Joined::Already));
            return false;
        }
        let handle = self.state.handle();
        let member = Member { id: handle.id.clone(), reach: MemberSink::Outbox(Arc::clone(&handle.outbox)) };
        let (groups, group) = (self.state.services().groups.clone(), Arc::clone(group));
        let joined = async move {
            let joined = groups.join(&group, member).await;
            (group, joined)
        };
        ctx.spawn(joined.into_actor(self).map(move |(group, joined), this, ctx| {
            if this.state.memberships.end_join(&group, joined.ok()) == Joining::Done {
                this.joined(&group, on_behalf_of, answer, joined, ctx);
            } else if this.join(&group, on_behalf_of, answer, ctx) {
                return;
            }
            this.take_turns(&group, ctx);
        }));
        true
    }

    fn joined(
        &mut self,
        group: &Arc<GroupKey>,
        on_behalf_of: JoinCause,
        answer: Option<GroupReply<Joined>>,
        joined: Result<Admission, Error>,
        ctx: &mut Context<Self>,
    ) {
        match joined {
            Ok(Admission::Member(joined, _)) => {
                let is_news = on_behalf_of.is_durable() && self.state.memberships.make_durable(group);
                let joined = if on_behalf_of.restores() { joined } else { self.hear(group, joined) };
                reply(answer, Ok(joined));
                if joined == Joined::Now || is_news {
                    self.tell_groups(ctx);
                }
            }
            // The sender of the answer is dropped: there is no such connection any more.
            Ok(Admission::Ended) => {}
            Err(error) => {
                reply(answer, Err(error));
                if self.state.memberships.is_adrift(group) {
                    self.try_again_later(Arc::clone(group), ctx);
                }
            }
        }
    }

    fn try_again_later(&self, group: Arc<GroupKey>, ctx: &mut Context<Self>) {
        warn!(conn:% = self.state.handle().id, group:% = group; "a group that died cannot be joined afresh yet");
        ctx.run_later(PAUSE, move |this, ctx| this.join_afresh(&group, ctx));
    }

    /// Makes the channel hear a group that it may have been deaf to; to its client that is a join.
    fn hear(&mut self, group: &Arc<GroupKey>, joined: Joined) -> Joined {
        if joined == Joined::Already && !self.state.memberships.is_muted(group) {
            return joined;
        }
        let outbox = &self.state.handle().outbox;
        // A group that was left while the channel was deaf to it is muted there still, and the memberships have forgotten it.
        outbox.change_view(|view| {
            view.muted.remove(group);
        });
        let at = outbox.tail();
        self.state.memberships.hear(group, at);
        Joined::Now
    }

    fn leave(&mut self, group: &Arc<GroupKey>, answer: GroupReply<Left>, ctx: &mut Context<Self>) {
        let was_heard = !self.state.memberships.is_muted(group);
        self.state.memberships.begin_leave(group);
        let (groups, group, id) =
            (self.state.services().groups.clone(), Arc::clone(group), self.state.handle().id.clone());
        let left = async move {
            let left = groups.leave(&group, &id).await;
            (group, left)
        };
        ctx.spawn(left.into_actor(self).map(move |(group, left), this, ctx| {
            this.state.memberships.end_leave(&group, left.is_ok(), this.restorations > 0);
            if left == Ok(Left::Now) && was_heard {
                this.state.forget(&group);
                reply(Some(answer), left);
                this.tell_groups(ctx);
            } else {
                // To a client that was deaf to it, it was no member.
                reply(Some(answer), left.map(|_| Left::NoMember));
            }
            this.take_turns(&group, ctx);
        }));
    }

    /// A group has died. Whoever it has let in before joins afresh.
    pub(super) fn lost(&mut self, group: &Arc<GroupKey>, generation: Generation, ctx: &mut Context<Self>) {
        if !self.state.has_ended() && self.state.memberships.lose(group, generation) {
            info!(conn:% = self.state.handle().id, group:% = group; "joins a group afresh that died");
            self.join_afresh(group, ctx);
        }
    }

    fn join_afresh(&mut self, group: &Arc<GroupKey>, ctx: &mut Context<Self>) {
        self.ask(group, GroupOp::Join { on_behalf_of: JoinCause::Token, answer: None }, ctx);
    }
}
