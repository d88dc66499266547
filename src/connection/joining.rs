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
    connections::OnBehalfOf,
    group::{Admission, Generation, Joined, Left, Member, Reach},
    groups::Error,
    ids::GroupKey,
};

/// How long after a group could not be joined afresh it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What somebody wants of a group.
pub(super) enum Wish {
    Join { on_behalf_of: OnBehalfOf, answer: Option<Answer<Joined>> },
    Leave(Answer<Left>),
}

/// Groups that have been asked for something, and what is to be asked of them next. It holds no more than there
/// are who wait for an answer.
pub(super) type Turns = HashMap<Arc<GroupKey>, VecDeque<Wish>>;

fn reply<T>(answer: Option<Answer<T>>, result: Result<T, Error>) {
    if let Some(answer) = answer {
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }
}

impl<D: Dialect> Connection<D> {
    /// Tells the session which groups its client hears.
    pub(super) fn tell_groups(&mut self, ctx: &mut Context<Self>) {
        if self.restorations == 0 && self.session.wants_tokens() {
            let regrouped = self.guard.regrouped();
            self.drive(Event::Regrouped(regrouped), ctx);
        }
    }

    /// Asks a group for something, in its turn.
    pub(super) fn ask(&mut self, group: &Arc<GroupKey>, wish: Wish, ctx: &mut Context<Self>) {
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
                Wish::Join { answer: None, .. } if !self.guard.memberships.is_adrift(group) => false,
                Wish::Join { on_behalf_of, answer } => self.join(group, on_behalf_of, answer, ctx),
                Wish::Leave(answer) => {
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
        on_behalf_of: OnBehalfOf,
        answer: Option<Answer<Joined>>,
        ctx: &mut Context<Self>,
    ) -> bool {
        if !self.guard.memberships.begin_join(group, on_behalf_of.restores()) {
            reply(answer, Ok(Joined::Already));
            return false;
        }
        let seat = self.guard.seat();
        let member = Member { id: seat.id.clone(), reach: Reach::Outbox(Arc::clone(&seat.outbox)) };
        let (groups, group) = (self.guard.world().groups.clone(), Arc::clone(group));
        let joined = async move {
            let joined = groups.join(&group, member).await;
            (group, joined)
        };
        ctx.spawn(joined.into_actor(self).map(move |(group, joined), this, ctx| {
            if this.guard.memberships.end_join(&group, joined.ok()) == Joining::Done {
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
        on_behalf_of: OnBehalfOf,
        answer: Option<Answer<Joined>>,
        joined: Result<Admission, Error>,
        ctx: &mut Context<Self>,
    ) {
        match joined {
            Ok(Admission::Member(joined, _)) => {
                let is_news = on_behalf_of.is_durable() && self.guard.memberships.make_durable(group);
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
                if self.guard.memberships.is_adrift(group) {
                    self.try_again_later(Arc::clone(group), ctx);
                }
            }
        }
    }

    fn try_again_later(&self, group: Arc<GroupKey>, ctx: &mut Context<Self>) {
        warn!(conn:% = self.guard.seat().id, group:% = group; "a group that died cannot be joined afresh yet");
        ctx.run_later(PAUSE, move |this, ctx| this.join_afresh(&group, ctx));
    }

    /// Makes the channel hear a group that it may have been deaf to; to its client that is a join.
    fn hear(&mut self, group: &Arc<GroupKey>, joined: Joined) -> Joined {
        if joined == Joined::Already && !self.guard.memberships.is_muted(group) {
            return joined;
        }
        let outbox = &self.guard.seat().outbox;
        // A group that was left while the channel was deaf to it is muted there still, and the memberships have forgotten it.
        outbox.change_view(|view| {
            view.muted.remove(group);
        });
        let at = outbox.tail();
        self.guard.memberships.hear(group, at);
        Joined::Now
    }

    fn leave(&mut self, group: &Arc<GroupKey>, answer: Answer<Left>, ctx: &mut Context<Self>) {
        let was_heard = !self.guard.memberships.is_muted(group);
        self.guard.memberships.begin_leave(group);
        let (groups, group, id) = (self.guard.world().groups.clone(), Arc::clone(group), self.guard.seat().id.clone());
        let left = async move {
            let left = groups.leave(&group, &id).await;
            (group, left)
        };
        ctx.spawn(left.into_actor(self).map(move |(group, left), this, ctx| {
            this.guard.memberships.end_leave(&group, left.is_ok(), this.restorations > 0);
            if left == Ok(Left::Now) && was_heard {
                this.guard.forget(&group);
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
        if !self.guard.has_ended() && self.guard.memberships.lose(group, generation) {
            info!(conn:% = self.guard.seat().id, group:% = group; "joins a group afresh that died");
            self.join_afresh(group, ctx);
        }
    }

    fn join_afresh(&mut self, group: &Arc<GroupKey>, ctx: &mut Context<Self>) {
        self.ask(group, Wish::Join { on_behalf_of: OnBehalfOf::Token, answer: None }, ctx);
    }
}
