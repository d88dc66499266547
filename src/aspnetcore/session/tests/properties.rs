//! Properties that hold for any behaviour of the client.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Receive(Vec<u8>),
    Return,
    Wait(u64),
    Connect,
    Detach,
    ChangeGroups,
    Abort,
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => ("[a-c]?", "[A-C]").prop_map(|(id, target)| call(&id, &target)),
        4 => Just(PING.to_owned()),
        1 => Just("{\"type\":3,\"invocationId\":\"9\",\"result\":1}\u{1e}".to_owned()),
        1 => Just("{\"type\":99}\u{1e}".to_owned()),
        1 => Just("{\"type\":7}\u{1e}".to_owned()),
        1 => Just("{\"type\":\u{1e}".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => message().prop_map(|text| Step::Receive(text.into_bytes())),
        2 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Receive),
        1 => Just(Step::Receive(HANDSHAKE.into())),
        6 => Just(Step::Return),
        2 => (0..20_u64).prop_map(Step::Wait),
        3 => Just(Step::Connect),
        1 => Just(Step::Detach),
        1 => Just(Step::ChangeGroups),
        1 => Just(Step::Abort),
    ]
}

/// Performs a step if it is possible in the current state, and describes the resulting effects.
fn perform(session: &mut TestSession, step: Step) -> String {
    match step {
        Step::Receive(bytes) => session.receive(Inbound::Binary(bytes.into())),
        Step::Return if !session.running_calls.is_empty() => session.finish_call(Ok("7")),
        Step::Wait(time) => session.advance(seconds(time)),
        Step::Connect if session.phase() == "connecting" => session.on(Event::Connected(Ok(()))),
        Step::Detach => session.on(Event::Detached),
        Step::ChangeGroups => session.on(groups_changed()),
        Step::Abort => session.on(Event::Aborted(Reconnect::Deny)),
        Step::Return | Step::Connect => String::new(),
    }
}

proptest! {
    #[test]
    fn session_ends_once_without_later_effects(
        sends_handshake in prop::bool::weighted(0.9),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut session = TestSession::new(Settings::default());
        let mut effects = if sends_handshake { session.send_text(HANDSHAKE) } else { String::new() };
        for step in steps {
            let had_ended = session.phase() == "ended";
            let now = perform(&mut session, step);
            prop_assert!(!had_ended || now.is_empty(), "{}", now);
            effects = effects + " | " + &now;
        }
        let endings = effects.split(" | ").filter(|effect| effect.starts_with("end ")).count();
        prop_assert_eq!(endings, usize::from(session.phase() == "ended"), "{}", effects);
    }

    #[test]
    fn call_limit_holds_and_every_call_completes(
        limit in 1..4_usize,
        steps in prop::collection::vec(prop_oneof![2 => Just(true), 1 => Just(false)], 0..60),
    ) {
        let parallel_calls = NonZeroUsize::new(limit).unwrap();
        let mut session = TestSession::open(Settings { parallel_calls, ..Settings::default() });
        let (mut sent, mut effects) = (0, String::new());
        for is_call in steps {
            if is_call {
                effects += &(session.send_text(&call(&sent.to_string(), "Method")) + " | ");
                sent += 1;
            } else {
                effects += &(perform(&mut session, Step::Return) + " | ");
            }
            prop_assert!(session.running_calls.len() <= limit);
        }
        while !session.running_calls.is_empty() {
            effects += &(session.finish_call(Ok("7")) + " | ");
        }
        let completions: Vec<_> = effects.split(" | ").filter(|effect| effect.starts_with("send ")).collect();
        let expected: Vec<_> =
            (0..sent).map(|id| format!("send {{\"type\":3,\"invocationId\":\"{id}\",\"result\":7}}")).collect();
        prop_assert_eq!(completions, expected);
    }

    #[test]
    fn chunking_of_input_does_not_matter(
        messages in prop::collection::vec(message(), 0..12),
        cuts in prop::collection::vec(1..30_usize, 1..40),
    ) {
        let all: Vec<u8> = messages.concat().into_bytes();
        let settings = || Settings { parallel_calls: NonZeroUsize::new(100).unwrap(), ..Settings::default() };
        let (mut whole, mut cut) = (TestSession::open(settings()), TestSession::open(settings()));
        let expected = whole.receive(Inbound::Binary(all.clone().into()));

        let (mut rest, mut effects) = (&all[..], Vec::new());
        for length in cuts.iter().cycle() {
            let (chunk, remaining) = rest.split_at((*length).min(rest.len()));
            if chunk.is_empty() {
                break;
            }
            effects.push(cut.receive(Inbound::Binary(chunk.to_vec().into())));
            rest = remaining;
        }
        effects.retain(|described| !described.is_empty());
        prop_assert_eq!(effects.join(" | "), expected);
        prop_assert_eq!(cut.phase(), whole.phase());
    }
}
