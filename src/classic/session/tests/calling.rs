//! Calls and the destinations of their responses.

use std::num::NonZeroUsize;

use tokio::sync::oneshot;

use super::*;
use crate::outbox::{Limits, Outbox, ReplayLimits};

const ADD: &str = r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#;

/// The outcome of a send request: the effects, and the receiver of its response.
type SendOutcome = (Vec<String>, oneshot::Receiver<Result<Box<[u8]>, TooManyInvocations>>);

impl TestSession {
    /// Makes a call by a send request.
    fn send(&mut self, data: &str) -> SendOutcome {
        let (reply, response) = oneshot::channel();
        let call = message::decode(data).unwrap();
        let (reply_to, request) = (ReplyTarget::Request(reply), Some(Arc::default()));
        let incoming = ClassicCall { hub: "Chat".into(), call, reply_to, request };
        (self.on(Event::Request(Request::Send(incoming))), response)
    }
}

fn detailed() -> TestSession {
    TestSession::open_with(Settings { detailed_errors: true, ..Settings::default() })
}

fn with_parallel_calls(calls: usize) -> TestSession {
    let parallel_calls = NonZeroUsize::new(calls).unwrap();
    TestSession::open_with(Settings { parallel_calls, ..Settings::default() })
}

#[test]
fn websocket_call_is_answered_over_the_websocket() {
    let mut test = TestSession::open();
    assert_eq!(test.receive_text(ADD), ["invoke Chat.Add"]);
    assert_eq!(test.session.calls(), 1);
    assert_eq!(test.complete_call(Ok(json(5))), [r#"frame {"R":5,"I":"0"}"#]);
    assert_eq!(test.session.calls(), 0);
}

#[test]
fn send_request_gets_the_response() {
    let mut test = TestSession::open();
    let (effects, mut response) = test.send(ADD);
    assert_eq!(effects, ["invoke Chat.Add"]);
    assert_eq!(test.complete_call(Ok(json(5))), [r#"reply {"R":5,"I":"0"}"#]);
    assert_eq!(response.try_recv().unwrap().unwrap().as_ref(), br#"{"R":5,"I":"0"}"#);
}

#[test]
fn result_for_a_replaced_channel_is_dropped() {
    let mut test = TestSession::open();
    test.receive_text(ADD);
    test.attach(Transport::WebSockets, ConnectKind::Reconnect);
    assert!(test.complete_call(Ok(json(5))).is_empty(), "on the new channel the id means another call");
    test.receive_text(ADD);
    test.on(Event::Detached);
    assert!(test.complete_call(Ok(json(5))).is_empty());
    assert_eq!(test.session.calls(), 0);
}

#[test]
fn send_request_needs_no_channel() {
    let mut test = TestSession::open();
    let (_, mut response) = test.send(ADD);
    test.on(Event::Detached);
    test.complete_call(Ok(json(5)));
    assert!(response.try_recv().is_ok());
}

#[test]
fn invalid_call_with_readable_id_is_answered() {
    let mut test = TestSession::open();
    for data in ["", "zzz", "[]", "{}", r#"{"H":"nope","M":"Add"}"#, r#"{"H":"chat"}"#] {
        assert!(test.receive_text(data).is_empty(), "{data}");
    }
    for data in [r#"{"H":"nope","M":"Add","I":0}"#, r#"{"H":"chat","I":0}"#, r#"{"H":"chat","M":"Add","A":{},"I":0}"#] {
        let effects = test.receive_text(data);
        assert!(matches!(&effects[..], [answer] if answer.contains(r#"{"I":"0","E":""#)), "{data}: {effects:?}");
    }
    assert_eq!(test.receive_text(ADD), ["invoke Chat.Add"]);
}

#[test]
fn websocket_calls_only_hubs_of_its_endpoint() {
    let mut test = TestSession::open();
    let mut elsewhere = test.channel(Transport::WebSockets, ConnectKind::Reconnect);
    elsewhere.request.endpoint_hubs = Arc::new(EndpointHubs::new(&["Other".into()]));
    test.attached(elsewhere);
    assert!(!test.receive_text(ADD).contains(&"invoke Chat.Add".into()));
    assert_eq!(test.receive_text(r#"{"H":"OTHER","M":"Hi","I":0}"#), ["invoke Other.Hi"]);
}

#[test]
fn saturated_client_is_not_read_and_sends_fail() {
    let mut test = with_parallel_calls(2);
    test.receive_text(ADD);
    assert!(!test.session.is_saturated());
    test.receive_text(ADD);
    assert!(test.session.is_saturated());
    let (effects, mut response) = test.send(ADD);
    assert_eq!(effects, ["reply too many"]);
    assert!(matches!(response.try_recv(), Ok(Err(TooManyInvocations))));
    test.complete_call(Ok(json(5)));
    assert!(!test.session.is_saturated());
    assert_eq!(test.send(ADD).0, ["invoke Chat.Add"]);
}

#[test]
fn channel_call_over_limit_waits() {
    let mut test = with_parallel_calls(1);
    test.receive_text(ADD);
    assert!(test.receive_text(ADD).is_empty(), "it was on its way when the limit was reached");
    assert_eq!(test.complete_call(Ok(json(5))), [r#"frame {"R":5,"I":"0"}"#, "invoke Chat.Add"]);
}

#[test]
fn too_deep_argument_fails_without_invoking() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let call = |depth| format!(r#"{{"H":"chat","M":"Any","A":[{}],"I":1}}"#, deep(depth));
    let mut test = TestSession::open();
    assert_eq!(test.receive_text(&call(20)), ["invoke Chat.Any"]);
    let generic = r#"frame {"I":"1","E":"There was an error invoking Hub method 'chat.Any'."}"#;
    assert_eq!(test.receive_text(&call(21)), [generic]);
    assert_eq!(test.session.calls(), 1);
}

#[test]
fn errors_are_generic_unless_meant_for_clients() {
    let mut test = TestSession::open();
    let mut response_to = |error| {
        test.receive_text(ADD);
        test.complete_call(Err(error))
    };
    let generic = [r#"frame {"I":"0","E":"There was an error invoking Hub method 'chat.Add'."}"#];
    assert_eq!(response_to(CallError::NoSuchMethod), generic);
    assert_eq!(response_to(CallError::Unauthorized), generic);
    assert_eq!(response_to(CallError::Binding("an integer".into())), generic);
    assert_eq!(response_to(CallError::Failed(HubError::hidden("IoError", "secret"))), generic);
    let shown = HubError::new("full").with_data(&10);
    assert_eq!(response_to(CallError::Failed(shown)), [r#"frame {"I":"0","H":true,"E":"full","D":10}"#]);
}

#[test]
fn detailed_errors_use_texts_of_aspnet_signalr() {
    let mut test = detailed();
    let count = |method: &str| CallError::WrongArgumentCount { method: method.into(), given: 2, expected: 1 };
    let unresolved = "'Add' method could not be resolved. ";
    for (error, expected) in [
        (CallError::NoSuchMethod, format!("{unresolved}No method found with that name.")),
        (count("add"), format!("{unresolved}No method found with that name.")),
        (count("Add"), format!("{unresolved}Potential candidates are: \nAdd(1 arguments)")),
        (CallError::Unauthorized, "Caller is not authorized to invoke the Add method on chat.".into()),
        (CallError::Failed(HubError::hidden("IoError", "secret")), "secret".into()),
        (CallError::Binding("no integer".into()), "no integer".into()),
    ] {
        test.receive_text(ADD);
        let frame = serde_json::json!({ "I": "0", "E": expected });
        assert_eq!(test.complete_call(Err(error)), [format!("frame {}", encode_in_order(&frame))]);
    }
}

/// Wire: the id is before the error.
fn encode_in_order(answer: &serde_json::Value) -> String {
    format!(r#"{{"I":{},"E":{}}}"#, answer["I"], answer["E"])
}

#[test]
fn only_changed_state_is_returned() {
    let mut test = TestSession::open();
    test.receive_text(r#"{"H":"chat","M":"Paint","I":"x","S":{"nick":"ada","color":"red"}}"#);
    let state = test.running[0].state.clone();
    state.set("color", "blue");
    state.set("nick", "ada");
    assert_eq!(test.complete_call(Ok(json(()))), [r#"frame {"S":{"color":"blue"},"I":"x"}"#]);
}

#[test]
fn progress_is_queued_with_its_call_id() {
    let mut test = TestSession::open();
    test.receive_text(ADD);
    let number = test.running.remove(0).number;
    let outbox = Outbox::new(&message::WIRE_FORM, Limits::default(), ReplayLimits::default());
    test.session.reporter(number, &outbox).unwrap()(&json(55));
    assert_eq!(outbox.backlog().bytes, r#"{"I":"P|0","P":{"I":"0","D":55}}"#.len());
}

#[test]
fn invalid_data_closes_only_the_channel() {
    for (data, effect) in [
        (Inbound::Binary(b"x".as_slice().into()), "close channel 1003"),
        (Inbound::TooLarge, "close channel without a close frame"),
    ] {
        let mut test = TestSession::open();
        assert_eq!(test.on(Event::Received(Received { channel: 1, data })), [effect]);
        assert_eq!(test.session.phase(), "open");
    }
}

#[test]
fn ignored_and_oversize_messages_are_reported_for_the_log() {
    let mut session = detailed();
    for data in
        [Inbound::Text("{".into()), Inbound::Text(r#"{"H":"nohub","M":"Add","A":[],"I":0}"#.into()), Inbound::TooLarge]
    {
        session.on(Event::Received(Received { channel: session.channel, data }));
    }
    let reported: Vec<_> = session.reports.iter().map(|fault| (fault.cause, fault.hub.as_deref())).collect();
    let expected = [(Cause::InvalidMessage, None), (Cause::UnknownHub, Some("nohub")), (Cause::MessageTooLong, None)];
    assert_eq!(reported, expected);
    assert_eq!(session.reports[2].reason, "the message is longer than 65536 bytes");
}
