//! The rules of streams in both directions.

use super::*;

fn stream_call(id: &str, target: &str) -> String {
    format!("{{\"type\":4,\"invocationId\":\"{id}\",\"target\":\"{target}\",\"arguments\":[]}}\u{1e}")
}

fn upload_call(id: &str, target: &str, stream: &str) -> String {
    format!(
        "{{\"type\":1,\"invocationId\":\"{id}\",\"target\":\"{target}\",\"arguments\":[],\"streamIds\":[\"{stream}\"]}}\u{1e}"
    )
}

fn item_message(id: &str, item: &str) -> String {
    format!("{{\"type\":2,\"invocationId\":\"{id}\",\"item\":{item}}}\u{1e}")
}

fn cancel(id: &str) -> String {
    format!("{{\"type\":5,\"invocationId\":\"{id}\"}}\u{1e}")
}

fn item(number: u64, json: &'static str) -> Event<Session> {
    Event::StreamItem(number, Ok(Payload::from_encoded(Format::Json, json.into())))
}

#[test]
fn items_and_end_carry_the_invocation_id() {
    let mut session = TestSession::open(Settings::default());
    assert_eq!(session.send_text(&stream_call("a", "Count")), "call Count()");
    assert_eq!(session.on(item(0, "1")), r#"send {"type":2,"invocationId":"a","item":1}"#);
    assert_eq!(session.on(Event::StreamEnded(0)), r#"send {"type":3,"invocationId":"a"}"#);
    assert_eq!(session.on(item(0, "2")), "", "the stream has ended");
    assert_eq!(session.inner.calls(), 0);
}

#[test]
fn error_of_a_stream_ends_it() {
    for (error, text) in [
        (HubError::new("told so"), "An error occurred on the server while streaming results. HubException: told so"),
        (HubError::hidden("E", "secret"), "An error occurred on the server while streaming results."),
    ] {
        let mut session = TestSession::open(Settings::default());
        session.send_text(&stream_call("a", "Count"));
        let sent = session.on(Event::StreamItem(0, Err(error)));
        assert_eq!(sent, format!(r#"send {{"type":3,"invocationId":"a","error":"{text}"}}"#));
        assert_eq!(session.on(Event::StreamEnded(0)), "");
    }
}

#[test]
fn cancelled_stream_ends_without_error() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&stream_call("a", "Count"));
    let effects = session.send_text(&cancel("a"));
    assert_eq!(effects, r#"send {"type":3,"invocationId":"a"}"#);
    assert!(session.streams[0].is_cancelled());
    assert_eq!(session.send_text(&cancel("a")), "", "a second one is ignored");
    assert_eq!(session.on(item(0, "1")), "");
    assert_eq!(session.finish_call(Err(CallError::Unauthorized)), "", "the client has its answer");
}

#[test]
fn cancellation_concerns_streams_only() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "Known"));
    assert_eq!(session.send_text(&cancel("1")), "");
    assert_eq!(session.finish_call(Ok("5")), r#"send {"type":3,"invocationId":"1","result":5}"#);
}

#[test]
fn id_of_a_running_stream_is_refused() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&stream_call("a", "Count"));
    let error = r#"send {"type":3,"invocationId":"a","error":"Invocation ID 'a' is already in use."}"#;
    assert_eq!(session.send_text(&stream_call("a", "Count")), error);
    assert_eq!(session.send_text(&call("a", "Known")), "call Known()", "a plain call may use it");
}

#[test]
fn calls_with_streams_take_no_slot() {
    let mut session = TestSession::open(Settings::default());
    assert_eq!(session.send_text(&call("1", "Known")), "call Known()");
    assert_eq!(session.send_text(&stream_call("2", "Count")), "call Count()");
    assert_eq!(session.send_text(&upload_call("3", "Sum", "s")), "call Sum()");
    assert_eq!(session.send_text(&call("4", "Known")), "", "it waits for the first call");
    assert_eq!(session.send_text(&stream_call("5", "Count")), "", "and what is behind it waits too");
    assert_eq!(session.inner.calls(), 5);
}

