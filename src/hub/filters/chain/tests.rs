//! Tests of chains with a paused clock.

use std::{
    future::pending,
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::{
    hub::{
        Requester, Users,
        filters::{AfterSend, BeforeSend, Decision, HubFilter, Recipients, RejoiningGroups, on},
        tests::services,
    },
    ids::ConnectionSet,
    message::Invocation,
};

/// The names that filters were called in.
type Calls = Arc<Mutex<Vec<&'static str>>>;

fn record(calls: &Calls, name: &'static str) {
    calls.lock().unwrap_or_else(PoisonError::into_inner).push(name);
}

/// Adds its name to the groups.
fn adds(name: &'static str) -> impl HubFilter {
    on(move |mut event: RejoiningGroups| async move {
        event.groups.push(name.into());
        Ok(event)
    })
}

fn refuses() -> impl HubFilter {
    on(|_: RejoiningGroups| async { Err(FilterError::refuse("not today")) })
}

fn fails() -> impl HubFilter {
    on(|_: RejoiningGroups| async { Err(std::io::Error::other("no database").into()) })
}

fn panics() -> impl HubFilter {
    on(|_: RejoiningGroups| -> std::future::Ready<Decision<RejoiningGroups>> {
        panic!("the panic that the test expects")
    })
}

fn hangs() -> impl HubFilter {
    on(|_: RejoiningGroups| pending::<Decision<RejoiningGroups>>())
}

fn filter(filter: impl HubFilter) -> Arc<Filter> {
    filter_with(FilterOptions::default(), filter)
}

fn filter_with(options: FilterOptions, filter: impl HubFilter) -> Arc<Filter> {
    Arc::new(Filter::new("f".into(), None, Arc::new(filter), &options, Arc::default()))
}

fn bypass() -> FilterOptions {
    FilterOptions { policy: ErrorPolicy::Bypass, ..FilterOptions::default() }
}

fn shadow() -> FilterOptions {
    FilterOptions { mode: FilterMode::Shadow, ..FilterOptions::default() }
}

fn chain(filters: &[Arc<Filter>]) -> Arc<Chain> {
    Chain::new(filters.to_vec()).expect("filters")
}

fn rejoining() -> RejoiningGroups {
    RejoiningGroups {
        hub: "chat".into(),
        connection: "1".into(),
        user: None,
        groups: vec!["lobby".into()],
        users: Users::new(&services(Vec::new()), &"chat".into(), &Requester::application()),
    }
}

/// The groups that a rejoin ends with.
async fn decided(filters: &[Arc<Filter>]) -> Result<Vec<String>, Stopped> {
    let decided = chain(filters).decide(rejoining()).await?;
    Ok(decided.groups.iter().map(ToString::to_string).collect())
}

fn figures(filter: &Filter) -> super::super::EventFigures {
    filter.figures(EventKind::RejoiningGroups).into()
}

#[actix::test]
async fn each_filter_sees_what_earlier_ones_changed() {
    tokio::time::pause();
    assert_eq!(decided(&[filter(adds("a")), filter(adds("b"))]).await.expect("no refusal"), ["lobby", "a", "b"]);
}

#[actix::test]
async fn refusal_stops_the_event() {
    tokio::time::pause();
    let (refusing, later) = (filter_with(bypass(), refuses()), filter(adds("a")));
    let stopped = decided(&[Arc::clone(&refusing), Arc::clone(&later)]).await.expect_err("a refusal");
    assert_eq!((stopped.is_refusal, stopped.error.message()), (true, "not today"));
    assert_eq!((figures(&refusing).calls, figures(&refusing).refusals, figures(&later).calls), (1, 1, 0));
}

#[actix::test]
async fn failure_stops_the_event_unless_bypassed() {
    tokio::time::pause();
    for (failing, timeouts) in [(filter(fails()), 0), (filter(panics()), 0), (filter(hangs()), 1)] {
        let stopped = decided(&[Arc::clone(&failing)]).await.expect_err("a failure");
        assert!(!stopped.is_refusal && !stopped.error.is_shown(), "clients do not read the cause");
        let found = figures(&failing);
        assert_eq!((found.calls, found.failures, found.timeouts, found.bypassed), (1, 1, timeouts, 0));
    }
    for failing in [filter_with(bypass(), fails()), filter_with(bypass(), panics()), filter_with(bypass(), hangs())] {
        assert_eq!(decided(&[filter(adds("a")), Arc::clone(&failing)]).await.expect("bypassed"), ["lobby", "a"]);
        assert_eq!((figures(&failing).failures, figures(&failing).bypassed), (1, 1));
    }
}

#[actix::test]
async fn event_waits_for_a_filter_no_longer_than_its_budget() {
    tokio::time::pause();
    let hanging = filter_with(FilterOptions { budget: Duration::from_millis(300), ..bypass() }, hangs());
    let started = Instant::now();
    decided(&[Arc::clone(&hanging)]).await.expect("bypassed");
    // The timer rounds up to a millisecond.
    for duration in [started.elapsed(), figures(&hanging).duration] {
        assert!((300..=301).contains(&duration.as_millis()), "{duration:?}");
    }
}

#[actix::test]
async fn panics_are_counted_as_those_of_hubs() {
    tokio::time::pause();
    let panicking = filter(panics());
    decided(&[Arc::clone(&panicking)]).await.expect_err("a failure");
    assert_eq!(panicking.metrics.hub_panics.get(), 1);
}

#[actix::test]
async fn shadow_decisions_are_counted_and_ignored() {
    tokio::time::pause();
    let same = on(|event: RejoiningGroups| async { Ok(event) });
    for (shadowed, differences) in [
        (filter_with(shadow(), adds("a")), 1),
        (filter_with(shadow(), refuses()), 1),
        (filter_with(shadow(), hangs()), 1),
        (filter_with(shadow(), same), 0),
    ] {
        assert_eq!(decided(&[Arc::clone(&shadowed)]).await.expect("a shadow stops nothing"), ["lobby"]);
        assert_eq!((figures(&shadowed).calls, figures(&shadowed).differences), (1, differences));
    }
}

#[actix::test]
async fn mode_changes_apply_to_the_next_event() {
    tokio::time::pause();
    let refusing = filter(refuses());
    refusing.set_mode(FilterMode::Disabled);
    assert_eq!(decided(&[Arc::clone(&refusing)]).await.expect("a disabled filter"), ["lobby"]);
    assert_eq!(figures(&refusing).calls, 0);
    refusing.set_mode(FilterMode::Enabled);
    decided(&[refusing]).await.expect_err("a refusal");
}

#[tokio::test(start_paused = true)]
async fn filters_after_an_event_run_in_the_opposite_order() {
    let calls = Calls::default();
    let observes = |name: &'static str| {
        let calls = Arc::clone(&calls);
        filter(on(move |_: AfterSend| {
            record(&calls, name);
            async { Ok(()) }
        }))
    };
    let invocation = Invocation::new(&"chat".into(), "m", &()).expect("arguments");
    let (recipients, except) = (Recipients::All, ConnectionSet::default());
    let sent = Arc::new(BeforeSend { sender: None, recipients, except, invocation });
    chain(&[observes("first"), filter(refuses()), observes("last")]).observe(AfterSend { sent, reached: 0 }).await;
    assert_eq!(*calls.lock().unwrap_or_else(PoisonError::into_inner), ["last", "first"]);
}

#[test]
fn chain_knows_the_events_of_its_filters() {
    let chain = chain(&[filter(refuses())]);
    assert!(chain.handles(EventKind::RejoiningGroups) && !chain.handles(EventKind::BeforeSend));
    assert!(Chain::new(Vec::new()).is_none());
}
