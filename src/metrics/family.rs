//! Metrics as they are exported: families of samples with labels.

use prometheus_client::{metrics::MetricType, registry::Unit};

use super::HistogramSnapshot;

/// Metrics of one name, which differ in the values of their labels.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) kind: MetricType,
    pub(crate) samples: Vec<Sample>,
}

/// One metric of a family.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// The value of a metric.
#[derive(Debug)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(i64),
    Histogram(HistogramSnapshot),
    /// All is in the labels.
    Info,
}

pub(super) fn gauge(value: impl TryInto<i64>) -> Value {
    Value::Gauge(value.try_into().unwrap_or(i64::MAX))
}

/// The label of a transport: `WebSockets` and `webSockets` are `web_sockets`, as in .NET.
pub(super) fn transport_label(wire_name: &str) -> String {
    let mut label = String::with_capacity(wire_name.len() + 2);
    for c in wire_name.chars() {
        if c.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(c.to_ascii_lowercase());
    }
    label
}

impl Family {
    pub(super) fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self { name, help, unit: None, kind, samples: Vec::new() }
    }

    pub(super) fn in_unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// A gauge without labels.
    pub(super) fn gauge(name: &'static str, help: &'static str, value: impl TryInto<i64>) -> Self {
        Self::new(name, help, MetricType::Gauge).with(&[], gauge(value))
    }

    /// Adds a metric.
    pub(super) fn with(mut self, labels: &[(&'static str, &str)], value: Value) -> Self {
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        self.samples.push(Sample { labels, value });
        self
    }
}
