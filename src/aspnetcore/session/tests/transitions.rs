//! Every state with every event that can happen in it. The table is `transitions.txt`.

use super::*;

const STATES: [&str; 9] =
    ["handshake", "connecting", "deserted", "open", "busy", "blocked", "leaving", "faulted", "ended"];

const EVENTS: [&str; 20] = [
    "handshake",
    "call",
    "ping",
    "good-bye",
    "good-bye with an error",
    "not JSON",
    "half a message",
    "too large",
    "tick",
    "connected",
    "refused",
    "refused for now",
    "returned",
    "detached",
    "overflowed",
    "regrouped",
    "aborted",
    "draining",
    "restored",
    "reconnected",
];

/// A session in a state of that name.
fn in_state(state: &str) -> Rig {
    let mut rig = match state {
        "handshake" => return Rig::new(Settings::default()),
        "connecting" | "deserted" => {
            let mut rig = Rig::new(Settings::default());
            rig.say(HANDSHAKE);
            rig
        }
        _ => Rig::open(Settings::default()),
    };
    if matches!(state, "busy" | "blocked" | "leaving" | "faulted") {
        rig.say(&call("1", "First"));
    }
    if matches!(state, "blocked" | "leaving") {
        rig.say(&call("2", "Second"));
    }
    match state {
        "deserted" | "leaving" => rig.on(Event::Detached),
        "faulted" => rig.say("{}\u{1e}"),
        "ended" => rig.on(Event::Aborted),
        _ => String::new(),
    };
    rig
}

fn can_happen(state: &str, event: &str) -> bool {
    match event {
        "connected" | "refused" | "refused for now" => matches!(state, "connecting" | "deserted" | "ended"),
        "returned" => matches!(state, "busy" | "blocked" | "leaving" | "faulted"),
        "regrouped" => state != "handshake",
        _ => true,
    }
}

fn happen(rig: &mut Rig, event: &str) -> String {
    match event {
        "handshake" => rig.say(HANDSHAKE),
        "call" => rig.say(&call("3", "Third")),
        "ping" => rig.say(PING),
        "good-bye" => rig.say("{\"type\":7}\u{1e}"),
        "good-bye with an error" => rig.say("{\"type\":7,\"error\":\"enough\"}\u{1e}"),
        "not JSON" => rig.say("hello\u{1e}"),
        "half a message" => rig.say("{\"type\":"),
        "too large" => rig.receive(Inbound::TooLarge),
        "tick" => rig.on(Event::Tick),
        "connected" => rig.on(Event::Connected(Ok(()))),
        "refused" => rig.on(refused(false)),
        "refused for now" => rig.on(refused(true)),
        "returned" => rig.finish(Ok("7")),
        "detached" => rig.on(Event::Detached),
        "overflowed" => rig.on(Event::Overflowed),
        "regrouped" => rig.on(regrouped()),
        "aborted" => rig.on(Event::Aborted),
        "draining" => rig.on(Event::Draining),
        "restored" => rig.on(Event::Restored(Ok(()))),
        "reconnected" => rig.on(Event::Reconnected(Ok(()))),
        _ => unreachable!("{event} is in the list"),
    }
}

fn transition(state: &str, event: &str) -> String {
    let mut rig = in_state(state);
    let effects = happen(&mut rig, event);
    let line = format!("{state} + {event}: {effects} -> {}", rig.phase());
    line.replace(":  ->", ": ->")
}

#[test]
fn every_state_meets_every_event_as_the_table_says() {
    let all = STATES.iter().flat_map(|state| EVENTS.iter().map(move |event| (state, event)));
    let possible = all.filter(|(state, event)| can_happen(state, event));
    let seen: Vec<_> = possible.map(|(state, event)| transition(state, event)).collect();
    let table: Vec<_> = include_str!("transitions.txt").lines().collect();
    for (seen, wanted) in seen.iter().zip(&table) {
        assert_eq!(seen, wanted);
    }
    assert_eq!(seen.len(), table.len(), "{}", seen.join("\n"));
}

#[test]
fn a_session_that_has_ended_wants_nothing_and_waits_for_nothing() {
    for event in EVENTS.into_iter().filter(|event| can_happen("ended", event)) {
        let mut rig = in_state("ended");
        assert_eq!(happen(&mut rig, event), "", "{event}");
        assert_eq!(rig.session.deadline(), None, "{event}");
    }
}
