//! Rules that span several events: limits, timers, call order and error texts.

use super::*;

const FAILED: &str = "Failed to invoke 'Method' due to an error on the server.";
const UNEXPECTED: &str = "An unexpected error occurred invoking 'Method' on the server.";

fn error_text(error: CallError, detailed_errors: bool) -> String {
    let mut session = TestSession::open(Settings { detailed_errors, ..Settings::default() });
    session.send_text(&call("1", "Method"));
    let effects = session.finish_call(Err(error));
    let json = effects.strip_prefix("send ").unwrap_or_else(|| panic!("not a single completion: {effects}"));
    let completion: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&completion["type"], &completion["invocationId"]), (&3.into(), &"1".into()));
    completion["error"].as_str().unwrap().to_owned()
}

#[test]
fn call_errors_have_expected_texts() {
    let count = || CallError::WrongArgumentCount { method: "Method".into(), given: 1, expected: 2 };
    let hidden = || CallError::Failed(HubError::hidden("InvalidOperationException", "secret"));
    let given = " InvalidDataException: Invocation provides 1 argument(s) but target expects 2.";
    let binding = " InvalidDataException: Error binding arguments. Make sure that the types of the provided values \
                   match the types of the hub method being invoked.";
    let unauthorized = "Failed to invoke 'Method' because user is unauthorized";
    let no_stream = "The client attempted to invoke the non-streaming 'Method' method with a streaming invocation.";
    let stream = "The client attempted to invoke the streaming 'Method' method with a non-streaming invocation.";
    for (error, plain, detail) in [
        (CallError::NoSuchMethod, format!("{FAILED} HubException: Method does not exist."), ""),
        (count(), FAILED.to_owned(), given),
        (CallError::Binding("serde error".into()), FAILED.to_owned(), binding),
        (CallError::MalformedArguments("no array".into()), FAILED.to_owned(), " InvalidDataException: no array"),
        (CallError::Unauthorized, unauthorized.to_owned(), ""),
        (CallError::NoStream, no_stream.to_owned(), ""),
        (CallError::StreamRequired, stream.to_owned(), ""),
        (CallError::Failed(HubError::new("boom")), format!("{UNEXPECTED} HubException: boom"), ""),
        (hidden(), UNEXPECTED.to_owned(), " InvalidOperationException: secret"),
    ] {
        let again = match &error {
            CallError::NoSuchMethod => CallError::NoSuchMethod,
            CallError::WrongArgumentCount { .. } => count(),
            CallError::MalformedArguments(_) => CallError::MalformedArguments("no array".into()),
            CallError::Binding(_) => CallError::Binding("serde error".into()),
            CallError::Unauthorized => CallError::Unauthorized,
            CallError::NoStream => CallError::NoStream,
            CallError::StreamRequired => CallError::StreamRequired,
            CallError::Failed(error) if error.is_shown() => CallError::Failed(HubError::new("boom")),
            CallError::Failed(_) | CallError::UnserializableResult(_) => hidden(),
        };
        assert_eq!(error_text(error, false), plain);
        assert_eq!(error_text(again, true), format!("{plain}{detail}"));
    }
}

#[test]
fn unserializable_result_ends_connection() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "Method"));
    let effects = session.finish_call(Err(CallError::UnserializableResult("a map keyed by lists".into())));
    assert_eq!(
        effects,
        "send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true} | \
         end Faulted 1000 of JsonException: a map keyed by lists"
    );
}

#[test]
fn call_without_id_gets_no_completion() {
    for failure in [None, Some(CallError::NoSuchMethod)] {
        for id in ["", "\"invocationId\":\"\","] {
            let mut session = TestSession::open(Settings::default());
            let effects =
                session.send_text(&format!("{{\"type\":1,{id}\"target\":\"Method\",\"arguments\":[5]}}\u{1e}"));
            assert_eq!(effects, "call Method(5)");
            let failure = failure.as_ref().map(|_| CallError::NoSuchMethod);
            assert_eq!(session.finish_call(failure.map_or(Ok("7"), Err)), "");
        }
    }
}

