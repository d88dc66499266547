//! Actors of the application as filters.

use std::future::Future;

use actix::{Actor, Arbiter, Context, Handler, MailboxError, Recipient, dev::ToEnvelope};

use super::{
    Decision, FilterError, FilterEvent, HubFilter,
    erased::{Ask, Event},
};
use crate::supervised::{Died, Supervised};

impl<E: Event> Ask<E> for Recipient<E>
where
    E::Result: Send,
{
    fn ask(&self, event: E) -> impl Future<Output = Decision<E::Passed>> + Send {
        let answer = self.send(event);
        async move { answer.await.unwrap_or_else(|error: MailboxError| Err(error.into())) }
    }
}

impl<E, A> Ask<E> for Supervised<A>
where
    E: Event,
    E::Result: Send,
    A: Actor<Context = Context<A>> + Handler<E>,
    A::Context: ToEnvelope<A, E>,
{
    async fn ask(&self, event: E) -> Decision<E::Passed> {
        self.send_once(event).await.unwrap_or_else(|error: Died| Err(FilterError::from(error)))
    }
}

/// A filter of one event that is an actor of the application, which supervises it. While the actor has stopped, the
/// filter fails. A full mailbox makes the event wait, at most for the time budget.
pub fn actor<E: FilterEvent>(recipient: Recipient<E>) -> impl HubFilter
where
    E::Result: Send,
{
    E::filter_of(recipient)
}

/// A filter of one event that is an actor, which is started on the current arbiter and started again after each panic.
/// The event that made it panic is a failure of the filter, and so are those that waited in its mailbox; later ones wait for
/// the new actor.
///
/// ```no_run
/// use actix::prelude::*;
/// use hubcast::{Hub, filters::{self, BeforeInvoke, Decision, FilterError}};
///
/// /// Allows each incarnation of the process a number of calls.
/// struct Budget(u32);
///
/// impl Actor for Budget {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<BeforeInvoke> for Budget {
///     type Result = Decision<BeforeInvoke>;
///
///     fn handle(&mut self, event: BeforeInvoke, _: &mut Context<Self>) -> Self::Result {
///         self.0 = self.0.checked_sub(1).ok_or_else(|| FilterError::refuse("Come back later."))?;
///         Ok(event)
///     }
/// }
///
/// # #[actix_web::main] async fn main() {
/// let hub = Hub::new("chat").filter("budget", filters::supervised::<BeforeInvoke, _>(|| Budget(1000)));
/// # }
/// ```
///
/// # Panics
/// Outside of an actix system.
pub fn supervised<E, A>(make: impl Fn() -> A + Send + 'static) -> impl HubFilter
where
    E: FilterEvent,
    E::Result: Send,
    A: Actor<Context = Context<A>> + Handler<E>,
    A::Context: ToEnvelope<A, E>,
{
    E::filter_of(Supervised::start("filter", &Arbiter::current(), make))
}
