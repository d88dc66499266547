//! Every state with every event that is possible in it, compared with the table in `transitions.txt`.

use super::*;
use crate::pipeline::{Losses, RejoinReport};

const STATES: [&str; 9] =
    ["handshake", "connecting", "connecting, client gone", "open", "busy", "blocked", "leaving", "faulted", "ended"];

const EVENTS: [&str; 23] = [
    "handshake",
    "call",
    "ping",
    "close",
    "close with error",
    "not JSON",
    "partial message",
    "too large",
    "tick",
    "connected",
    "refused",
    "refused, retryable",
    "returned",
    "detached",
    "overflowed",
    "stalled",
    "groups changed",
    "rejoined",
    "aborted",
    "disconnected",
    "draining",
    "restored",
    "reconnected",
];

/// A session in the named state.
fn in_state(state: &str) -> TestSession {
    let mut session = match state {
        "handshake" => return TestSession::new(Settings::default()),
        "connecting" | "connecting, client gone" => {
            let mut session = TestSession::new(Settings::default());
            session.send_text(HANDSHAKE);
            session
        }
        _ => TestSession::open(Settings::default()),
    };
    if matches!(state, "busy" | "blocked" | "leaving" | "faulted") {
        session.send_text(&call("1", "First"));
    }
    if matches!(state, "blocked" | "leaving") {
        session.send_text(&call("2", "Second"));
    }
    match state {
        "connecting, client gone" | "leaving" => session.on(Event::Detached),
        "faulted" => session.send_text("{}\u{1e}"),
        "ended" => session.on(Event::Aborted(Reconnect::Deny)),
        _ => String::new(),
    };
    session
}

fn is_possible(state: &str, event: &str) -> bool {
    match event {
        "connected" | "refused" | "refused, retryable" => {
            matches!(state, "connecting" | "connecting, client gone" | "ended")
        }
        "returned" => matches!(state, "busy" | "blocked" | "leaving" | "faulted"),
        "groups changed" | "rejoined" => state != "handshake",
        _ => true,
    }
}

fn apply(session: &mut TestSession, event: &str) -> String {
    match event {
        "handshake" => session.send_text(HANDSHAKE),
        "call" => session.send_text(&call("3", "Third")),
        "ping" => session.send_text(PING),
        "close" => session.send_text("{\"type\":7}\u{1e}"),
        "close with error" => session.send_text("{\"type\":7,\"error\":\"enough\"}\u{1e}"),
        "not JSON" => session.send_text("hello\u{1e}"),
        "partial message" => session.send_text("{\"type\":"),
        "too large" => session.receive(Inbound::TooLarge),
        "tick" => session.on(Event::Tick),
        "connected" => session.on(Event::Connected(Ok(()))),
        "refused" => session.on(connect_refused(false)),
        "refused, retryable" => session.on(connect_refused(true)),
        "returned" => session.finish_call(Ok("7")),
        "detached" => session.on(Event::Detached),
        "overflowed" => session.on(Event::Overflowed),
        "stalled" => session.on(Event::Stalled),
        "groups changed" => session.on(groups_changed()),
        "rejoined" => session.on(Event::Rejoined(RejoinReport::new(&["chat".into()], [], Losses::default()))),
        "aborted" => session.on(Event::Aborted(Reconnect::Deny)),
        "disconnected" => session.on(Event::Aborted(Reconnect::Allow)),
        "draining" => session.on(Event::Draining),
        "restored" => session.on(Event::Restored(Ok(()))),
        "reconnected" => session.on(Event::Reconnected(Ok(()))),
        _ => unreachable!("unknown event {event}"),
    }
}

fn transition(state: &str, event: &str) -> String {
    let mut session = in_state(state);
    let effects = apply(&mut session, event);
    let line = format!("{state} + {event}: {effects} -> {}", session.phase());
    line.replace(":  ->", ": ->")
}

#[test]
fn transitions_match_table() {
    let all = STATES.iter().flat_map(|state| EVENTS.iter().map(move |event| (state, event)));
    let possible = all.filter(|(state, event)| is_possible(state, event));
    let actual: Vec<_> = possible.map(|(state, event)| transition(state, event)).collect();
    let table: Vec<_> = include_str!("transitions.txt").lines().collect();
    for (actual, expected) in actual.iter().zip(&table) {
        assert_eq!(actual, expected);
    }
    assert_eq!(actual.len(), table.len(), "{}", actual.join("\n"));
}

#[test]
fn ended_session_has_no_effects_or_deadline() {
    for event in EVENTS.into_iter().filter(|event| is_possible("ended", event)) {
        let mut session = in_state("ended");
        assert_eq!(apply(&mut session, event), "", "{event}");
        assert_eq!(session.inner.deadline(), None, "{event}");
    }
}
