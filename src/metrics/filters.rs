//! The figures of filters.

use prometheus_client::{metrics::MetricType, registry::Unit};

use super::{Counter, Family, Histogram, HistogramSnapshot, Value};

/// The upper bounds of the buckets for calls of filters, in seconds: from a check in memory to the default time budget.
const FILTER_BOUNDS: &[f64] = &[0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0];

/// What one filter has done with one kind of event.
#[derive(Debug)]
pub(crate) struct FilterFigures {
    /// Events that it let pass.
    pub(crate) continued: Counter,
    /// Events that it refused, in shadow mode too.
    pub(crate) refusals: Counter,
    /// Events on which it failed, for any reason.
    pub(crate) failures: Counter,
    /// Failures by an exceeded time budget.
    pub(crate) timeouts: Counter,
    /// Failures after which the event continued.
    pub(crate) bypassed: Counter,
    /// Events that it would have changed or stopped in shadow mode.
    pub(crate) differences: Counter,
    /// The time that events waited for it.
    pub(crate) duration: Histogram,
}

impl Default for FilterFigures {
    fn default() -> Self {
        Self {
            continued: Counter::default(),
            refusals: Counter::default(),
            failures: Counter::default(),
            timeouts: Counter::default(),
            bypassed: Counter::default(),
            differences: Counter::default(),
            duration: Histogram::new(FILTER_BOUNDS),
        }
    }
}

/// The figures at one moment, with their labels.
#[derive(Debug)]
pub(crate) struct FilterSample {
    filter: String,
    event: &'static str,
    /// The number of events by outcome.
    outcomes: [(&'static str, u64); 3],
    timeouts: u64,
    bypassed: u64,
    differences: u64,
    duration: HistogramSnapshot,
}

impl FilterFigures {
    pub(crate) fn sample(&self, filter: &str, event: &'static str) -> FilterSample {
        let outcomes = [("continued", &self.continued), ("refused", &self.refusals), ("failed", &self.failures)];
        FilterSample {
            filter: filter.to_owned(),
            event,
            outcomes: outcomes.map(|(outcome, counter)| (outcome, counter.get())),
            timeouts: self.timeouts.get(),
            bypassed: self.bypassed.get(),
            differences: self.differences.get(),
            duration: self.duration.snapshot(),
        }
    }
}

/// The metrics of all filters. Their labels are names that the application gives, so their number is bounded.
pub(super) fn families(samples: &[FilterSample]) -> Vec<Family> {
    let counter = |name, help| Family::new(name, help, MetricType::Counter);
    let mut events = counter("hubcast_filter_events", "Events that reached a filter, by outcome.");
    let mut timeouts = counter("hubcast_filter_timeouts", "Failures of filters by an exceeded time budget.");
    let mut bypassed = counter("hubcast_filter_bypassed", "Failures of filters after which the event continued.");
    let mut differences =
        counter("hubcast_filter_differences", "Events that a filter would have changed or stopped in shadow mode.");
    let mut duration =
        Family::new("hubcast_filter_duration", "The time that events waited for a filter.", MetricType::Histogram)
            .in_unit(Unit::Seconds);
    for sample in samples {
        let labels = [("filter", &*sample.filter), ("event", sample.event)];
        for (outcome, count) in sample.outcomes {
            events = events.with(&[labels[0], labels[1], ("outcome", outcome)], Value::Counter(count));
        }
        timeouts = timeouts.with(&labels, Value::Counter(sample.timeouts));
        bypassed = bypassed.with(&labels, Value::Counter(sample.bypassed));
        differences = differences.with(&labels, Value::Counter(sample.differences));
        duration = duration.with(&labels, Value::Histogram(sample.duration.clone()));
    }
    vec![duration, events, timeouts, bypassed, differences]
}
