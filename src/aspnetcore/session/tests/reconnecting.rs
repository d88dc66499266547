//! Stateful reconnect: counting, acknowledgements, resumed and abandoned connections.

use super::*;

const HANDSHAKE_2: &str = "{\"protocol\":\"json\",\"version\":2}\u{1e}";

fn negotiated() -> TestSession {
    TestSession::with_config(SessionConfig { can_reconnect: true, wants_tokens: false, ..config(Settings::default()) })
}

/// An open session with stateful reconnect.
fn stateful() -> TestSession {
    let mut session = negotiated();
    session.send_text(HANDSHAKE_2);
    session.on(Event::Connected(Ok(())));
    session
}

impl TestSession {
    /// The client loses its WebSocket and opens another one.
    fn reconnect(&mut self) -> String {
        assert_eq!(self.on(Event::Detached), "");
        self.attach(Transport::WebSockets, None)
    }

    /// Sends a call that returns at once, and returns whether it was run.
    fn runs(&mut self, id: &str) -> bool {
        let described = self.send_text(&call(id, "Known"));
        if described.is_empty() {
            return false;
        }
        self.finish_call(Ok("null"));
        true
    }
}

#[test]
fn version_2_confirms_stateful_reconnect() {
    let kept = "send {} | keep 100000 | restore groups";
    assert_eq!(negotiated().send_text(HANDSHAKE_2), kept);
    assert_eq!(negotiated().send_text(HANDSHAKE), "send {} | restore groups");
    let not_negotiated = SessionConfig { wants_tokens: false, ..config(Settings::default()) };
    assert_eq!(TestSession::with_config(not_negotiated).send_text(HANDSHAKE_2), "send {} | restore groups");
}

#[test]
fn received_messages_are_acknowledged_within_a_second() {
    let mut session = stateful();
    assert!(session.runs("1") && session.runs("2"));
    session.send_text(PING);
    assert_eq!(session.advance(Duration::from_millis(900)), "");
    assert!(session.runs("3"));
    assert_eq!(session.advance(Duration::from_millis(100)), "send {\"type\":8,\"sequenceId\":3}");
    assert_eq!(session.advance(seconds(5)), "", "nothing new was received");
}

#[test]
fn lost_websocket_can_be_replaced() {
    let mut session = stateful();
    session.send_text("{\"type\":1,\"target\":\"cut sho");
    assert_eq!(session.reconnect(), "reconnected | send sequence");
    assert_eq!(session.phase(), "open");
    assert!(session.runs("1"), "the client sends an incomplete message again");
}

