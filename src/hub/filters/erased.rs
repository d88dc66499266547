//! Filters without their types, and filters of a single event.

use std::{fmt, future::Future, marker::PhantomData};

use futures_util::future::{BoxFuture, FutureExt};

use super::{
    AfterConnect, AfterDisconnect, AfterInvoke, AfterReconnect, AfterSend, AuthorizeConnect, BeforeConnect,
    BeforeDisconnect, BeforeInvoke, BeforeReconnect, BeforeSend, Decision, EventKind, Events, HubFilter, IncomingError,
    RejoiningGroups, events::Described,
};

/// An event that filters handle. The events of this module implement it; applications do not.
pub trait FilterEvent: Event {}

/// The part of [`FilterEvent`] that applications do not use.
pub trait Event:
    actix::Message<Result = Decision<Self::Passed>> + Described + Clone + fmt::Debug + Send + 'static
{
    /// What a filter returns: the event, or `()` if it only observes.
    type Passed: Send + 'static;

    /// The kind.
    const KIND: EventKind;

    /// Filters only observe the event.
    const OBSERVES: bool;

    /// Calls the method of the filter for this event.
    fn pass(self, filter: &dyn DynFilter) -> BoxFuture<'_, Decision<Self>>;

    /// The filter that asks `ask` about this event, and handles no other.
    fn filter_of<A: Ask<Self>>(ask: A) -> impl HubFilter;
}

/// Decides about one event.
pub trait Ask<E: Event>: Send + Sync + 'static {
    /// Asks for the decision.
    fn ask(&self, event: E) -> impl Future<Output = Decision<E::Passed>> + Send;
}

/// A filter of a single event.
struct Single<E, A> {
    ask: A,
    event: PhantomData<fn(E)>,
}

/// Defines the dyn-compatible form of [`HubFilter`] and implements the events. The first list has the events that
/// filters decide about, the second those that they observe.
macro_rules! filter_events {
    ({ $($decide:ident $Decided:ident)* } { $($observe:ident $Observed:ident)* }) => {
        /// The dyn-compatible form of [`HubFilter`].
        pub trait DynFilter: Send + Sync {
            /// See [`HubFilter::events`].
            fn events(&self) -> Events;
            $(
                /// See the method of [`HubFilter`].
                fn $decide(&self, event: $Decided) -> BoxFuture<'_, Decision<$Decided>>;
            )*
            $(
                /// See the method of [`HubFilter`].
                fn $observe(&self, event: $Observed) -> BoxFuture<'_, Decision<()>>;
            )*
        }

        impl<F: HubFilter> DynFilter for F {
            fn events(&self) -> Events {
                HubFilter::events(self)
            }
            $(
                fn $decide(&self, event: $Decided) -> BoxFuture<'_, Decision<$Decided>> {
                    HubFilter::$decide(self, event).boxed()
                }
            )*
            $(
                fn $observe(&self, event: $Observed) -> BoxFuture<'_, Decision<()>> {
                    HubFilter::$observe(self, event).boxed()
                }
            )*
        }

        $(
            filter_events!(@event $decide $Decided $Decided);

            impl Event for $Decided {
                filter_events!(@members $Decided Self, false);

                fn pass(self, filter: &dyn DynFilter) -> BoxFuture<'_, Decision<Self>> {
                    filter.$decide(self)
                }
            }
        )*

        $(
            filter_events!(@event $observe $Observed ());

            impl Event for $Observed {
                filter_events!(@members $Observed (), true);

                fn pass(self, filter: &dyn DynFilter) -> BoxFuture<'_, Decision<Self>> {
                    let observed = filter.$observe(self.clone());
                    observed.map(|observed| observed.map(|()| self)).boxed()
                }
            }
        )*
    };
    (@event $method:ident $Event:ident $Passed:ty) => {
        impl FilterEvent for $Event {}

        impl<A: Ask<$Event>> HubFilter for Single<$Event, A> {
            fn events(&self) -> Events {
                EventKind::$Event.into()
            }

            fn $method(&self, event: $Event) -> impl Future<Output = Decision<$Passed>> + Send {
                self.ask.ask(event)
            }
        }
    };
    (@members $Event:ident $Passed:ty, $observes:literal) => {
        type Passed = $Passed;

        const KIND: EventKind = EventKind::$Event;

        const OBSERVES: bool = $observes;

        fn filter_of<A: Ask<Self>>(ask: A) -> impl HubFilter {
            Single { ask, event: PhantomData }
        }
    };
}

filter_events! {
    {
        authorize_connect AuthorizeConnect
        before_connect BeforeConnect
        before_reconnect BeforeReconnect
        before_invoke BeforeInvoke
        after_invoke AfterInvoke
        incoming_error IncomingError
        before_send BeforeSend
        rejoining_groups RejoiningGroups
    }
    {
        after_connect AfterConnect
        after_reconnect AfterReconnect
        before_disconnect BeforeDisconnect
        after_disconnect AfterDisconnect
        after_send AfterSend
    }
}

struct Closure<F>(F);

impl<E: Event, F, R> Ask<E> for Closure<F>
where
    F: Fn(E) -> R + Send + Sync + 'static,
    R: Future<Output = Decision<E::Passed>> + Send + 'static,
{
    fn ask(&self, event: E) -> impl Future<Output = Decision<E::Passed>> + Send {
        (self.0)(event)
    }
}

/// A filter of one event that is a closure or a function. The closure states the type of the event.
///
/// ```
/// use hubcast::{Hub, HubError, filters::{BeforeInvoke, FilterError, on}};
///
/// let hub = Hub::new("chat").filter(
///     "length",
///     on(async |event: BeforeInvoke| match event.arguments.len() {
///         0..=3 => Ok(event),
///         _ => Err(FilterError::refuse("too many arguments")),
///     }),
/// );
/// ```
pub fn on<E, F, R>(filter: F) -> impl HubFilter
where
    E: FilterEvent,
    F: Fn(E) -> R + Send + Sync + 'static,
    R: Future<Output = Decision<E::Passed>> + Send + 'static,
{
    E::filter_of(Closure(filter))
}