#[test]
fn message_size_limit_is_exact() {
    let message = call("1", "Method");
    let settings = |max_message| Settings { max_message, detailed_errors: true, ..Settings::default() };
    assert_eq!(TestSession::open(settings(Some(message.len()))).send_text(&message), "call Method()");
    assert_eq!(TestSession::open(settings(None)).send_text(&message), "call Method()");

    let limit = message.len() - 1;
    let text = format!(
        "InvalidDataException: The maximum message size of {limit}B was exceeded. The message size can be configured \
         in AddHubOptions."
    );
    let effects = format!(
        "send {{\"type\":7,\"error\":\"Connection closed with an error. {text}\",\"allowReconnect\":true}} | \
         end Faulted 1000 of {text}"
    );
    assert_eq!(TestSession::open(settings(Some(limit))).send_text(&message), effects);
    let cut = &message[..limit];
    assert_eq!(
        TestSession::open(settings(Some(limit))).send_text(cut),
        effects,
        "no separator can follow within the limit"
    );
}

#[test]
fn size_limit_applies_to_each_message() {
    let mut session = TestSession::open(Settings { max_message: Some(PING.len()), ..Settings::default() });
    assert_eq!(session.send_text(&PING.repeat(100)), "");
}

#[test]
fn handshake_may_be_split_and_followed_by_call() {
    let mut session = TestSession::new(Settings::default());
    let text = format!("{HANDSHAKE}{}", call("1", "Early"));
    let all: Vec<_> =
        text.chars().map(|char| session.send_text(&char.to_string())).filter(|effects| !effects.is_empty()).collect();
    assert_eq!(all, ["send {} | restore groups"]);
    assert_eq!(session.on(Event::Connected(Ok(()))), "call Early()", "the call runs after OnConnected");
}

#[test]
fn slow_or_oversized_handshake_is_cancelled() {
    let cancelled = "send {\"error\":\"Handshake was canceled.\"} | end Refused 1000";
    let settings = Settings { handshake_timeout: seconds(5), max_message: Some(10), ..Settings::default() };
    let mut session = TestSession::new(settings.clone());
    assert_eq!(session.inner.deadline(), Some(session.now + seconds(5)));
    assert_eq!(session.advance(seconds(4)), "");
    assert_eq!(session.advance(seconds(1)), cancelled);
    assert_eq!(TestSession::new(settings).send_text("{          "), cancelled);
}

#[test]
fn pings_follow_handshake_at_every_interval() {
    let mut session = TestSession::new(Settings { keep_alive: seconds(5), ..Settings::default() });
    session.advance(seconds(3));
    session.send_text(HANDSHAKE);
    for _ in 0..3 {
        assert_eq!(session.inner.deadline(), Some(session.now + seconds(5)));
        assert_eq!(session.advance(seconds(4)), "");
        assert_eq!(session.advance(seconds(1)), "send {\"type\":6}");
    }
}

const CLIENT_TIMEOUT_EFFECT: &str = "end TimedOut 1000 of OperationCanceledException: Client hasn't sent a message/ping \
                                     within the configured ClientTimeoutInterval.";

fn without_server_pings() -> Settings {
    Settings { keep_alive: seconds(10_000), client_timeout: seconds(30), ..Settings::default() }
}

#[test]
fn client_without_pings_never_times_out() {
    let mut session = TestSession::open(without_server_pings());
    session.send_text(&call("1", "Method"));
    session.finish_call(Ok("7"));
    assert_eq!(session.advance(seconds(9_000)), "");
}

#[test]
fn silent_client_times_out_after_a_ping() {
    let mut session = TestSession::open(without_server_pings());
    session.send_text(PING);
    session.advance(seconds(20));
    session.send_text("{\"type\":5,\"invocationId\":\"1\"}\u{1e}");
    assert_eq!(session.inner.deadline(), Some(session.now + seconds(30)), "any message restarts the timeout");
    assert_eq!(session.advance(seconds(29)), "");
    let effects = session.advance(seconds(1));
    assert!(effects.ends_with(CLIENT_TIMEOUT_EFFECT), "{effects}");
    assert!(
        effects.starts_with("send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true}")
    );
}