#[test]
fn messages_behind_a_queued_call_are_sent_again() {
    let mut session = stateful();
    session.send_text(&[call("1", "Known"), call("2", "Known"), call("3", "Known")].concat());
    session.send_text("{\"type\":1,\"target\":\"cut sho");
    assert_eq!(session.reconnect(), "reconnected | send sequence");
    let again = ["{\"type\":9,\"sequenceId\":1}\u{1e}", &call("1", "Known"), &call("2", "Known"), &call("3", "Known")];
    assert_eq!(session.send_text(&again.concat()), "", "the second call waits for the first");
    assert_eq!(session.finish_call(Ok("1")), r#"send {"type":3,"invocationId":"1","result":1} | call Known()"#);
    assert_eq!(session.finish_call(Ok("2")), r#"send {"type":3,"invocationId":"2","result":2} | call Known()"#);
    assert_eq!(session.finish_call(Ok("3")), r#"send {"type":3,"invocationId":"3","result":3}"#);
}

#[test]
fn repeated_messages_are_dropped() {
    let mut session = stateful();
    assert!(session.runs("1") && session.runs("2"));
    session.reconnect();
    session.send_text("{\"type\":9,\"sequenceId\":2}\u{1e}");
    assert!(!session.runs("2") && session.runs("3"));
}

#[test]
fn acknowledged_messages_are_not_expected_again() {
    let mut session = stateful();
    assert!(session.runs("1") && session.runs("2") && session.runs("3"));
    session.reconnect();
    session.send_text("{\"type\":9,\"sequenceId\":1}\u{1e}");
    assert_eq!(session.advance(seconds(1)), "send {\"type\":8,\"sequenceId\":3}");
    session.reconnect();
    assert_eq!(session.send_text("{\"type\":9,\"sequenceId\":4}\u{1e}"), "");
    assert!(session.runs("4"));
}

/// Otherwise a client that waits for acknowledgements before it sends more would wait forever.
#[test]
fn lost_acknowledgement_is_repeated() {
    let mut session = stateful();
    assert!(session.runs("1") && session.runs("2"));
    assert_eq!(session.advance(seconds(1)), "send {\"type\":8,\"sequenceId\":2}");
    session.reconnect();
    session.send_text("{\"type\":9,\"sequenceId\":1}\u{1e}");
    assert!(!session.runs("1") && !session.runs("2"));
    assert_eq!(session.advance(seconds(1)), "send {\"type\":8,\"sequenceId\":2}");
    assert_eq!(session.advance(seconds(5)), "", "nothing was sent again");
}

#[test]
fn sequence_without_reconnect_changes_nothing() {
    let mut session = stateful();
    assert!(session.runs("1"));
    for id in [-1, 0, 1, 2] {
        assert_eq!(session.send_text(&format!("{{\"type\":9,\"sequenceId\":{id}}}\u{1e}")), "");
    }
    assert!(session.runs("2"));
}

#[test]
fn sequence_ahead_is_fatal() {
    let text = "Sequence ID greater than amount of messages we've received.";
    let mut session = stateful();
    assert!(session.runs("1"));
    let ended = session.send_text("{\"type\":9,\"sequenceId\":3}\u{1e}");
    assert!(ended.ends_with(&format!("end Faulted 1000 of InvalidOperationException: {text}")), "{ended}");
}

#[test]
fn acknowledgements_of_the_client_are_passed_on() {
    let mut session = stateful();
    assert_eq!(session.send_text("{\"type\":8,\"sequenceId\":7}\u{1e}"), "acknowledge 7");
    assert_eq!(session.send_text("{\"type\":8,\"sequenceId\":-7}\u{1e}"), "");
    let mut other = TestSession::open(Settings::default());
    assert_eq!(other.send_text("{\"type\":8,\"sequenceId\":7}\u{1e}"), "");
}

#[test]
fn acknowledgements_do_not_wait_for_calls() {
    let ack = |number: u8| format!("{{\"type\":8,\"sequenceId\":{number}}}\u{1e}");
    let mut session = negotiated();
    session.send_text(HANDSHAKE_2);
    assert_eq!(session.send_text(&[call("1", "Known"), ack(1)].concat()), "acknowledge 1", "OnConnected runs");
    assert_eq!(session.on(Event::Connected(Ok(()))), "call Known() | acknowledge 1");
    session.send_text(&call("2", "Known"));
    assert_eq!(session.send_text(&[ack(2), call("3", "Known"), ack(3)].concat()), "acknowledge 2 | acknowledge 3");
    assert_eq!(session.send_text(&ack(4)), "acknowledge 4");
}

#[test]
fn queued_messages_of_client_do_not_keep_its_acknowledgements_away() {
    let buffered = Settings::default().reconnect_buffer;
    let item = format!("{{\"type\":1,\"target\":\"Known\",\"arguments\":[{}]}}\u{1e}", "1".repeat(1000));
    let mut session = stateful();
    session.send_text(&[call("1", "Known"), call("2", "Known")].concat());
    for _ in 0..buffered / item.len() {
        assert!(!session.inner.is_saturated());
        session.send_text(&item);
    }
    session.send_text(&item.repeat(100));
    assert!(session.inner.is_saturated());
}

#[test]
fn absent_client_gets_neither_pings_nor_timeouts() {
    let mut session = stateful();
    session.send_text(PING);
    session.on(Event::Detached);
    assert_eq!(session.advance(seconds(60)), "");
    assert_eq!(session.attach(Transport::WebSockets, None), "reconnected | send sequence");
    assert_eq!(session.advance(seconds(15)), "send {\"type\":6}");
}

#[test]
fn closing_or_staying_away_ends_the_connection() {
    assert_eq!(stateful().on(Event::Closed), "end Lost 1000");
    let mut away = stateful();
    away.on(Event::Detached);
    assert_eq!(away.inner.time_without_channel(Some(Transport::WebSockets)), Some(seconds(15)));
    assert_eq!(away.on(Event::Abandoned), "end Lost 1000");
}

#[test]
fn handshake_may_follow_on_the_second_websocket() {
    let mut session = negotiated();
    session.send_text("{\"protocol\":");
    assert_eq!(session.reconnect(), "");
    assert_eq!(session.send_text(HANDSHAKE_2), "send {} | keep 100000 | restore groups");
}

#[test]
fn older_version_ends_with_its_websocket() {
    let mut session = negotiated();
    session.send_text(HANDSHAKE);
    session.on(Event::Connected(Ok(())));
    assert_eq!(session.on(Event::Detached), "end Lost 1000");
}
