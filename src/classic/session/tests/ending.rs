//! How connections end, each once.

use tokio::sync::oneshot;

use super::*;

const DISMISSAL: &str = r#"open "D":1,"E":"The server has closed the connection.""#;

#[test]
fn a_client_that_says_good_bye_is_gone() {
    let mut bench = Bench::open();
    let out = bench.session.stopped();
    assert_eq!(bench.words(out), ["end Stopped 1000"]);
    assert_eq!((bench.session.phase(), bench.rests()), ("ended", None));
}

#[test]
fn a_good_bye_between_two_polls_leaves_nothing_to_wait_for() {
    let mut bench = Bench::open();
    bench.on(Event::Detached);
    let out = bench.session.stopped();
    assert_eq!(bench.words(out), ["end Stopped 1000", "cut"]);
}

#[test]
fn what_comes_after_the_end_has_no_effect() {
    let mut bench = Bench::open();
    bench.hear(r#"{"H":"chat","M":"Add","I":0}"#);
    bench.session.stopped();
    assert!(bench.return_(Ok(json(5))).is_empty());
    for event in [Event::Tick, Event::Detached, Event::Aborted, Event::Draining, Event::Overflowed] {
        assert!(bench.on(event).is_empty());
    }
    assert!(bench.hear(r#"{"H":"chat","M":"Add","I":1}"#).is_empty());
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn whoever_waits_for_on_connected_is_not_kept_waiting_by_the_end() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::LongPolling, ConnectKind::Connect);
    let (_, mut answer) = bench.start();
    bench.session.stopped();
    assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn whom_a_hub_dismisses_is_told_so_in_all_the_words_there_were() {
    let mut bench = Bench::open();
    assert_eq!(bench.on(Event::Aborted), [DISMISSAL, "end Aborted 1000"]);
    assert_eq!(bench.dismissals.load(Ordering::Relaxed), 0);
}

#[test]
fn whom_a_hub_dismisses_between_two_polls_is_told_so_at_the_next() {
    let mut away = Bench::open();
    away.on(Event::Detached);
    assert_eq!(away.on(Event::Aborted), [DISMISSAL, "end Aborted 1000", "cut"]);
    assert_eq!(away.dismissals.load(Ordering::Relaxed), 1);
    for arrival in [ConnectKind::Other, ConnectKind::Reconnect, ConnectKind::Connect] {
        let mut back = Bench::begin(Settings::default(), true);
        assert_eq!(back.attach(Transport::LongPolling, arrival), [DISMISSAL, "end Aborted 1000"], "{arrival:?}");
    }
}

#[test]
fn a_process_that_ends_tells_polls_to_come_back_at_once() {
    let mut polling = Bench::open();
    polling.attach(Transport::LongPolling, ConnectKind::Other);
    assert_eq!(polling.on(Event::Draining), [r#"open "T":1"#, "end Drained 1000"]);
    assert_eq!(Bench::open().on(Event::Draining), ["end Drained 1000"]);
    let mut away = Bench::open();
    away.on(Event::Detached);
    assert_eq!(away.on(Event::Draining), ["end Drained 1000", "cut"]);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    assert_eq!(Bench::open().on(Event::Overflowed), ["end TooSlow 1008"]);
}
