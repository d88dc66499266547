//! The admission of a client: its groups are restored, and OnConnected or OnReconnected runs.

use std::convert::identity;

use actix::prelude::*;

use super::{
    ConnectError, Connection, Dialect, Event, RejoinOutcome, RejoinRequest, TokenPlace, group_ops::join_loaded, hooks,
};
use crate::pipeline::RejoinReport;

impl<D: Dialect> Connection<D> {
    /// Restores the groups of a client that reconnected. Groups of hubs that the new channel did not request stay
    /// joined, but their messages are filtered out.
    pub(super) fn rejoin(
        &mut self,
        request: RejoinRequest,
    ) -> impl ActorFuture<Self, Output = Result<RejoinOutcome, ConnectError>> + use<D> {
        self.restores_in_progress += 1;
        let started_at = self.state.handle().outbox.tail();
        let loaded = self.state.groups_to_rejoin(request);
        join_loaded(loaded.into_actor(self)).map(move |outcome, this, _| {
            this.end_restore();
            if let Ok(outcome) = &outcome {
                this.state.memberships.filter_all_except(&outcome.groups, started_at);
            }
            outcome
        })
    }

    /// Passes the outcome of the client's rejoin token to the session.
    pub(super) fn report_rejoin(&mut self, report: Option<RejoinReport>, ctx: &mut Context<Self>) {
        if let Some(report) = report {
            self.handle_event(Event::Rejoined(report), ctx);
        }
    }

    pub(super) fn end_restore(&mut self) {
        self.restores_in_progress -= 1;
        if self.restores_in_progress == 0 {
            self.state.memberships.end_restore();
        }
    }

    pub(super) fn restore(&mut self, ctx: &mut Context<Self>) {
        if let Err(in_use) = self.state.register() {
            return self.handle_event(Event::Restored(Err(in_use)), ctx);
        }
        self.restores_in_progress += 1;
        let loaded = self.state.groups_to_restore();
        ctx.spawn(join_loaded(loaded.into_actor(self)).map(|restored, this, ctx| {
            this.end_restore();
            let restored = this.state.end_restore(restored);
            this.handle_event(Event::Restored(restored), ctx);
            // Wire: a field goes with the first frame, a message follows OnConnected.
            if D::TOKEN_PLACE == TokenPlace::Field {
                this.refresh_groups_token(ctx);
            }
        }));
    }

    pub(super) fn run_connected(&mut self, ctx: &mut Context<Self>) {
        let connected = hooks::run_connected(self.state.hub_contexts(), self.state.is_rejoin());
        let connected = self.state.track_connect(connected);
        ctx.spawn(connected.into_actor(self).map(|connected, this, ctx| {
            let admitted = this.state.admit(connected);
            let (report, outcome) = admitted.map_or_else(|error| (None, Err(error)), |report| (report, Ok(())));
            let is_admitted = outcome.is_ok();
            this.handle_event(Event::Connected(outcome), ctx);
            if is_admitted {
                this.report_rejoin(report, ctx);
                if D::TOKEN_PLACE == TokenPlace::Message {
                    this.refresh_groups_token(ctx);
                }
                this.drain_if_draining(ctx);
            }
        }));
    }

    /// Drains a connection that was admitted while the process was draining the others.
    pub(super) fn drain_if_draining(&mut self, ctx: &mut Context<Self>) {
        if self.state.services().drain.has_begun() {
            self.handle_event(Event::Draining, ctx);
        }
    }

    pub(super) fn run_reconnected(&mut self, has_gap: bool, ctx: &mut Context<Self>) {
        let hub_tasks = &self.state.services().drain.hub_tasks;
        let reconnected =
            hooks::run_to_completion(hub_tasks, hooks::run_reconnected(self.state.hub_contexts(), has_gap), identity);
        ctx.spawn(
            reconnected.into_actor(self).map(|outcome, this, ctx| this.handle_event(Event::Reconnected(outcome), ctx)),
        );
    }
}
