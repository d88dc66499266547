//! What holds however a client behaves.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<u8>),
    Return,
    Wait(u64),
    Connect,
    Detach,
    Regroup,
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
        8 => message().prop_map(|text| Step::Say(text.into_bytes())),
        2 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Say),
        1 => Just(Step::Say(HANDSHAKE.into())),
        6 => Just(Step::Return),
        2 => (0..20_u64).prop_map(Step::Wait),
        3 => Just(Step::Connect),
        1 => Just(Step::Detach),
        1 => Just(Step::Regroup),
        1 => Just(Step::Abort),
    ]
}

/// Does what can happen now; the answer is what the session wants then.
fn take(rig: &mut Rig, step: Step) -> String {
    match step {
        Step::Say(bytes) => rig.receive(Inbound::Binary(bytes.into())),
        Step::Return if !rig.running.is_empty() => rig.finish(Ok("7")),
        Step::Wait(time) => rig.wait(seconds(time)),
        Step::Connect if rig.phase() == "connecting" => rig.on(Event::Connected(Ok(()))),
        Step::Detach => rig.on(Event::Detached),
        Step::Regroup => rig.on(regrouped()),
        Step::Abort => rig.on(Event::Aborted),
        Step::Return | Step::Connect => String::new(),
    }
}

proptest! {
    #[test]
    fn a_session_ends_once_and_says_nothing_afterwards(
        shakes_hands in prop::bool::weighted(0.9),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut rig = Rig::new(Settings::default());
        let mut told = if shakes_hands { rig.say(HANDSHAKE) } else { String::new() };
        for step in steps {
            let had_ended = rig.phase() == "ended";
            let now = take(&mut rig, step);
            prop_assert!(!had_ended || now.is_empty(), "{}", now);
            told = told + " | " + &now;
        }
        let endings = told.split(" | ").filter(|effect| effect.starts_with("end ")).count();
        prop_assert_eq!(endings, usize::from(rig.phase() == "ended"), "{}", told);
    }

    #[test]
    fn no_more_calls_run_than_may_and_each_with_an_id_is_answered_once(
        limit in 1..4_usize,
        steps in prop::collection::vec(prop_oneof![2 => Just(true), 1 => Just(false)], 0..60),
    ) {
        let parallel_calls = NonZeroUsize::new(limit).unwrap();
        let mut rig = Rig::open(Settings { parallel_calls, ..Settings::default() });
        let (mut sent, mut told) = (0, String::new());
        for is_call in steps {
            if is_call {
                told += &(rig.say(&call(&sent.to_string(), "Method")) + " | ");
                sent += 1;
            } else {
                told += &(take(&mut rig, Step::Return) + " | ");
            }
            prop_assert!(rig.running.len() <= limit);
        }
        while !rig.running.is_empty() {
            told += &(rig.finish(Ok("7")) + " | ");
        }
        let answers: Vec<_> = told.split(" | ").filter(|effect| effect.starts_with("send ")).collect();
        let wanted: Vec<_> =
            (0..sent).map(|id| format!("send {{\"type\":3,\"invocationId\":\"{id}\",\"result\":7}}")).collect();
        prop_assert_eq!(answers, wanted);
    }

    #[test]
    fn where_the_transport_cuts_the_bytes_makes_no_difference(
        messages in prop::collection::vec(message(), 0..12),
        cuts in prop::collection::vec(1..30_usize, 1..40),
    ) {
        let all: Vec<u8> = messages.concat().into_bytes();
        let settings = || Settings { parallel_calls: NonZeroUsize::new(100).unwrap(), ..Settings::default() };
        let (mut whole, mut cut) = (Rig::open(settings()), Rig::open(settings()));
        let wanted = whole.receive(Inbound::Binary(all.clone().into()));

        let (mut rest, mut told) = (&all[..], Vec::new());
        for length in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*length).min(rest.len()));
            if piece.is_empty() {
                break;
            }
            told.push(cut.receive(Inbound::Binary(piece.to_vec().into())));
            rest = behind;
        }
        told.retain(|told| !told.is_empty());
        prop_assert_eq!(told.join(" | "), wanted);
        prop_assert_eq!(cut.phase(), whole.phase());
    }
}
