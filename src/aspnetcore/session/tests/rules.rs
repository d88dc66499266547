//! The rules that a single event does not show: limits, clocks, turns and texts.

use super::*;

const FAILED: &str = "Failed to invoke 'Method' due to an error on the server.";
const UNEXPECTED: &str = "An unexpected error occurred invoking 'Method' on the server.";

fn answer_to(error: CallError, detailed_errors: bool) -> String {
    let mut rig = Rig::open(Settings { detailed_errors, ..Settings::default() });
    rig.say(&call("1", "Method"));
    let answer = rig.finish(Err(error));
    let json = answer.strip_prefix("send ").unwrap_or_else(|| panic!("an answer alone: {answer}"));
    let answer: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&answer["type"], &answer["invocationId"]), (&3.into(), &"1".into()));
    answer["error"].as_str().unwrap().to_owned()
}

#[test]
fn every_failure_of_a_call_has_the_text_of_the_original() {
    let count = || CallError::WrongArgumentCount { method: "Method".into(), given: 1, expected: 2 };
    let hidden = || CallError::Failed(HubError::hidden("InvalidOperationException", "secret"));
    let given = " InvalidDataException: Invocation provides 1 argument(s) but target expects 2.";
    let binding = " InvalidDataException: Error binding arguments. Make sure that the types of the provided values \
                   match the types of the hub method being invoked.";
    let unauthorized = "Failed to invoke 'Method' because user is unauthorized";
    let no_stream = "The client attempted to invoke the non-streaming 'Method' method with a streaming invocation.";
    for (error, plain, detail) in [
        (CallError::NoSuchMethod, format!("{FAILED} HubException: Method does not exist."), ""),
        (count(), FAILED.to_owned(), given),
        (CallError::Binding("whatever serde says".into()), FAILED.to_owned(), binding),
        (CallError::Unauthorized, unauthorized.to_owned(), ""),
        (CallError::NoStream, no_stream.to_owned(), ""),
        (CallError::Failed(HubError::new("boom")), format!("{UNEXPECTED} HubException: boom"), ""),
        (hidden(), UNEXPECTED.to_owned(), " InvalidOperationException: secret"),
    ] {
        let again = match &error {
            CallError::NoSuchMethod => CallError::NoSuchMethod,
            CallError::WrongArgumentCount { .. } => count(),
            CallError::Binding(_) => CallError::Binding("whatever serde says".into()),
            CallError::Unauthorized => CallError::Unauthorized,
            CallError::NoStream => CallError::NoStream,
            CallError::Failed(error) if error.is_shown() => CallError::Failed(HubError::new("boom")),
            CallError::Failed(_) | CallError::UnserializableResult(_) => hidden(),
        };
        assert_eq!(answer_to(error, false), plain);
        assert_eq!(answer_to(again, true), format!("{plain}{detail}"));
    }
}

#[test]
fn a_result_that_cannot_be_written_ends_the_connection() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&call("1", "Method"));
    let effects = rig.finish(Err(CallError::UnserializableResult("a map keyed by lists".into())));
    assert_eq!(
        effects,
        "send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true} | \
         end Faulted 1000 of JsonException: a map keyed by lists"
    );
}