#[test]
fn number_of_calls_with_streams_is_limited() {
    let mut session = TestSession::open(Settings::default());
    for id in 0..1000 {
        assert_eq!(session.send_text(&stream_call(&id.to_string(), "Count")), "call Count()");
    }
    let error = "The client has 1000 invocations with streams already.";
    let refused = format!(r#"send {{"type":3,"invocationId":"x","error":"{error}"}}"#);
    assert_eq!(session.send_text(&stream_call("x", "Count")), refused);
    assert_eq!(session.send_text(&upload_call("x", "Sum", "s")), refused);
    session.on(Event::StreamEnded(0));
    assert_eq!(session.send_text(&stream_call("x", "Count")), "call Count()");
}

/// Opens a session in which a hub method receives the stream `s`, which buffers `capacity` items.
fn uploading(capacity: usize) -> TestSession {
    let capacity = std::num::NonZeroUsize::new(capacity).expect("a capacity");
    let mut session = TestSession::open(Settings { stream_capacity: capacity, ..Settings::default() });
    assert_eq!(session.send_text(&upload_call("1", "Sum", "s")), "call Sum()");
    session
}

#[test]
fn full_stream_blocks_the_messages_behind_it() {
    let mut session = uploading(2);
    assert_eq!(session.send_text(&item_message("s", "1")), "");
    assert_eq!(session.send_text(&item_message("s", "2")), "");
    assert_eq!(session.send_text(&call("2", "Known")), "call Known()");
    assert_eq!(session.send_text(&item_message("s", "3")), "await upload");
    assert_eq!(session.send_text(&call("3", "Known")), "");
    assert_eq!(session.on(Event::UploadReady), "await upload", "the space was taken meanwhile");
    session.uploads.clear();
    assert_eq!(session.on(Event::UploadReady), "", "the call waits for a slot");
    assert_eq!(session.finish_call(Ok("1")), r#"send {"type":3,"invocationId":"1","result":1}"#);
}

#[test]
fn client_timeout_pauses_while_a_stream_is_full() {
    let mut session = uploading(1);
    session.send_text(PING);
    session.send_text(&item_message("s", "1"));
    session.send_text(&item_message("s", "2"));
    let effects = session.advance(seconds(100));
    assert!(effects.starts_with(r#"send {"type":6}"#), "{effects}");
    assert_eq!(session.phase(), "open");
}

#[test]
fn items_of_unknown_streams_are_ignored() {
    let mut session = TestSession::open(Settings::default());
    assert_eq!(session.send_text(&item_message("nope", "1")), "");
}

#[test]
fn other_completions_are_client_results() {
    let mut session = uploading(1);
    for (message, result) in [
        ("{\"type\":3,\"invocationId\":\"s\"}\u{1e}", ""),
        ("{\"type\":3,\"invocationId\":\"s\"}\u{1e}", "client result s Void"),
        ("{\"type\":3,\"invocationId\":\"s1\",\"error\":\"e\"}\u{1e}", "client result s1 Error(\"e\")"),
    ] {
        assert_eq!(session.send_text(message), result, "{message}");
    }
}

#[test]
fn call_that_waits_for_a_client_gives_its_slot_back() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "Ask"));
    assert_eq!(session.send_text(&call("2", "Known")), "");
    assert_eq!(session.on(Event::SlotReleased(0)), "call Known()");
    assert_eq!(session.on(Event::SlotReleased(0)), "", "it has none any more");
    assert_eq!(session.send_text(&call("3", "Known")), "", "the limit still holds");
    assert_eq!(session.finish_call(Ok("1")), r#"send {"type":3,"invocationId":"1","result":1}"#);
    let effects = session.finish_call(Ok("2"));
    assert_eq!(effects, r#"send {"type":3,"invocationId":"2","result":2} | call Known()"#);
}

#[test]
fn result_for_another_client_ends_the_connection() {
    let mut session = TestSession::open(Settings::default());
    let effects = session.on(Event::ForeignResult(HubError::hidden("InvalidOperationException", "not yours")));
    assert_eq!(
        effects,
        "send {\"type\":7,\"error\":\"Connection closed with an error.\",\"allowReconnect\":true} | \
         end Faulted 1000 of InvalidOperationException: not yours"
    );
}

#[test]
fn items_for_a_finished_call_are_ignored() {
    let mut session = uploading(1);
    session.uploads.clear();
    session.finish_call(Ok("1"));
    for item in ["1", "2"] {
        assert_eq!(session.send_text(&item_message("s", item)), "");
    }
    assert_eq!(session.send_text(&call("2", "Known")), "call Known()");
}

fn completion(id: &str) -> String {
    format!("{{\"type\":3,\"invocationId\":\"{id}\"}}\u{1e}")
}

#[test]
fn client_result_overtakes_a_queued_call() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&[call("1", "First"), call("2", "Second")].concat());
    assert_eq!(session.send_text(&completion("s1")), "client result s1 Void");
    assert!(session.finish_call(Ok("7")).ends_with("call Second()"));
}

#[test]
fn client_result_overtakes_an_item_of_a_full_stream() {
    let mut session = uploading(1);
    session.send_text(&item_message("s", "1"));
    assert_eq!(session.send_text(&item_message("s", "2")), "await upload");
    assert_eq!(session.send_text(&completion("s1")), "client result s1 Void");
    assert_eq!(session.send_text(&completion("s")), "", "the end of the stream keeps its place");
}

#[test]
fn end_of_a_stream_waits_for_its_queued_call() {
    let mut session = TestSession::open(Settings::default());
    session.send_text(&call("1", "First"));
    let behind = [call("2", "Second"), upload_call("3", "Sum", "s1"), completion("s1")].concat();
    assert_eq!(session.send_text(&behind), "");
    assert!(session.finish_call(Ok("7")).ends_with("call Second() | call Sum()"));
    assert_eq!(session.send_text(&completion("s1")), "client result s1 Void", "the stream has ended");
}

#[test]
fn acknowledgement_overtakes_a_queued_call() {
    let mut session = TestSession::with_config(SessionConfig { can_reconnect: true, ..config(Settings::default()) });
    session.send_text("{\"protocol\":\"json\",\"version\":2}\u{1e}");
    session.on(Event::Connected(Ok(())));
    session.send_text(&[call("1", "First"), call("2", "Second")].concat());
    assert_eq!(session.send_text("{\"type\":8,\"sequenceId\":7}\u{1e}"), "acknowledge 7");
}
