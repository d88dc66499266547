//! Tests of the declarations and of their export.

use std::time::Duration;

use super::{
    openmetrics::parser::{Exposition, parse},
    *,
};

fn state() -> EngineState {
    EngineState {
        version: "1.2.3",
        node: "test".into(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        is_draining: true,
        connections: BTreeMap::from([(("classic", "longPolling"), 2), (("aspnetcore", "WebSockets"), 5)]),
        users: 3,
        groups: 4,
        hub_tasks: 1,
        backlog_messages: 10,
        backlog_bytes: 2_000,
        largest_backlog_bytes: 1_500,
        restarts: [("groups", 1), ("membership", 0), ("pipeline", 0), ("reconciler", 0)],
        filters: vec![FilterFigures::default().sample("audit", "before_invoke")],
    }
}

fn export(metrics: &Metrics) -> Exposition {
    parse(&openmetrics::encode(metrics.families(&state())))
}

#[test]
fn counter_is_listed_under_its_name() {
    let metrics = Metrics::default();
    metrics.gaps.increment();
    metrics.gaps.add(2);
    assert!(metrics.list().contains(&("gaps", 3)));
}

#[test]
fn counters_of_one_kind_differ_in_a_label() {
    let metrics = Metrics::default();
    metrics.rejoins_accepted.add(7);
    metrics.rejoins_forged.increment();
    metrics.connections_evicted.add(3);
    let exported = export(&metrics);
    for (sample, value) in [
        (r#"hubcast_rejoins_total{outcome="accepted"}"#, 7.0),
        (r#"hubcast_rejoins_total{outcome="forged"}"#, 1.0),
        (r#"hubcast_rejoins_total{outcome="expired"}"#, 0.0),
        (r#"hubcast_connections_terminated_total{reason="too_slow"}"#, 3.0),
        ("hubcast_invocations_total", 0.0),
    ] {
        assert_eq!(exported.value(sample), Some(value), "{sample}");
    }
}

#[test]
fn every_counter_is_exported_once() {
    let metrics = Metrics::default();
    let families = metrics.families(&state());
    let is_declared = |name: &str| name != "hubcast_actor_restarts" && !name.starts_with("hubcast_filter_");
    let samples = families.iter().filter(|family| is_declared(family.name));
    let counters =
        samples.flat_map(|family| &family.samples).filter(|sample| matches!(sample.value, Value::Counter(_)));
    assert_eq!(counters.count(), metrics.list().len());
}

#[test]
fn state_is_exported_as_gauges() {
    let exported = export(&Metrics::default());
    for (sample, value) in [
        (r#"hubcast_build_info{version="1.2.3",node="test"}"#, 1.0),
        ("hubcast_start_time_seconds", 1_700_000_000.0),
        ("hubcast_draining", 1.0),
        (r#"signalr_server_active_connections{hubcast_dialect="aspnetcore",signalr_transport="web_sockets"}"#, 5.0),
        (r#"signalr_server_active_connections{hubcast_dialect="classic",signalr_transport="long_polling"}"#, 2.0),
        ("hubcast_users", 3.0),
        ("hubcast_groups", 4.0),
        ("hubcast_hub_tasks", 1.0),
        ("hubcast_backlog_messages", 10.0),
        ("hubcast_backlog_bytes", 2_000.0),
        ("hubcast_largest_backlog_bytes", 1_500.0),
        (r#"hubcast_actor_restarts_total{actor="groups"}"#, 1.0),
    ] {
        assert_eq!(exported.value(sample), Some(value), "{sample}");
    }
}

#[test]
fn connection_duration_has_the_labels_of_dotnet() {
    let metrics = Metrics::default();
    let durations = &metrics.durations;
    durations.connections("webSockets", ConnectionStatus::AppShutdown).record(Duration::from_secs(4));
    durations.connections("WebSockets", ConnectionStatus::AppShutdown).record(Duration::from_secs(20));
    durations.connections("carrierPigeon", ConnectionStatus::Timeout).record(Duration::from_secs(100_000));
    let exported = export(&metrics);
    let name = "signalr_server_connection_duration_seconds";
    let labels = r#"signalr_connection_status="app_shutdown",signalr_transport="web_sockets""#;
    assert_eq!(exported.value(&format!("{name}_count{{{labels}}}")), Some(2.0));
    assert_eq!(exported.value(&format!("{name}_sum{{{labels}}}")), Some(24.0));
    assert_eq!(exported.sum(&format!("{name}_count"), r#"signalr_transport="other""#), 1.0);
    assert_eq!(exported.sum(&format!("{name}_count"), r#"signalr_transport="long_polling""#), 0.0);
}

#[test]
fn operations_page_lists_every_metric() {
    let metrics = Metrics::default();
    metrics.durations.connections("webSockets", ConnectionStatus::Timeout).record(Duration::ZERO);
    let exported = export(&metrics);
    let labels = exported.labels();
    let row = |(name, kind): (&String, &String)| {
        let shown = if kind == "counter" { format!("{name}_total") } else { name.clone() };
        let shown = if kind == "info" { format!("{name}_info") } else { shown };
        let labels: Vec<_> = labels[name].iter().map(|label| format!("`{label}`")).collect();
        format!("| `{shown}` | {kind} | {} |", if labels.is_empty() { "none".into() } else { labels.join(", ") })
    };
    let mut expected: Vec<_> = exported.types.iter().map(row).collect();
    expected.sort();
    let page = include_str!("../../docs/operations.md").split("\n## Metrics\n").nth(1).expect("a section on metrics");
    let page = page.split("\n## ").next().unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    // A list instead of a set, so that a row that is there twice is a fault.
    let mut documented: Vec<_> =
        rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|").collect();
    documented.sort();
    assert_eq!(documented, expected);
}
