//! The OpenMetrics text format.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    registry::Registry,
};

use super::{Family, Sample, Value};

#[cfg(test)]
pub(crate) mod parser;

/// The content type of [`encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Encodes metrics as OpenMetrics text.
pub(crate) fn encode(families: Vec<Family>) -> String {
    let (mut registry, mut text) = (Registry::default(), String::new());
    registry.register_collector(Box::new(Families(families)));
    text::encode(&mut text, &registry).expect("a string accepts any text");
    text
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| encode_family(family, &mut encoder))
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Family { name, help, unit, kind, samples } = family;
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
    samples.iter().try_for_each(|sample| encode_sample(sample, &mut metric))
}

fn encode_sample(Sample { labels, value }: &Sample, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    if let Value::Info = value {
        return metric.encode_info(labels);
    }
    if labels.is_empty() {
        encode_value(value, metric)
    } else {
        encode_value(value, &mut metric.encode_family(labels)?)
    }
}

fn encode_value(value: &Value, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    match value {
        Value::Counter(count) => metric.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Gauge(value) => metric.encode_gauge(value),
        Value::Histogram(histogram) => {
            metric.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count(), &histogram.buckets, None)
        }
        Value::Info => Ok(()),
    }
}
