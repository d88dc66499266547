//! The chain of a hub: its filters in order, each with its time budget, error policy, mode and figures.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::future::FutureExt;
use tokio::time::{Instant, timeout};

use super::{
    ErrorPolicy, EventKind, Events, FilterError, FilterMode, FilterOptions,
    erased::{DynFilter, Event},
};
use crate::{
    client_log::{self, Cause, optional},
    hub::HubError,
    ids::{ConnectionId, HubName},
    metrics::{FilterFigures, Metrics},
};

/// A filter of the engine or of one hub.
pub(crate) struct Filter {
    pub(super) name: Arc<str>,
    /// The hub that it belongs to; `None` if it runs on all hubs.
    pub(super) hub: Option<HubName>,
    pub(super) events: Events,
    pub(super) budget: Duration,
    pub(super) policy: ErrorPolicy,
    mode: AtomicU8,
    figures: Vec<FilterFigures>,
    metrics: Arc<Metrics>,
    filter: Arc<dyn DynFilter>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("name", &self.name).field("mode", &self.mode()).finish_non_exhaustive()
    }
}

/// A filter has stopped an event.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// The error for the cause of the event.
    pub(crate) error: HubError,
    /// True if the filter has refused the event; false if it failed.
    pub(crate) is_refusal: bool,
}

impl From<Stopped> for HubError {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

impl Filter {
    pub(super) fn new(
        name: Arc<str>,
        hub: Option<HubName>,
        filter: Arc<dyn DynFilter>,
        FilterOptions { budget, policy, mode }: &FilterOptions,
        metrics: Arc<Metrics>,
    ) -> Self {
        let figures = EventKind::ALL.map(|_| FilterFigures::default()).into();
        let (events, mode) = (filter.events(), AtomicU8::new(*mode as u8));
        Self { name, hub, events, budget: *budget, policy: *policy, mode, figures, metrics, filter }
    }

    pub(super) fn mode(&self) -> FilterMode {
        let mode = self.mode.load(Ordering::Relaxed);
        FilterMode::ALL.into_iter().find(|known| *known as u8 == mode).unwrap_or_default()
    }

    pub(super) fn set_mode(&self, mode: FilterMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    pub(super) fn figures(&self, kind: EventKind) -> &FilterFigures {
        &self.figures[kind as usize]
    }

    /// Passes an event through the filter, as its mode and policy require.
    pub(super) async fn pass<E: Event>(&self, event: E) -> Result<E, Stopped> {
        let figures = self.figures(E::KIND);
        match self.mode() {
            FilterMode::Disabled => Ok(event),
            FilterMode::Shadow => {
                let passed = self.call(event.clone()).await;
                if !passed.is_ok_and(|passed| !passed.is_changed(&event)) {
                    figures.differences.increment();
                }
                Ok(event)
            }
            FilterMode::Enabled => {
                let unchanged = (self.policy == ErrorPolicy::Bypass).then(|| event.clone());
                match (self.call(event).await, unchanged) {
                    (Ok(passed), _) => Ok(passed),
                    (Err(FilterError::Refused(error)), _) => Err(Stopped { error, is_refusal: true }),
                    (Err(FilterError::Failed(_)), Some(unchanged)) => {
                        figures.bypassed.increment();
                        Ok(unchanged)
                    }
                    (Err(FilterError::Failed(_)), None) => {
                        let error = HubError::hidden("FilterFailed", format!("the filter `{}` failed", self.name));
                        Err(Stopped { error, is_refusal: false })
                    }
                }
            }
        }
    }

    /// Shows an event to the filter. A failure is counted; there is nothing that it could stop.
    async fn observe<E: Event>(&self, event: &E) {
        if self.events.contains(E::KIND) {
            drop(self.pass(event.clone()).await);
        }
    }

    /// Calls the filter within its time budget, catches a panic, and counts and logs the outcome.
    async fn call<E: Event>(&self, event: E) -> Result<E, FilterError> {
        let (figures, started) = (self.figures(E::KIND), Instant::now());
        let (hub, connection) = event.subject();
        let subject = (hub.clone(), connection.cloned());
        let passing = AssertUnwindSafe(async { event.pass(&*self.filter).await }).catch_unwind();
        let passed = timeout(self.budget, passing).await;
        figures.duration.record(started.elapsed());
        let error = match passed {
            Ok(Ok(Ok(event))) => {
                figures.continued.increment();
                return Ok(event);
            }
            Ok(Ok(Err(FilterError::Refused(error)))) if !E::OBSERVES => {
                figures.refusals.increment();
                self.log(Cause::FilterRefused, E::KIND, &subject, &"");
                return Err(FilterError::Refused(error));
            }
            Ok(Ok(Err(FilterError::Refused(error) | FilterError::Failed(error)))) => error,
            Ok(Err(panic)) => {
                self.metrics.hub_panics.increment();
                HubError::hidden("Panic", panic_text(&*panic))
            }
            Err(_) => {
                figures.timeouts.increment();
                HubError::hidden("Timeout", format!("no decision within {:?}", self.budget))
            }
        };
        figures.failures.increment();
        self.log(Cause::FilterFailed, E::KIND, &subject, &error);
        Err(FilterError::Failed(error))
    }

    fn log(
        &self,
        cause: Cause,
        kind: EventKind,
        (hub, connection): &(HubName, Option<ConnectionId>),
        error: &dyn fmt::Display,
    ) {
        let connection = optional(connection.as_ref());
        client_log::log(
            cause,
            &[("filter", &self.name), ("event", &kind.name()), ("conn", &connection), ("hub", hub), ("error", error)],
        );
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The filters of a hub, those of the engine first.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(super) filters: Box<[Arc<Filter>]>,
    /// The events that at least one of them handles.
    events: Events,
}

impl Chain {
    /// `None` if there are no filters.
    pub(super) fn new(filters: Vec<Arc<Filter>>) -> Option<Arc<Self>> {
        let events = filters.iter().fold(Events::default(), |events, filter| events | filter.events);
        (!filters.is_empty()).then(|| Arc::new(Self { filters: filters.into(), events }))
    }

    /// True if a filter handles one of these events.
    pub(in crate::hub) fn handles(&self, events: impl Into<Events>) -> bool {
        self.events.intersects(events.into())
    }

    /// Passes an event through the filters, in order.
    pub(crate) async fn decide<E: Event>(&self, mut event: E) -> Result<E, Stopped> {
        for filter in self.filters.iter().filter(|filter| filter.events.contains(E::KIND)) {
            event = filter.pass(event).await?;
        }
        Ok(event)
    }

    /// Shows an event to the filters, in order: an event that precedes what it announces.
    pub(crate) async fn announce<E: Event>(&self, event: E) {
        for filter in self.filters.iter() {
            filter.observe(&event).await;
        }
    }

    /// Shows an event to the filters, in the opposite order: an event that follows what it reports.
    pub(crate) async fn observe<E: Event>(&self, event: E) {
        for filter in self.filters.iter().rev() {
            filter.observe(&event).await;
        }
    }
}

#[cfg(test)]
mod tests;
