//! A strict parser of OpenMetrics text, for tests. It panics on text that the specification does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// The metrics of a text.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The type of each family by its name.
    pub(crate) types: BTreeMap<String, String>,
    /// The value of each sample by its name and labels, such as `a_total{b="c"}`.
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// The value of a sample, with its labels as they are in the text.
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        self.samples.get(sample).copied()
    }

    /// The sum of the samples with this name and this label.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let matching = self.samples.iter().filter(|(sample, _)| {
            let (sample_name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            sample_name == name && labels.contains(label)
        });
        matching.map(|(_, value)| value).sum()
    }

    /// The names of the labels of each family, without `le`.
    pub(crate) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<_, _> = self.types.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
        for sample in self.samples.keys() {
            let (name, text) = sample.split_once('{').unwrap_or((sample, ""));
            let family = self.family_of(name);
            let names = parse_labels(text.trim_end_matches('}')).into_iter().map(|(name, _)| name);
            labels.entry(family).or_default().extend(names.filter(|name| name != "le"));
        }
        labels
    }

    fn family_of(&self, sample: &str) -> String {
        let is_family_of = |(name, kind): &(&String, &String)| {
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum"],
                kind => panic!("unknown type {kind}"),
            };
            suffixes.iter().any(|suffix| sample.strip_suffix(suffix) == Some(name))
        };
        let family = self.types.iter().find(is_family_of);
        family.unwrap_or_else(|| panic!("`{sample}` has no `# TYPE`, or the wrong suffix")).0.clone()
    }
}

/// Parses a text.
pub(crate) fn parse(text: &str) -> Exposition {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with `# EOF`");
    let (mut exposition, mut current) = (Exposition::default(), String::new());
    for line in body.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            parse_metadata(metadata, &mut exposition, &mut current);
        } else {
            parse_sample(line, &mut exposition, &current);
        }
    }
    check_histograms(&exposition);
    exposition
}

fn parse_metadata(metadata: &str, exposition: &mut Exposition, current: &mut String) {
    let mut parts = metadata.splitn(3, ' ');
    let (keyword, name, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    assert!(is_name(name), "{name}");
    match keyword {
        "HELP" => {
            assert!(!exposition.types.contains_key(name), "`{name}` appears twice");
            assert!(!value.is_empty() && !value.contains(['\\', '"']), "{value}");
            name.clone_into(current);
        }
        "TYPE" => {
            assert_eq!(name, current, "`# TYPE` follows `# HELP`");
            exposition.types.insert(name.to_owned(), value.to_owned());
        }
        "UNIT" => assert!(name == current && name.ends_with(&format!("_{value}")), "{metadata}"),
        _ => panic!("unknown metadata: {metadata}"),
    }
}

fn parse_sample(line: &str, exposition: &mut Exposition, current: &str) {
    let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match sample.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end with }")),
        None => (sample, ""),
    };
    assert!(is_name(name), "{line}");
    assert_eq!(exposition.family_of(name), current, "samples of a family are together: {line}");
    let names: Vec<_> = parse_labels(labels).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a label appears once: {line}");
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    assert!(exposition.samples.insert(sample.to_owned(), value).is_none(), "appears twice: {line}");
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn parse_labels(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("not a label: {text}"));
        assert!(is_name(name), "{name}");
        let (value, rest) = rest.split_once('"').unwrap_or_else(|| panic!("no end of a label: {text}"));
        assert!(!value.contains('\\'), "the values of these metrics need no escapes: {value}");
        labels.push((name.to_owned(), value.to_owned()));
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

/// The buckets of a histogram are cumulative, and the last one is the count.
fn check_histograms(exposition: &Exposition) {
    let mut buckets = BTreeMap::<String, Vec<(f64, f64)>>::new();
    for (sample, count) in &exposition.samples {
        if let Some((name, labels)) = sample.split_once("_bucket{") {
            let (before, rest) = labels.split_once("le=\"").expect("a bucket has a bound");
            let (bound, after) = rest.split_once('"').unwrap();
            let others = format!("{before}{}", after.trim_start_matches(','));
            let others = others.trim_end_matches('}').trim_end_matches(',');
            let key = if others.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{others}}}") };
            buckets.entry(key).or_default().push((bound.parse().unwrap(), *count));
        }
    }
    for (key, mut buckets) in buckets {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{key}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, exposition.value(&key).unwrap())), "{key}");
    }
}