#[test]
fn a_call_without_an_id_is_not_answered() {
    for failure in [None, Some(CallError::NoSuchMethod)] {
        for id in ["", "\"invocationId\":\"\","] {
            let mut rig = Rig::open(Settings::default());
            let told = rig.say(&format!("{{\"type\":1,{id}\"target\":\"Method\",\"arguments\":[5]}}\u{1e}"));
            assert_eq!(told, "call Method(5)");
            let failure = failure.as_ref().map(|_| CallError::NoSuchMethod);
            assert_eq!(rig.finish(failure.map_or(Ok("7"), Err)), "");
        }
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let message = call("1", "Method");
    let settings = |max_message| Settings { max_message, detailed_errors: true, ..Settings::default() };
    assert_eq!(Rig::open(settings(Some(message.len()))).say(&message), "call Method()");
    assert_eq!(Rig::open(settings(None)).say(&message), "call Method()");

    let limit = message.len() - 1;
    let text = format!(
        "InvalidDataException: The maximum message size of {limit}B was exceeded. The message size can be configured \
         in AddHubOptions."
    );
    let told = format!(
        "send {{\"type\":7,\"error\":\"Connection closed with an error. {text}\",\"allowReconnect\":true}} | \
         end Faulted 1000 of {text}"
    );
    assert_eq!(Rig::open(settings(Some(limit))).say(&message), told);
    let cut = &message[..limit];
    assert_eq!(Rig::open(settings(Some(limit))).say(cut), told, "no separator can come any more");
}

#[test]
fn small_messages_are_not_added_up_against_the_limit() {
    let mut rig = Rig::open(Settings { max_message: Some(PING.len()), ..Settings::default() });
    assert_eq!(rig.say(&PING.repeat(100)), "");
}

#[test]
fn a_handshake_may_come_byte_by_byte_and_with_a_call_behind_it() {
    let mut rig = Rig::new(Settings::default());
    let text = format!("{HANDSHAKE}{}", call("1", "Early"));
    let all: Vec<_> = text.chars().map(|char| rig.say(&char.to_string())).filter(|told| !told.is_empty()).collect();
    assert_eq!(all, ["send {} | connect"]);
    assert_eq!(rig.on(Event::Connected(Ok(()))), "call Early()", "it waits until the client is let in");
}

#[test]
fn a_handshake_that_takes_too_long_or_is_too_long_is_cancelled() {
    let cancelled = "send {\"error\":\"Handshake was canceled.\"} | end Refused 1000";
    let settings = Settings { handshake_timeout: seconds(5), max_message: Some(10), ..Settings::default() };
    let mut rig = Rig::new(settings.clone());
    assert_eq!(rig.session.deadline(), Some(rig.now + seconds(5)));
    assert_eq!(rig.wait(seconds(4)), "");
    assert_eq!(rig.wait(seconds(1)), cancelled);
    assert_eq!(Rig::new(settings).say("{          "), cancelled);
}

#[test]
fn a_client_is_pinged_at_every_interval_from_its_handshake_on() {
    let mut rig = Rig::new(Settings { keep_alive: seconds(5), ..Settings::default() });
    rig.wait(seconds(3));
    rig.say(HANDSHAKE);
    for _ in 0..3 {
        assert_eq!(rig.session.deadline(), Some(rig.now + seconds(5)));
        assert_eq!(rig.wait(seconds(4)), "");
        assert_eq!(rig.wait(seconds(1)), "send {\"type\":6}");
    }
}

const SILENCE: &str = "end TimedOut 1000 of OperationCanceledException: Client hasn't sent a message/ping within the \
                       configured ClientTimeoutInterval.";

fn pinged_rarely() -> Settings {
    Settings { keep_alive: seconds(10_000), client_timeout: seconds(30), ..Settings::default() }
}

#[test]
fn a_client_that_never_pings_is_never_timed_out() {
    let mut rig = Rig::open(pinged_rarely());
    rig.say(&call("1", "Method"));
    rig.finish(Ok("7"));
    assert_eq!(rig.wait(seconds(9_000)), "");
}

#[test]
fn a_client_that_has_pinged_is_timed_out_when_it_falls_silent() {
    let mut rig = Rig::open(pinged_rarely());
    rig.say(PING);
    rig.wait(seconds(20));
    rig.say("{\"type\":5,\"invocationId\":\"1\"}\u{1e}");
    assert_eq!(rig.session.deadline(), Some(rig.now + seconds(30)), "any message is a sign of life");
    assert_eq!(rig.wait(seconds(29)), "");
    let told = rig.wait(seconds(1));
    assert!(told.ends_with(SILENCE), "{told}");
    assert!(
        told.starts_with("send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true}")
    );
}

#[test]
fn the_silence_of_a_client_whose_call_waits_for_its_turn_does_not_count() {
    let mut rig = Rig::open(pinged_rarely());
    rig.say(PING);
    rig.say(&(call("1", "First") + &call("2", "Second")));
    assert_eq!(rig.wait(seconds(100)), "", "nothing of it can be heard");
    rig.finish(Ok("7"));
    assert_eq!(rig.wait(seconds(29)), "", "the clock begins anew");
    assert!(rig.wait(seconds(1)).ends_with(SILENCE), "a call that merely runs stops no clock");
}

#[test]
fn calls_beyond_the_limit_wait_for_their_turn_in_order() {
    let calls: String = ["A", "B", "C"].map(|target| call(target, target)).concat();
    for (limit, at_once, then) in [
        (1, "call A()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7} | call B()"),
        (2, "call A() | call B()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7} | call C()"),
        (3, "call A() | call B() | call C()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7}"),
    ] {
        let parallel_calls = NonZeroUsize::new(limit).unwrap();
        let mut rig = Rig::open(Settings { parallel_calls, ..Settings::default() });
        assert_eq!(rig.say(&calls), at_once);
        assert_eq!(rig.session.calls(), (limit + 1).min(3), "what waits behind is not read yet");
        assert_eq!(rig.finish(Ok("7")), then);
    }
}

#[test]
fn what_is_no_call_is_read_while_a_call_runs_but_not_behind_one_that_waits() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&call("1", "First"));
    assert_eq!(rig.say("{\"type\":7}\u{1e}"), "send {\"type\":7} | end Stopped 1000");

    let mut rig = Rig::open(Settings::default());
    rig.say(&(call("1", "First") + &call("2", "Second")));
    assert_eq!(rig.say("{\"type\":7}\u{1e}"), "");
    let told = rig.finish(Ok("7"));
    assert!(told.ends_with("call Second() | send {\"type\":7} | end Stopped 1000"), "{told}");
}

#[test]
fn calls_from_before_a_fault_are_answered_before_the_client_is_told_of_it() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&call("1", "First"));
    assert_eq!(rig.say(&format!("hello\u{1e}{}", call("2", "Never"))), "");
    let told = rig.finish(Ok("7"));
    assert_eq!(
        told,
        "send {\"type\":3,\"invocationId\":\"1\",\"result\":7} | \
         send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true} | \
         end Faulted 1000 of InvalidDataException: Error reading JSON."
    );
}

