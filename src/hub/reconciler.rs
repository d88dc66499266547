//! The actor that makes live memberships agree with the durable ones in the store.
//!
//! A durable change is stored first and then made on the live connections of its user. The second step can be missing:
//! an actor crashed between the two, a task of a hub was dropped, the store carried out a change that it had reported as
//! failed, or another process on the same store made the change. The reconciler compares the durable groups of all
//! connected users with their connections, at intervals and after each restart of the membership actor, and repairs
//! what differs. It changes durable memberships only: groups that a connection joined by itself stay, and so do leaves.
//!
//! It loads the groups of up to [`MAX_BATCH`] users by one query and pauses between the queries. There is one supervised
//! reconciler for each process. Nothing waits for it, and it never writes to the store.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use log::{info, warn};
use tokio::sync::oneshot;

use super::services::HubServices;
use crate::{ids::UserId, store::Error};

mod differences;
mod pass;
mod repair;
#[cfg(test)]
mod tests;

use pass::Pass;

/// The maximum number of users in one query.
const MAX_BATCH: usize = 1_000;

/// The maximum number of users in one step, if the store needs a query for each user.
const MAX_UNBATCHED: usize = 32;

/// The maximum number of requests that wait for the next pass. Further ones fail.
const MAX_REQUESTS: usize = 100;

/// The number of connections that changed to agree with the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Joins of groups of which the user is a durable member.
    pub joined: u64,
    /// Leaves of groups of which the user is no longer a durable member.
    pub left: u64,
}

impl std::ops::AddAssign for Reconciled {
    fn add_assign(&mut self, other: Self) {
        self.joined += other.joined;
        self.left += other.left;
    }
}

/// Command: compares all users now. The answer comes after all of them have been compared.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reconcile {
    pub(crate) answer: Answer,
}

type Answer = oneshot::Sender<Result<Reconciled, Error>>;

/// See the module's documentation.
pub(crate) struct Reconciler {
    services: Arc<HubServices>,
    /// `None`: it works on request only.
    interval: Option<Duration>,
    pass: Option<Pass>,
    is_comparing: bool,
    /// A pass was requested after the current one had begun.
    is_requested: bool,
    /// The requests that the current pass answers.
    requests: Vec<Answer>,
    /// The requests that the next pass answers.
    next_requests: Vec<Answer>,
    timer: Option<SpawnHandle>,
}

impl Reconciler {
    pub(crate) fn new(services: Arc<HubServices>, interval: Option<Duration>) -> Self {
        Self {
            services,
            interval,
            pass: None,
            is_comparing: false,
            is_requested: false,
            requests: Vec::new(),
            next_requests: Vec::new(),
            timer: None,
        }
    }

    fn is_draining(&self) -> bool {
        self.services.drain.has_begun()
    }

    /// Begins a pass that takes about `window`.
    fn begin_pass(&mut self, window: Duration, ctx: &mut Context<Self>) {
        self.is_requested = false;
        self.requests.append(&mut self.next_requests);
        let users = if self.is_draining() { Vec::new() } else { self.services.connections.users() };
        let has_batches = self.services.durable.batches_loads();
        let batch = if has_batches { MAX_BATCH } else { MAX_UNBATCHED };
        self.pass = Some(Pass::new(users, batch, window));
        self.compare_next(ctx);
    }

    /// Compares the next users of the pass, or ends it.
    fn compare_next(&mut self, ctx: &mut Context<Self>) {
        let Some(pass) = &mut self.pass else { return };
        let users = pass.next_batch();
        if users.is_empty() {
            return self.end_pass(ctx);
        }
        self.is_comparing = true;
        let services = Arc::clone(&self.services);
        let compared = async move { repair::reconcile(&services, &users).await };
        ctx.spawn(compared.into_actor(self).map(|compared, this, ctx| {
            this.is_comparing = false;
            this.on_compared(compared, ctx);
        }));
    }

