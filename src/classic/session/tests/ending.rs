//! The end of connections, which happens once.

use tokio::sync::oneshot;

use super::*;
use crate::connections::Reconnect;

const DISCONNECT_COMMAND: &str = r#"init "D":1,"E":"The server has closed the connection.""#;

#[test]
fn abort_request_ends_the_connection() {
    let mut test = TestSession::open();
    assert_eq!(test.on(Event::Request(Request::Abort)), ["end Stopped 1000"]);
    assert_eq!((test.session.phase(), test.until_deadline()), ("ended", None));
}

#[test]
fn events_after_the_end_are_ignored() {
    let mut test = TestSession::open();
    test.receive_text(r#"{"H":"chat","M":"Add","I":0}"#);
    test.on(Event::Request(Request::Abort));
    assert!(test.complete_call(Ok(json(5))).is_empty());
    for event in [
        Event::Tick,
        Event::Detached,
        Event::Aborted(Reconnect::Deny),
        Event::Draining,
        Event::Overflowed,
        Event::Stalled,
    ] {
        assert!(test.on(event).is_empty());
    }
    assert!(test.receive_text(r#"{"H":"chat","M":"Add","I":1}"#).is_empty());
    assert_eq!(test.session.deadline(), None);
}

#[test]
fn end_drops_waiting_start_requests() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::LongPolling, ConnectKind::Connect);
    let (_, mut response) = test.start();
    test.on(Event::Request(Request::Abort));
    assert_eq!(response.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn hub_abort_sends_the_disconnect_command() {
    let mut test = TestSession::open();
    let effects = ["record abort", DISCONNECT_COMMAND, "end Aborted 1000"];
    assert_eq!(test.on(Event::Aborted(Reconnect::Deny)), effects, "the command may not reach the client");
}

#[test]
fn abort_between_polls_is_delivered_on_next_poll() {
    let mut away = TestSession::open();
    away.on(Event::Detached);
    assert_eq!(away.on(Event::Aborted(Reconnect::Deny)), ["record abort", DISCONNECT_COMMAND, "end Aborted 1000"]);
    for connect_kind in [ConnectKind::Other, ConnectKind::Reconnect, ConnectKind::Connect] {
        let mut back = TestSession::begin(Settings::default(), true);
        let (effects, mut response) = back.start();
        assert!(effects.is_empty());
        assert_eq!(response.try_recv(), Err(oneshot::error::TryRecvError::Closed), "it answers no request");
        assert_eq!(
            back.attach(Transport::LongPolling, connect_kind),
            [DISCONNECT_COMMAND, "end Aborted 1000"],
            "{connect_kind:?}: it is recorded already"
        );
    }
}

#[test]
fn draining_makes_polls_reconnect_at_once() {
    let mut polling = TestSession::open();
    polling.attach(Transport::LongPolling, ConnectKind::Other);
    assert_eq!(polling.on(Event::Draining), [r#"init "T":1"#, "end Drained 1000"]);
    assert_eq!(TestSession::open().on(Event::Draining), ["end Drained 1000"]);
    let mut away = TestSession::open();
    away.on(Event::Detached);
    assert_eq!(away.on(Event::Draining), ["end Drained 1000"]);
}

#[test]
fn disconnect_with_reconnect_is_no_abort() {
    let mut polling = TestSession::open();
    polling.attach(Transport::LongPolling, ConnectKind::Other);
    assert_eq!(polling.on(Event::Aborted(Reconnect::Allow)), [r#"init "T":1"#, "end Aborted 1000"]);
    assert_eq!(TestSession::open().on(Event::Aborted(Reconnect::Allow)), ["end Aborted 1000"]);
    let mut away = TestSession::open();
    away.on(Event::Detached);
    assert_eq!(away.on(Event::Aborted(Reconnect::Allow)), ["end Aborted 1000"]);
}

#[test]
fn overflow_ends_the_connection() {
    for event in [Event::Overflowed, Event::Stalled] {
        assert_eq!(TestSession::open().on(event), ["end TooSlow 1008"]);
    }
}

#[test]
fn connection_ends_when_credentials_of_its_channel_expire() {
    for (transport, connect_kind, end) in [
        (Transport::WebSockets, ConnectKind::Reconnect, &["end Expired 1000"][..]),
        (Transport::LongPolling, ConnectKind::Other, &["init \"T\":1", "end Expired 1000"]),
    ] {
        let mut test = TestSession::open();
        let expires = Some(test.now + seconds(5));
        let mut channel = test.channel(transport, connect_kind);
        channel.request.expires = expires;
        test.attached(channel);
        assert_eq!(test.until_deadline(), Some(seconds(5)));
        assert_eq!(test.advance(seconds(4)), [""; 0]);
        assert_eq!(test.advance(seconds(1)), end);
    }
}

#[test]
fn channel_with_newer_credentials_extends_the_connection() {
    let mut test = TestSession::open();
    for remaining in [5, 8] {
        let expires = Some(test.now + seconds(remaining));
        let mut channel = test.channel(Transport::WebSockets, ConnectKind::Reconnect);
        channel.request.expires = expires;
        test.attached(channel);
    }
    assert_eq!(test.advance(seconds(7)), [""; 0]);
    assert_eq!(test.advance(seconds(1)), ["end Expired 1000"]);
}