#[test]
fn client_timeout_pauses_while_call_is_queued() {
    let mut session = TestSession::open(without_server_pings());
    session.send_text(PING);
    session.send_text(&(call("1", "First") + &call("2", "Second")));
    assert_eq!(session.advance(seconds(100)), "", "nothing is read from the client");
    session.finish_call(Ok("7"));
    assert_eq!(session.advance(seconds(29)), "", "the timeout restarts");
    assert!(session.advance(seconds(1)).ends_with(CLIENT_TIMEOUT_EFFECT), "a running call does not pause the timeout");
}

#[test]
fn calls_over_limit_are_queued_in_order() {
    let calls: String = ["A", "B", "C"].map(|target| call(target, target)).concat();
    for (limit, at_once, then) in [
        (1, "call A()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7} | call B()"),
        (2, "call A() | call B()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7} | call C()"),
        (3, "call A() | call B() | call C()", "send {\"type\":3,\"invocationId\":\"A\",\"result\":7}"),
    ] {
        let parallel_calls = NonZeroUsize::new(limit).unwrap();
        let mut session = TestSession::open(Settings { parallel_calls, ..Settings::default() });
        assert_eq!(session.send_text(&calls), at_once);
        assert_eq!((session.inner.calls(), session.running_calls.len()), (3, limit));
        assert_eq!(session.finish_call(Ok("7")), then);
    }
}

#[test]
fn close_waits_for_queued_call() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    assert_eq!(session.send_text("{\"type\":7}\u{1e}"), "send {\"type\":7} | end Stopped 1000");

    let mut session = TestSession::open(Settings::default());
    session.send_text(&(call("1", "First") + &call("2", "Second")));
    assert_eq!(session.send_text("{\"type\":7}\u{1e}"), "");
    let effects = session.finish_call(Ok("7"));
    assert!(effects.ends_with("call Second() | send {\"type\":7} | end Stopped 1000"), "{effects}");
}

#[test]
fn earlier_calls_complete_before_error_is_sent() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    assert_eq!(session.send_text(&format!("hello\u{1e}{}", call("2", "Never"))), "");
    let effects = session.finish_call(Ok("7"));
    assert_eq!(
        effects,
        "send {\"type\":3,\"invocationId\":\"1\",\"result\":7} | \
         send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true} | \
         end Faulted 1000 of InvalidDataException: Error reading JSON."
    );
}

#[test]
fn protocol_error_is_sent_despite_hanging_call() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    session.send_text("hello\u{1e}");
    assert_eq!(session.inner.deadline(), Some(session.now + FAULT_DRAIN_TIMEOUT));
    let effects = session.advance(FAULT_DRAIN_TIMEOUT);
    assert!(effects.ends_with("end Faulted 1000 of InvalidDataException: Error reading JSON."), "{effects}");
}

#[test]
fn queued_calls_run_after_client_disconnects() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&[call("1", "A"), call("2", "B"), call("3", "C")].concat());
    assert_eq!(session.on(Event::Detached), "mark client gone", "hub methods can observe it");
    assert!(session.finish_call(Ok("7")).ends_with("call B()"));
    assert!(session.finish_call(Ok("7")).ends_with("call C() | end Lost 1000"), "no call is queued");
}

#[test]
fn connection_ends_when_no_call_is_queued() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&[call("1", "A"), call("2", "B")].concat());
    assert_eq!(session.on(Event::Detached), "mark client gone", "hub methods can observe it");
    assert!(session.finish_call(Ok("7")).ends_with("call B() | end Lost 1000"), "B still runs, and no call is queued");
}

#[test]
fn disconnect_within_message_is_an_error() {
    let mut session = TestSession::open(Settings::default());
    session.send_text("{\"type\":");
    let cut = "end Lost 1000 of InvalidDataException: Connection terminated while reading a message.";
    assert_eq!(session.on(Event::Detached), cut);
}

#[test]
fn second_protocol_error_does_not_extend_the_wait() {
    let mut session = TestSession::open(without_server_pings());
    session.send_text(&call("1", "First"));
    session.send_text("{}\u{1e}");
    session.now += FAULT_DRAIN_TIMEOUT / 2;
    assert_eq!(session.receive(Inbound::TooLarge), "");
    assert!(session.advance(FAULT_DRAIN_TIMEOUT / 2).contains("end Faulted"));
}

