//! Calls, and where their answers go.

use std::num::NonZeroUsize;

use tokio::sync::oneshot;

use super::*;
use crate::hub::Request;

const ADD: &str = r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#;

fn request() -> Arc<Request> {
    Arc::new(Request { query: Vec::new(), headers: Vec::new(), remote: None })
}

/// What a request that brings a call comes to: effects, and where its answer goes.
type Posted = (Vec<String>, oneshot::Receiver<Box<[u8]>>);

impl Bench {
    /// A call of a request, and its answer.
    fn post(&mut self, data: &str) -> Result<Posted, TooManyInvocations> {
        let (to, answer) = oneshot::channel();
        let call = message::decode(data).unwrap();
        let incoming = Incoming { hub: "Chat".into(), call, to: To::Request(to), request: Some(request()) };
        let out = self.session.call(incoming)?;
        Ok((self.words(out), answer))
    }
}

fn detailed() -> Bench {
    Bench::open_with(Settings { detailed_errors: true, ..Settings::default() })
}

fn with_room_for(calls: usize) -> Bench {
    let parallel_calls = NonZeroUsize::new(calls).unwrap();
    Bench::open_with(Settings { parallel_calls, ..Settings::default() })
}

#[test]
fn a_call_over_a_socket_is_answered_over_it() {
    let mut bench = Bench::open();
    assert_eq!(bench.hear(ADD), ["invoke Chat.Add"]);
    assert_eq!(bench.session.calls(), 1);
    assert_eq!(bench.return_(Ok(json(5))), [r#"frame {"R":5,"I":"0"}"#]);
    assert_eq!(bench.session.calls(), 0);
}

#[test]
fn a_call_of_a_request_is_answered_to_the_request() {
    let mut bench = Bench::open();
    let (effects, mut answer) = bench.post(ADD).unwrap();
    assert_eq!(effects, ["invoke Chat.Add"]);
    assert_eq!(bench.return_(Ok(json(5))), [r#"answer {"R":5,"I":"0"}"#]);
    assert_eq!(answer.try_recv().unwrap().as_ref(), br#"{"R":5,"I":"0"}"#);
}

#[test]
fn a_result_for_a_channel_that_has_been_replaced_is_dropped() {
    let mut bench = Bench::open();
    bench.hear(ADD);
    bench.attach(Transport::WebSockets, ConnectKind::Reconnect);
    assert!(bench.return_(Ok(json(5))).is_empty(), "on the new channel the id means another call");
    bench.hear(ADD);
    bench.on(Event::Detached);
    assert!(bench.return_(Ok(json(5))).is_empty());
    assert_eq!(bench.session.calls(), 0);
}

#[test]
fn a_result_for_a_request_does_not_need_its_channel() {
    let mut bench = Bench::open();
    let (_, mut answer) = bench.post(ADD).unwrap();
    bench.on(Event::Detached);
    bench.return_(Ok(json(5)));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn what_is_no_call_or_for_no_hub_is_passed_over_on_a_socket() {
    let mut bench = Bench::open();
    for data in ["", "zzz", "[]", "{}", r#"{"H":"nope","M":"Add","I":0}"#, r#"{"H":"chat","I":0}"#] {
        assert!(bench.hear(data).is_empty(), "{data}");
    }
    assert_eq!(bench.hear(ADD), ["invoke Chat.Add"]);
}

#[test]
fn what_can_be_called_over_a_socket_is_what_its_endpoint_serves() {
    let mut bench = Bench::open();
    let elsewhere = bench.channel(Transport::WebSockets, ConnectKind::Reconnect);
    bench.attached(&ChannelAttached { callable: Arc::new(EndpointHubs::new(&["Other".into()])), ..elsewhere });
    assert!(bench.hear(ADD).is_empty());
    assert_eq!(bench.hear(r#"{"H":"OTHER","M":"Hi","I":0}"#), ["invoke Other.Hi"]);
}

#[test]
fn a_busy_client_is_not_read_on_and_its_requests_are_refused() {
    let mut bench = with_room_for(2);
    bench.hear(ADD);
    assert!(!bench.session.is_saturated());
    bench.hear(ADD);
    assert!(bench.session.is_saturated());
    assert!(matches!(bench.post(ADD), Err(TooManyInvocations)));
    bench.return_(Ok(json(5)));
    assert!(!bench.session.is_saturated());
    assert!(bench.post(ADD).is_ok());
}

#[test]
fn an_argument_that_nests_too_deep_fails_without_a_call() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let call = |depth| format!(r#"{{"H":"chat","M":"Any","A":[{}],"I":1}}"#, deep(depth));
    let mut bench = Bench::open();
    assert_eq!(bench.hear(&call(20)), ["invoke Chat.Any"]);
    let generic = r#"frame {"I":"1","E":"There was an error invoking Hub method 'chat.Any'."}"#;
    assert_eq!(bench.hear(&call(21)), [generic]);
    assert_eq!(bench.session.calls(), 1);
}

#[test]
fn failures_are_told_in_general_unless_they_are_for_clients() {
    let mut bench = Bench::open();
    let mut told = |error| {
        bench.hear(ADD);
        bench.return_(Err(error))
    };
    let generic = [r#"frame {"I":"0","E":"There was an error invoking Hub method 'chat.Add'."}"#];
    assert_eq!(told(CallError::NoSuchMethod), generic);
    assert_eq!(told(CallError::Unauthorized), generic);
    assert_eq!(told(CallError::Binding("an integer".into())), generic);
    assert_eq!(told(CallError::Failed(HubError::hidden("IoError", "secret"))), generic);
    let shown = HubError::new("full").with_data(&10);
    assert_eq!(told(CallError::Failed(shown)), [r#"frame {"I":"0","H":true,"E":"full","D":10}"#]);
}

#[test]
fn details_are_the_texts_of_the_original() {
    let mut bench = detailed();
    let count = |method: &str| CallError::WrongArgumentCount { method: method.into(), given: 2, expected: 1 };
    let unresolved = "'Add' method could not be resolved. ";
    for (error, told) in [
        (CallError::NoSuchMethod, format!("{unresolved}No method found with that name.")),
        (count("add"), format!("{unresolved}No method found with that name.")),
        (count("Add"), format!("{unresolved}Potential candidates are: \nAdd(1 arguments)")),
        (CallError::Unauthorized, "Caller is not authorized to invoke the Add method on chat.".into()),
        (CallError::Failed(HubError::hidden("IoError", "secret")), "secret".into()),
        (CallError::Binding("no integer".into()), "no integer".into()),
    ] {
        bench.hear(ADD);
        let frame = serde_json::json!({ "I": "0", "E": told });
        assert_eq!(bench.return_(Err(error)), [format!("frame {}", ordered(&frame))]);
    }
}

/// Wire: the id stands before the error.
fn ordered(answer: &serde_json::Value) -> String {
    format!(r#"{{"I":{},"E":{}}}"#, answer["I"], answer["E"])
}

#[test]
fn a_clients_state_comes_back_as_far_as_it_has_changed() {
    let mut bench = Bench::open();
    bench.hear(r#"{"H":"chat","M":"Paint","I":"x","S":{"nick":"ada","color":"red"}}"#);
    let (_, call) = &bench.running[0];
    call.state.set("color", "blue");
    call.state.set("nick", "ada");
    assert_eq!(bench.return_(Ok(json(()))), [r#"frame {"S":{"color":"blue"},"I":"x"}"#]);
}

#[test]
fn progress_goes_into_the_sequence_and_names_its_call() {
    let mut bench = Bench::open();
    bench.hear(ADD);
    let (_, call) = bench.running.remove(0);
    call.reporter.unwrap()(json(55));
    assert_eq!(*bench.reports.lock().unwrap(), [r#"{"I":"P|0","P":{"I":"0","D":55}}"#]);
}

#[test]
fn what_no_client_may_send_ends_its_channel_and_nothing_more() {
    for (data, effect) in
        [(Inbound::Binary(b"x".as_slice().into()), "hang up 1003"), (Inbound::TooLarge, "hang up 1009")]
    {
        let mut bench = Bench::open();
        assert_eq!(bench.on(Event::Received(Received { channel: 1, data })), [effect]);
        assert_eq!(bench.session.phase(), "open");
    }
}
