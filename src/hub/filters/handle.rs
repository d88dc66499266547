//! Handles to the filters of an engine.

use std::{fmt, sync::Arc, time::Duration};

use super::{ErrorPolicy, EventKind, Events, Filter, FilterMode};
use crate::{
    hub::{HubError, Requester},
    ids::HubName,
    metrics::{FilterFigures, FilterSample},
};

/// A handle to a filter of an engine, to read its figures and to change its mode. Clones refer to the same filter.
///
/// ```no_run
/// use hubcast::{Engine, filters::FilterMode};
///
/// fn stop_auditing(engine: &Engine) {
///     engine.filter("audit").expect("the engine has this filter").set_mode(FilterMode::Disabled);
/// }
/// ```
#[derive(Clone)]
pub struct FilterHandle {
    filter: Arc<Filter>,
    requester: Requester,
}

impl fmt::Debug for FilterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt(f)
    }
}

/// What a filter has done with one kind of event since the engine was built.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EventFigures {
    /// The number of events.
    pub calls: u64,
    /// The events that it refused. In shadow mode, that it would have refused.
    pub refusals: u64,
    /// The events on which it failed: errors, panics, exceeded time budgets and actors that did not answer.
    pub failures: u64,
    /// The failures by an exceeded time budget.
    pub timeouts: u64,
    /// The failures after which the event continued ([`ErrorPolicy::Bypass`]).
    pub bypassed: u64,
    /// The events that it would have changed or stopped in shadow mode.
    pub differences: u64,
    /// The time that all events together have waited for it.
    pub duration: Duration,
}

impl From<&FilterFigures> for EventFigures {
    fn from(figures: &FilterFigures) -> Self {
        let (refusals, failures) = (figures.refusals.get(), figures.failures.get());
        Self {
            calls: figures.continued.get() + refusals + failures,
            refusals,
            failures,
            timeouts: figures.timeouts.get(),
            bypassed: figures.bypassed.get(),
            differences: figures.differences.get(),
            duration: Duration::from_secs_f64(figures.duration.snapshot().sum),
        }
    }
}

impl FilterHandle {
    pub(crate) fn new(filter: &Arc<Filter>, requester: Requester) -> Self {
        Self { filter: Arc::clone(filter), requester }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.filter.name
    }

    /// The hub that the filter belongs to; `None` if it runs on all hubs.
    #[must_use]
    pub fn hub(&self) -> Option<&HubName> {
        self.filter.hub.as_ref()
    }

    /// The events that the filter handles.
    #[must_use]
    pub fn events(&self) -> Events {
        self.filter.events
    }

    /// The maximum time that an event waits for the filter.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.filter.budget
    }

    /// What happens if the filter fails.
    #[must_use]
    pub fn policy(&self) -> ErrorPolicy {
        self.filter.policy
    }

    /// The present mode.
    #[must_use]
    pub fn mode(&self) -> FilterMode {
        self.filter.mode()
    }

    /// Changes the mode. It applies to events that reach the filter afterwards, and until the process ends. The change
    /// is logged with the target `hubcast::audit`. Returns the previous mode.
    pub fn set_mode(&self, mode: FilterMode) -> FilterMode {
        let previous = self.mode();
        self.filter.set_mode(mode);
        let subject = [("filter", self.name()), ("mode", mode.name())];
        self.requester.audit("set filter mode", &subject, &Ok::<_, HubError>(previous), |previous| {
            format!("was {}", previous.name())
        });
        previous
    }

    /// A handle whose changes are logged as requested by `name`, such as the name of an operator. Default `application`.
    #[must_use]
    pub fn acting_as(&self, name: &str) -> Self {
        Self { requester: Requester::named(name), ..self.clone() }
    }

    /// The figures of all events, for metrics.
    pub(crate) fn samples(&self) -> impl Iterator<Item = FilterSample> {
        self.events().iter().map(|kind| self.filter.figures(kind).sample(self.name(), kind.name()))
    }

    /// What the filter has done with this kind of event.
    #[must_use]
    pub fn figures(&self, kind: EventKind) -> EventFigures {
        self.filter.figures(kind).into()
    }
}