#[test]
fn rejoin_token_is_sent_and_renewed_in_time() {
    let mut session = TestSession::open(without_server_pings());
    for are_known in [false, true] {
        assert_eq!(session.on(Event::GroupsChanged { are_known }), "send token");
        assert_eq!(session.on(Event::GroupsChanged { are_known: true }), "send no token");
        assert_eq!(session.inner.deadline(), Some(session.now + seconds(30)));
        assert_eq!(session.advance(seconds(29)), "");
        assert_eq!(session.advance(seconds(1)), "renew token");
        assert_eq!(session.advance(seconds(29)), "", "the token is renewed once");
    }
}

#[test]
fn connection_ends_when_credentials_expire() {
    let now = Instant::now();
    let expires = Some(now + seconds(7));
    let mut session = TestSession::with_config(SessionConfig { wants_tokens: false, ..config(Settings::default()) });
    assert!(!session.inner.wants_tokens());
    session.now = now;
    session.attach(Transport::WebSockets, expires);
    session.send_text(HANDSHAKE);
    session.on(Event::Connected(Ok(())));
    assert_eq!(session.inner.deadline(), expires);
    assert_eq!(session.advance(seconds(6)), "");
    assert_eq!(session.advance(seconds(1)), "send {\"type\":7,\"allowReconnect\":true} | end Expired 1000");
}

#[test]
fn connect_error_text_respects_detailed_errors() {
    for (error, detailed_errors, text) in [
        (HubError::new("not you"), false, "Connection closed with an error. HubException: not you"),
        (HubError::hidden("Exception", "secret"), false, "Connection closed with an error."),
        (HubError::hidden("Exception", "secret"), true, "Connection closed with an error. Exception: secret"),
    ] {
        let mut session = TestSession::new(Settings { detailed_errors, ..Settings::default() });
        session.send_text(HANDSHAKE);
        let effects = session.on(Event::Connected(Err(ConnectError { error, is_retryable: false })));
        assert_eq!(effects, format!("send {{\"type\":7,\"error\":\"{text}\"}} | end Refused 1000"));
    }
}

#[test]
fn error_names_method_as_registered() {
    let unauthorized = |method: &str| {
        let mut session = TestSession::open(Settings::default());
        session.send_text(&call("1", method));
        session.finish_call(Err(CallError::Unauthorized))
    };
    assert!(unauthorized("kNOWN").contains("invoke 'Known' because"));
    assert!(unauthorized("uNKNOWN").contains("invoke 'uNKNOWN' because"));
}

#[test]
fn faults_are_reported_with_cause_and_reason() {
    let timeout = Settings::default().handshake_timeout;
    let reported = |session: TestSession| session.reports.into_iter().next().expect("a report");
    let mut silent = TestSession::new(Settings::default());
    silent.advance(timeout);
    assert_eq!(reported(silent), (Cause::HandshakeRefused, "nothing was received in time".into()));
    let mut cut = TestSession::new(Settings::default());
    cut.send_text("{\"protocol\":\"json\",\"version\":1}");
    cut.advance(timeout);
    assert_eq!(reported(cut), (Cause::HandshakeRefused, "no record separator (0x1E) was received in time".into()));
    for (record, reason) in [
        ("{\"protocol\":\"foo\",\"version\":1}\u{1e}", "The protocol 'foo' is not supported."),
        ("{\"version\":1}\u{1e}", "InvalidDataException: Missing required property 'protocol'."),
    ] {
        let mut session = TestSession::new(Settings::default());
        session.send_text(record);
        assert_eq!(reported(session), (Cause::HandshakeRefused, reason.into()));
    }
    for (message, cause, part) in [
        ("{bad\u{1e}".to_owned(), Cause::InvalidMessage, "Error reading JSON"),
        ("x".repeat(40_000), Cause::MessageTooLong, "the message is longer than 32768 bytes (aspnetcore.max_message)"),
    ] {
        let mut session = TestSession::open(Settings::default());
        session.send_text(&message);
        let (found, reason) = reported(session);
        assert!(found == cause && reason.contains(part), "{found:?}: {reason}");
    }
}