    fn on_compared(&mut self, compared: Result<Reconciled, Error>, ctx: &mut Context<Self>) {
        if self.is_requested && !self.is_urgent() {
            return self.begin_pass(Duration::ZERO, ctx);
        }
        match compared {
            Ok(reconciled) => self.pass.iter_mut().for_each(|pass| pass.add(reconciled)),
            Err(error) => return self.fail_pass(&error, ctx),
        }
        match &self.pass {
            Some(pass) if pass.has_more() && !self.is_draining() => {
                let pause = pass.pause();
                self.set_timer(pause, ctx, Self::compare_next);
            }
            Some(_) | None => self.end_pass(ctx),
        }
    }

    fn end_pass(&mut self, ctx: &mut Context<Self>) {
        let reconciled = self.pass.as_ref().map(Pass::reconciled).unwrap_or_default();
        self.services.metrics.reconcile_passes.increment();
        if reconciled != Reconciled::default() {
            info!(joined = reconciled.joined, left = reconciled.left; "repaired memberships that differed from the store");
        }
        self.answer_requests(&Ok(reconciled));
        self.schedule_pass(ctx);
    }

    fn fail_pass(&mut self, error: &Error, ctx: &mut Context<Self>) {
        warn!(error:% = error; "failed to compare durable groups with the store; will retry");
        self.services.metrics.store_failures.increment();
        self.answer_requests(&Err(error.clone()));
        self.schedule_pass(ctx);
    }

    fn answer_requests(&mut self, result: &Result<Reconciled, Error>) {
        // A requester may have gone.
        self.requests.drain(..).for_each(|answer| drop(answer.send(result.clone())));
    }

    /// Schedules the next pass. It begins one interval after the last one began, or at once if it is requested.
    fn schedule_pass(&mut self, ctx: &mut Context<Self>) {
        let elapsed = self.pass.take().map(|pass| pass.elapsed()).unwrap_or_default();
        if self.is_requested {
            self.begin_pass(Duration::ZERO, ctx);
        } else if let Some(interval) = self.interval {
            let pause = interval.saturating_sub(elapsed).max(pass::MIN_PAUSE);
            self.set_timer(pause, ctx, move |this, ctx| this.begin_pass(interval, ctx));
        }
    }

    fn set_timer(
        &mut self,
        pause: Duration,
        ctx: &mut Context<Self>,
        action: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        self.cancel_timer(ctx);
        self.timer = Some(ctx.run_later(pause, |this, ctx| {
            this.timer = None;
            action(this, ctx);
        }));
    }

    fn cancel_timer(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
    }

    /// Whether the current pass was requested. It runs to its end, so that frequent requests do not restart it forever.
    fn is_urgent(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::is_urgent)
    }

    /// Begins a pass over all users, after the current one if that was requested too.
    fn request_pass(&mut self, ctx: &mut Context<Self>) {
        self.is_requested = true;
        if !self.is_comparing && !self.is_urgent() {
            self.cancel_timer(ctx);
            self.begin_pass(Duration::ZERO, ctx);
        }
    }

    /// A restart of the membership actor can have interrupted changes between the store and the live connections.
    fn watch_membership(&self, ctx: &mut Context<Self>) {
        let membership = self.services.durable.membership.clone();
        let restarted = async move { membership.restarted().await };
        ctx.spawn(restarted.into_actor(self).map(|(), this, ctx| {
            this.watch_membership(ctx);
            this.request_pass(ctx);
        }));
    }
}

impl Actor for Reconciler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.interval.is_some() {
            self.watch_membership(ctx);
            self.schedule_pass(ctx);
        }
    }
}

impl Handler<Reconcile> for Reconciler {
    type Result = ();

    fn handle(&mut self, Reconcile { answer }: Reconcile, ctx: &mut Self::Context) {
        if self.next_requests.len() >= MAX_REQUESTS {
            let error = Error::Unavailable(format!("{MAX_REQUESTS} requests are waiting for a comparison"));
            // The requester may have gone.
            let _ = answer.send(Err(error));
            return;
        }
        self.next_requests.push(answer);
        self.request_pass(ctx);
    }
}

#[cfg(any(test, feature = "testkit"))]
crate::supervised::may_crash!(Reconciler);
