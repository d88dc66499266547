//! Checks whether the store can be written to and memberships can be read, for readiness probes and operators.
//!
//! The write is the renewal of the node, which also happens at intervals. Memberships are read after it. Checks that arrive
//! meanwhile share both.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::{Membership, Reply, deadline::send_reply};
use crate::store::Error;

/// The maximum time to answer a check, below the usual timeout of readiness probes, one to two seconds.
const CHECK_TIMEOUT: Duration = Duration::from_millis(900);

/// A check that succeeded within this time answers the next one: probes cause at most one write in that time.
const FRESHNESS: Duration = Duration::from_secs(1);

/// The maximum number of pending checks. Further ones are answered with [`Error::Unavailable`].
const MAX_CHECKS: usize = 100;

/// Query: asks whether the store can be used. It is answered within a second.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Check {
    pub(crate) answer: Reply<()>,
}

/// The checks that wait for the next renewal.
#[derive(Default)]
pub(super) struct PendingChecks {
    waiting: Vec<(Instant, Reply<()>)>,
    /// The result of the last renewal, and when it was known.
    last: Option<(Instant, Result<(), Error>)>,
}

impl PendingChecks {
    /// Answers all waiting checks with the result of a renewal.
    pub(super) fn answer(&mut self, result: Result<(), Error>) {
        self.waiting.drain(..).for_each(|(_, answer)| send_reply(answer, result.clone()));
        self.last = Some((Instant::now(), result));
    }

    fn is_fresh(&self) -> bool {
        matches!(&self.last, Some((at, Ok(()))) if at.elapsed() < FRESHNESS)
    }

    /// Answers the checks that have waited too long. A failure of the last renewal says more than the timeout.
    fn answer_late(&mut self) {
        let reason = match &self.last {
            Some((_, Err(error))) => error.clone(),
            _ => Error::timed_out(),
        };
        let late = self.waiting.extract_if(.., |(since, _)| since.elapsed() >= CHECK_TIMEOUT);
        late.for_each(|(_, answer)| send_reply(answer, Err(reason.clone())));
    }
}

impl Handler<Check> for Membership {
    type Result = ();

    fn handle(&mut self, Check { answer }: Check, ctx: &mut Self::Context) {
        if self.checks.is_fresh() {
            send_reply(answer, Ok(()));
        } else if self.checks.waiting.len() >= MAX_CHECKS {
            send_reply(answer, Err(Error::Unavailable(format!("{MAX_CHECKS} checks are waiting for it"))));
        } else {
            let is_first = self.checks.waiting.is_empty();
            self.checks.waiting.push((Instant::now(), answer));
            ctx.run_later(CHECK_TIMEOUT, |this, _| this.checks.answer_late());
            if is_first {
                self.begin_renewal(ctx);
            }
        }
    }
}
