//! The start of a connection: first its durable groups are joined, then OnConnected runs. Each happens once, however
//! many requests ask for it.

use tokio::sync::oneshot;

use super::SessionEffects;
use crate::connection::{ConnectError, Effect};

/// The stage of a step that runs once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StartStage {
    #[default]
    NotStarted,
    InProgress,
    Done,
}

/// The reason why a start request has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) text: String,
    pub(crate) is_retryable: bool,
}

impl StartError {
    /// The error for a client that was not admitted. Its text is generic unless the error is meant for clients or
    /// `is_detailed` is set.
    pub(super) fn new(refusal: &ConnectError, is_detailed: bool) -> Self {
        let is_shown = refusal.error.is_shown() || is_detailed;
        let text = if is_shown { refusal.error.message() } else { "The connection was not let in." };
        Self { text: text.to_owned(), is_retryable: refusal.is_retryable }
    }
}

/// The reply to a start request, sent when OnConnected is done.
pub(crate) type StartReply = oneshot::Sender<Result<(), StartError>>;

/// The progress of the start of a connection.
#[derive(Debug, Default)]
pub(super) struct StartState {
    groups_restored: StartStage,
    on_connected: StartStage,
    waiters: Vec<StartReply>,
}

impl StartState {
    /// True if OnConnected has run.
    pub(super) fn is_done(&self) -> bool {
        self.on_connected == StartStage::Done
    }

    /// True if OnConnected has not started and no start request waits for it.
    pub(super) fn is_unstarted(&self) -> bool {
        self.on_connected == StartStage::NotStarted && self.waiters.is_empty()
    }

    /// Joins the durable groups, once.
    pub(super) fn restore_groups(&mut self) -> SessionEffects {
        if self.groups_restored == StartStage::NotStarted {
            self.groups_restored = StartStage::InProgress;
            return Effect::RestoreGroups.into();
        }
        SessionEffects::none()
    }

    /// Runs OnConnected, once. If the durable groups are not joined yet, it joins them first.
    pub(super) fn run_connected(&mut self) -> SessionEffects {
        match (self.groups_restored, self.on_connected) {
            (StartStage::NotStarted, _) => self.restore_groups(),
            (StartStage::Done, StartStage::NotStarted) => {
                self.on_connected = StartStage::InProgress;
                Effect::RunConnected.into()
            }
            (StartStage::InProgress | StartStage::Done, _) => SessionEffects::none(),
        }
    }

    /// Runs OnConnected, once, and notifies `waiter` when it is done.
    pub(super) fn run_connected_for(&mut self, waiter: StartReply) -> SessionEffects {
        self.waiters.push(waiter);
        if self.is_done() {
            self.notify_waiters(&Ok(()));
        }
        self.run_connected()
    }

    /// The durable groups are joined. OnConnected follows if `is_awaited` or if a start request waits for it.
    pub(super) fn on_groups_restored(&mut self, is_awaited: bool) -> SessionEffects {
        self.groups_restored = StartStage::Done;
        if is_awaited || !self.waiters.is_empty() { self.run_connected() } else { SessionEffects::none() }
    }

    /// OnConnected is done, or the connection was refused before it.
    pub(super) fn finish(&mut self, outcome: &Result<(), StartError>) {
        self.on_connected = StartStage::Done;
        self.notify_waiters(outcome);
    }

    fn notify_waiters(&mut self, outcome: &Result<(), StartError>) {
        for waiter in self.waiters.drain(..) {
            // The request may have been cancelled.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Drops the replies to all start requests that wait, because the connection has ended.
    pub(super) fn drop_waiters(&mut self) {
        self.waiters.clear();
    }
}