#[test]
fn a_client_hears_of_its_fault_in_time_although_a_call_does_not_return() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&call("1", "First"));
    rig.say("hello\u{1e}");
    assert_eq!(rig.session.deadline(), Some(rig.now + LAST_ANSWERS));
    let told = rig.wait(LAST_ANSWERS);
    assert!(told.ends_with("end Faulted 1000 of InvalidDataException: Error reading JSON."), "{told}");
}

#[test]
fn what_a_client_sent_before_it_went_still_runs() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&[call("1", "A"), call("2", "B"), call("3", "C")].concat());
    assert_eq!(rig.on(Event::Detached), "forsake", "whoever works for it can know");
    assert!(rig.finish(Ok("7")).ends_with("call B() | forsake"));
    assert!(rig.finish(Ok("7")).ends_with("call C() | end Lost 1000"), "nothing waits any more");
}

#[test]
fn a_client_that_goes_is_gone_as_soon_as_no_call_of_it_waits_for_its_turn() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&[call("1", "A"), call("2", "B")].concat());
    assert_eq!(rig.on(Event::Detached), "forsake", "whoever works for it can know");
    assert!(rig.finish(Ok("7")).ends_with("call B() | end Lost 1000"), "B still runs, and nothing waits");
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_message_has_made_an_error() {
    let mut rig = Rig::open(Settings::default());
    rig.say("{\"type\":");
    let cut = "end Lost 1000 of InvalidDataException: Connection terminated while reading a message.";
    assert_eq!(rig.on(Event::Detached), cut);
}

/// What the original buffers before it stops reading.
const BUFFERED: usize = 64 * 1024;

#[test]
fn a_client_that_sends_more_than_can_be_read_is_held_back_until_it_can() {
    let mut rig = Rig::open(Settings::default());
    rig.say(&(call("1", "First") + &call("2", "Second")));
    rig.say(&PING.repeat(BUFFERED / PING.len()));
    assert!(!rig.session.is_saturated());
    rig.say(PING);
    assert!(rig.session.is_saturated());
    rig.finish(Ok("7"));
    assert!(!rig.session.is_saturated());
}

#[test]
fn a_client_that_has_new_groups_is_told_by_a_call_and_again_before_its_token_is_worthless() {
    let mut rig = Rig::open(pinged_rarely());
    let told = "send {\"type\":1,\"target\":\"hubcast:rejoinToken\",\"arguments\":[\"token\"]}";
    for _ in 0..2 {
        assert_eq!(rig.on(regrouped()), told);
        assert_eq!(rig.session.deadline(), Some(rig.now + seconds(30)));
        assert_eq!(rig.wait(seconds(29)), "");
        assert_eq!(rig.wait(seconds(1)), "retoken");
        assert_eq!(rig.wait(seconds(29)), "", "once is enough");
    }
}

#[test]
fn a_connection_ends_with_the_proof_of_its_clients_identity() {
    let now = Instant::now();
    let expires = Some(now + seconds(7));
    let mut rig = Rig::opened(SessionConfig { wants_tokens: false, expires, ..opened(Settings::default()) });
    assert!(!rig.session.wants_tokens());
    rig.now = now;
    rig.say(HANDSHAKE);
    rig.on(Event::Connected(Ok(())));
    assert_eq!(rig.session.deadline(), expires);
    assert_eq!(rig.wait(seconds(6)), "");
    assert_eq!(rig.wait(seconds(1)), "send {\"type\":7,\"allowReconnect\":true} | end Expired 1000");
}

#[test]
fn why_a_connection_was_refused_is_told_where_details_are_on_or_the_error_is_meant_for_the_client() {
    for (error, detailed_errors, text) in [
        (HubError::new("not you"), false, "Connection closed with an error. HubException: not you"),
        (HubError::hidden("Exception", "secret"), false, "Connection closed with an error."),
        (HubError::hidden("Exception", "secret"), true, "Connection closed with an error. Exception: secret"),
    ] {
        let mut rig = Rig::new(Settings { detailed_errors, ..Settings::default() });
        rig.say(HANDSHAKE);
        let told = rig.on(Event::Connected(Err(ConnectError { error, is_retryable: false })));
        assert_eq!(told, format!("send {{\"type\":7,\"error\":\"{text}\"}} | end Refused 1000"));
    }
}

#[test]
fn a_method_that_fails_is_named_as_it_was_registered_and_one_that_is_unknown_as_it_was_called() {
    let unauthorized = |method: &str| {
        let mut rig = Rig::open(Settings::default());
        rig.say(&call("1", method));
        rig.finish(Err(CallError::Unauthorized))
    };
    assert!(unauthorized("kNOWN").contains("invoke 'Known' because"));
    assert!(unauthorized("uNKNOWN").contains("invoke 'uNKNOWN' because"));
}
