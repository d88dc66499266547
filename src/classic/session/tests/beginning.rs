//! The start of a connection: durable groups first, then OnConnected, each once.

use super::*;

fn refused(error: HubError, is_retryable: bool) -> Event<Session> {
    Event::Connected(Err(ConnectError { error, is_retryable }))
}

/// The channel of a client that sends no start request.
fn without_start(mut attached: ChannelAttached<Session>) -> ChannelAttached<Session> {
    attached.request.sends_start = false;
    attached
}

#[test]
fn init_frame_is_sent_at_once() {
    let mut test = TestSession::new(Settings::default());
    assert_eq!(test.attach(Transport::WebSockets, ConnectKind::Connect), ["init \"S\":1", "restore groups"]);
    assert_eq!(test.session.phase(), "connecting");
}

#[test]
fn start_waits_for_durable_groups() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::ServerSentEvents, ConnectKind::Connect);
    let (effects, mut response) = test.start();
    assert_eq!(effects, ["set context"]);
    assert_eq!(test.on(Event::Restored(Ok(()))), ["run connected"]);
    assert!(response.try_recv().is_err(), "OnConnected has not run yet");
    assert!(test.on(Event::Connected(Ok(()))).is_empty());
    assert_eq!(response.try_recv(), Ok(Ok(())));
    assert_eq!(test.session.phase(), "open");
}

#[test]
fn start_after_groups_runs_on_connected_at_once() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::LongPolling, ConnectKind::Connect);
    assert!(test.on(Event::Restored(Ok(()))).is_empty(), "OnConnected was not requested");
    assert_eq!(test.start().0, ["set context", "run connected"]);
}

#[test]
fn start_before_any_channel_restores_groups() {
    let mut test = TestSession::new(Settings::default());
    assert_eq!(test.start().0, ["set context", "restore groups"]);
    assert_eq!(test.on(Event::Restored(Ok(()))), ["run connected"]);
    assert_eq!(test.attach(Transport::WebSockets, ConnectKind::Connect), ["init \"S\":1"]);
}

#[test]
fn several_starts_share_one_on_connected() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::LongPolling, ConnectKind::Connect);
    let (_, mut first) = test.start();
    test.on(Event::Restored(Ok(())));
    let (effects, mut second) = test.start();
    assert!(effects.is_empty());
    test.on(Event::Connected(Ok(())));
    let (effects, mut third) = test.start();
    assert!(effects.is_empty());
    for response in [&mut first, &mut second, &mut third] {
        assert_eq!(response.try_recv(), Ok(Ok(())));
    }
}

#[test]
fn old_protocol_gets_init_after_on_connected() {
    let mut test = TestSession::new(Settings::default());
    let attached = without_start(test.channel(Transport::WebSockets, ConnectKind::Connect));
    assert_eq!(test.attached(attached), ["restore groups"]);
    assert_eq!(test.on(Event::Restored(Ok(()))), ["run connected"]);
    assert_eq!(test.on(Event::Connected(Ok(()))), ["init \"S\":1"]);
}

#[test]
fn old_protocol_transport_change_runs_on_connected_once() {
    let mut test = TestSession::new(Settings::default());
    let first = without_start(test.channel(Transport::WebSockets, ConnectKind::Connect));
    test.attached(first);
    test.on(Event::Restored(Ok(())));
    let second = without_start(test.channel(Transport::LongPolling, ConnectKind::Connect));
    assert!(test.attached(second).is_empty(), "it waits for the same OnConnected");
    assert_eq!(test.on(Event::Connected(Ok(()))), ["init \"S\":1"]);
    let third = without_start(test.channel(Transport::LongPolling, ConnectKind::Connect));
    assert_eq!(test.attached(third), ["init \"S\":1"]);
}

#[test]
fn refusal_text_is_generic_unless_meant_for_clients() {
    let hidden = || HubError::hidden("IoError", "secret");
    for (error, is_detailed, expected) in [
        (HubError::new("room full"), false, "room full"),
        (hidden(), false, "The connection was not let in."),
        (hidden(), true, "secret"),
    ] {
        let mut test = TestSession::new(Settings { detailed_errors: is_detailed, ..Settings::default() });
        test.attach(Transport::WebSockets, ConnectKind::Connect);
        test.on(Event::Restored(Ok(())));
        let (_, mut response) = test.start();
        assert_eq!(test.on(refused(error, false)), ["end Refused 1000"]);
        assert_eq!(response.try_recv(), Ok(Err(StartError { text: expected.into(), is_retryable: false })));
    }
}

#[test]
fn store_outage_refusal_is_retryable() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::WebSockets, ConnectKind::Connect);
    let (_, mut response) = test.start();
    let outage = ConnectError { error: HubError::new("the store is away"), is_retryable: true };
    assert_eq!(test.on(Event::Restored(Err(outage))), ["end Refused 1000"]);
    assert_eq!(response.try_recv(), Ok(Err(StartError { text: "the store is away".into(), is_retryable: true })));
}

#[test]
fn reconnect_after_restart_runs_only_on_reconnected() {
    let mut test = TestSession::new(Settings::default());
    let channel = test.channel(Transport::ServerSentEvents, ConnectKind::Reconnect);
    let back = ChannelAttached { is_rejoined: true, ..with_cursor(channel, Some("another-1F")) };
    assert_eq!(test.attached(back), ["init", "run reconnected with a gap", "refresh groups token"]);
    assert!(test.on(Event::Reconnected(Ok(()))).is_empty());
    assert_eq!(test.counted, ["CountGap", "CountReconnect { is_recreated: true }"]);
}

#[test]
fn start_during_rejoin_runs_on_connected() {
    let mut test = TestSession::new(Settings::default());
    let (effects, mut response) = test.start();
    assert_eq!(effects, ["set context", "restore groups"]);
    let channel = test.channel(Transport::ServerSentEvents, ConnectKind::Reconnect);
    let back = ChannelAttached { is_rejoined: true, ..channel };
    assert_eq!(test.attached(back), ["run reconnected", "refresh groups token", "run connected"]);
    assert!(test.on(Event::Restored(Ok(()))).is_empty(), "OnConnected is running already");
    assert!(test.on(Event::Connected(Ok(()))).is_empty());
    assert_eq!(response.try_recv(), Ok(Ok(())));
}

#[test]
fn pending_init_is_sent_on_the_next_poll() {
    let mut test = TestSession::new(Settings::default());
    let first = without_start(test.channel(Transport::LongPolling, ConnectKind::Connect));
    assert_eq!(test.attached(first), ["restore groups"]);
    test.on(Event::Detached);
    assert_eq!(test.on(Event::Restored(Ok(()))), ["run connected"], "its OnConnected runs all the same");
    assert!(test.on(Event::Connected(Ok(()))).is_empty(), "there is no channel for the init frame");
    assert_eq!(test.attach(Transport::LongPolling, ConnectKind::Other), ["init \"S\":1"]);
    assert!(test.attach(Transport::LongPolling, ConnectKind::Other).is_empty(), "once is enough");
}

#[test]
fn early_call_waits_for_durable_groups() {
    let mut test = TestSession::new(Settings::default());
    test.attach(Transport::WebSockets, ConnectKind::Connect);
    let call = r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#;
    assert!(test.receive_text(call).is_empty());
    assert_eq!(test.on(Event::Restored(Ok(()))), ["invoke Chat.Add"]);
    assert_eq!(test.receive_text(call), ["invoke Chat.Add"]);
}
