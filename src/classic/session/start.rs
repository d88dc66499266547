//! How a connection begins: its durable groups are joined first, then its OnConnected runs, each once,
//! whoever asks for it and however often.

use tokio::sync::oneshot;

use super::Out;
use crate::connection::{ConnectError, Effect};

/// Something that is begun once and may be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StartStage {
    #[default]
    Ahead,
    UnderWay,
    Done,
}

/// Why a client's start has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) text: String,
    pub(crate) is_retryable: bool,
}

impl StartError {
    /// The connection ended meanwhile.
    pub(crate) fn ended() -> Self {
        Self { text: "The connection has ended.".into(), is_retryable: true }
    }

    /// What a client is told that is not let in.
    pub(super) fn of(refused: &ConnectError, is_detailed: bool) -> Self {
        let is_shown = refused.error.is_shown() || is_detailed;
        let text = if is_shown { refused.error.message() } else { "The connection was not let in." };
        Self { text: text.to_owned(), is_retryable: refused.is_retryable }
    }
}

/// Who waits for OnConnected.
pub(crate) type StartReply = oneshot::Sender<Result<(), StartError>>;

/// How far a connection has begun.
#[derive(Debug, Default)]
pub(super) struct StartState {
    restored: StartStage,
    welcomed: StartStage,
    waiting: Vec<StartReply>,
}

impl StartState {
    /// True if OnConnected has run.
    pub(super) fn is_done(&self) -> bool {
        self.welcomed == StartStage::Done
    }

    /// True if the durable groups are joined.
    pub(super) fn is_restored(&self) -> bool {
        self.restored == StartStage::Done
    }

    /// True if nobody has asked for OnConnected yet.
    pub(super) fn is_ahead(&self) -> bool {
        self.welcomed == StartStage::Ahead && self.waiting.is_empty()
    }

    /// Has the durable groups joined, once.
    pub(super) fn restore(&mut self) -> Out {
        if self.restored == StartStage::Ahead {
            self.restored = StartStage::UnderWay;
            return vec![Effect::Restore];
        }
        Vec::new()
    }

    /// Has OnConnected run, once, when the durable groups are joined.
    pub(super) fn begin(&mut self) -> Out {
        match (self.restored, self.welcomed) {
            (StartStage::Ahead, _) => self.restore(),
            (StartStage::Done, StartStage::Ahead) => {
                self.welcomed = StartStage::UnderWay;
                vec![Effect::Welcome]
            }
            (StartStage::UnderWay | StartStage::Done, _) => Vec::new(),
        }
    }

    /// Somebody waits for OnConnected.
    pub(super) fn begin_for(&mut self, waiter: StartReply) -> Out {
        self.waiting.push(waiter);
        if self.is_done() {
            self.tell_waiting(&Ok(()));
        }
        self.begin()
    }

    /// The durable groups are joined; OnConnected follows if somebody waits for it.
    pub(super) fn restored(&mut self, is_awaited: bool) -> Out {
        self.restored = StartStage::Done;
        if is_awaited || !self.waiting.is_empty() { self.begin() } else { Vec::new() }
    }

    /// OnConnected has run, or there will be none.
    pub(super) fn settle(&mut self, outcome: &Result<(), StartError>) {
        self.welcomed = StartStage::Done;
        self.tell_waiting(outcome);
    }

    fn tell_waiting(&mut self, outcome: &Result<(), StartError>) {
        for waiter in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Whoever waits need not.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }
}
