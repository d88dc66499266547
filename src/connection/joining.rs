//! How a connection joins and leaves groups, on behalf of whoever asks.

use std::sync::Arc;

use actix::prelude::*;
use log::info;
use tokio::sync::oneshot;

use super::{Connection, Dialect, Event};
use crate::{
    connections::OnBehalfOf,
    group::{Admission, Joined, Left, Member, Reach},
    ids::GroupKey,
};

pub(super) type Answer<T> = oneshot::Sender<Result<T, crate::groups::Error>>;

fn reply<T>(answer: Option<Answer<T>>, result: Result<T, crate::groups::Error>) {
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

    pub(super) fn join(
        &mut self,
        group: Arc<GroupKey>,
        on_behalf_of: OnBehalfOf,
        answer: Option<Answer<Joined>>,
        ctx: &mut Context<Self>,
    ) {
        if !self.guard.memberships.begin_join(&group, on_behalf_of == OnBehalfOf::Restoration) {
            return reply(answer, Ok(Joined::Already));
        }
        let member =
            Member { id: self.guard.seat().id.clone(), reach: Reach::Outbox(Arc::clone(&self.guard.seat().outbox)) };
        let (groups, key) = (self.guard.world().groups.clone(), Arc::clone(&group));
        let joined = async move { groups.join(&key, member).await };
        ctx.spawn(joined.into_actor(self).map(move |joined, this, ctx| {
            this.guard.memberships.end_join(&group, joined.ok());
            match joined {
                Ok(Admission::Member(joined, _)) => {
                    let joined = if on_behalf_of == OnBehalfOf::Caller { this.hear(&group, joined) } else { joined };
                    reply(answer, Ok(joined));
                    if joined == Joined::Now {
                        this.tell_groups(ctx);
                    }
                }
                // The sender of the answer is dropped: there is no such connection any more.
                Ok(Admission::Ended) => {}
                Err(error) => reply(answer, Err(error)),
            }
        }));
    }

    /// Makes the channel hear a group that it may have been deaf to; to its client that is a join.
    fn hear(&mut self, group: &Arc<GroupKey>, joined: Joined) -> Joined {
        let outbox = &self.guard.seat().outbox;
        let was_muted = self.guard.memberships.is_muted(group);
        if was_muted {
            outbox.change_view(|view| {
                view.muted.remove(group);
            });
        } else if joined == Joined::Already {
            return joined;
        }
        let at = outbox.tail();
        self.guard.memberships.hear(group, at);
        Joined::Now
    }

    pub(super) fn leave(&mut self, group: Arc<GroupKey>, answer: Answer<Left>, ctx: &mut Context<Self>) {
        let was_heard = !self.guard.memberships.is_muted(&group);
        self.guard.memberships.begin_leave(&group);
        let (groups, key, id) = (self.guard.world().groups.clone(), Arc::clone(&group), self.guard.seat().id.clone());
        let left = async move { groups.leave(&key, &id).await };
        ctx.spawn(left.into_actor(self).map(move |departure, this, ctx| {
            let result = departure.map(|departure| {
                this.guard.memberships.end_leave(&group, departure);
                departure.map_or(Left::NoMember, |departure| departure.left)
            });
            if this.restorations == 0 {
                this.guard.memberships.end_restoration();
            }
            if result == Ok(Left::Now) && was_heard {
                this.guard.forget(&group);
                reply(Some(answer), result);
                this.tell_groups(ctx);
            } else {
                // To a client that was deaf to it, it was no member.
                reply(Some(answer), result.map(|_| Left::NoMember));
            }
        }));
    }

    /// Joins afresh a group that has died; whoever it has under way will notice by itself.
    pub(super) fn lost(&mut self, group: Arc<GroupKey>, ctx: &mut Context<Self>) {
        if !self.guard.has_ended() && self.guard.memberships.concerns(&group) {
            info!(conn:% = self.guard.seat().id, group:% = group; "joins a group afresh that died");
            self.join(group, OnBehalfOf::Restoration, None, ctx);
        }
    }
}
