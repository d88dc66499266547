//! The beginning: durable groups first, OnConnected then, each once.

use super::*;

fn refused(error: HubError, is_retryable: bool) -> Event<PendingInvocation> {
    Event::Connected(Err(ConnectError { error, is_retryable }))
}

#[test]
fn the_init_frame_waits_for_nobody() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.attach(Transport::WebSockets, ConnectKind::Connect), ["open \"S\":1", "restore"]);
    assert_eq!(bench.session.phase(), "connecting");
}

#[test]
fn a_start_before_the_groups_are_joined_waits_for_them() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::ServerSentEvents, ConnectKind::Connect);
    let (effects, mut answer) = bench.start();
    assert!(effects.is_empty());
    assert_eq!(bench.on(Event::Restored(Ok(()))), ["welcome"]);
    assert!(answer.try_recv().is_err(), "OnConnected has not run yet");
    assert!(bench.on(Event::Connected(Ok(()))).is_empty());
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert_eq!(bench.session.phase(), "open");
}

#[test]
fn a_start_after_the_groups_are_joined_runs_on_connected_at_once() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::LongPolling, ConnectKind::Connect);
    assert!(bench.on(Event::Restored(Ok(()))).is_empty(), "nobody has asked for OnConnected");
    assert_eq!(bench.start().0, ["welcome"]);
}

#[test]
fn a_start_that_comes_before_every_channel_has_the_groups_joined() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.start().0, ["restore"]);
    assert_eq!(bench.on(Event::Restored(Ok(()))), ["welcome"]);
    assert_eq!(bench.attach(Transport::WebSockets, ConnectKind::Connect), ["open \"S\":1"]);
}

#[test]
fn several_starts_share_one_on_connected() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::LongPolling, ConnectKind::Connect);
    let (_, mut first) = bench.start();
    bench.on(Event::Restored(Ok(())));
    let (effects, mut second) = bench.start();
    assert!(effects.is_empty());
    bench.on(Event::Connected(Ok(())));
    let (effects, mut third) = bench.start();
    assert!(effects.is_empty());
    for answer in [&mut first, &mut second, &mut third] {
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }
}

#[test]
fn a_client_of_the_old_protocol_gets_its_init_frame_after_on_connected() {
    let mut bench = Bench::new(Settings::default());
    let attached =
        ChannelAttached { asks_for_start: false, ..bench.channel(Transport::WebSockets, ConnectKind::Connect) };
    assert_eq!(bench.attached(&attached), ["restore"]);
    assert_eq!(bench.on(Event::Restored(Ok(()))), ["welcome"]);
    assert_eq!(bench.on(Event::Connected(Ok(()))), ["open \"S\":1"]);
}

#[test]
fn an_old_client_that_changes_its_transport_has_on_connected_run_once() {
    let mut bench = Bench::new(Settings::default());
    let first = ChannelAttached { asks_for_start: false, ..bench.channel(Transport::WebSockets, ConnectKind::Connect) };
    bench.attached(&first);
    bench.on(Event::Restored(Ok(())));
    let second =
        ChannelAttached { asks_for_start: false, ..bench.channel(Transport::LongPolling, ConnectKind::Connect) };
    assert!(bench.attached(&second).is_empty(), "it waits for the same OnConnected");
    assert_eq!(bench.on(Event::Connected(Ok(()))), ["open \"S\":1"]);
    let third =
        ChannelAttached { asks_for_start: false, ..bench.channel(Transport::LongPolling, ConnectKind::Connect) };
    assert_eq!(bench.attached(&third), ["open \"S\":1"]);
}

#[test]
fn whom_on_connected_refuses_is_told_why_if_that_is_for_clients() {
    let hidden = || HubError::hidden("IoError", "secret");
    for (error, is_detailed, told) in [
        (HubError::new("room full"), false, "room full"),
        (hidden(), false, "The connection was not let in."),
        (hidden(), true, "secret"),
    ] {
        let mut bench = Bench::new(Settings { detailed_errors: is_detailed, ..Settings::default() });
        bench.attach(Transport::WebSockets, ConnectKind::Connect);
        bench.on(Event::Restored(Ok(())));
        let (_, mut answer) = bench.start();
        assert_eq!(bench.on(refused(error, false)), ["end Refused 1000"]);
        assert_eq!(answer.try_recv(), Ok(Err(StartError { text: told.into(), is_retryable: false })));
    }
}

#[test]
fn a_store_that_cannot_answer_refuses_a_client_that_may_try_again() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::WebSockets, ConnectKind::Connect);
    let (_, mut answer) = bench.start();
    let outage = ConnectError { error: HubError::new("the store is away"), is_retryable: true };
    assert_eq!(bench.on(Event::Restored(Err(outage))), ["end Refused 1000"]);
    assert_eq!(answer.try_recv(), Ok(Err(StartError { text: "the store is away".into(), is_retryable: true })));
}

#[test]
fn a_client_that_returns_after_a_restart_is_reconnected_and_never_connected() {
    let mut bench = Bench::new(Settings::default());
    let channel = bench.channel(Transport::ServerSentEvents, ConnectKind::Reconnect);
    let back = ChannelAttached {
        place: ResumePosition::Lost,
        is_fresh: true,
        claimed: Some(TokenGroups::default()),
        ..channel
    };
    assert_eq!(bench.attached(&back), ["open", "reconnect with a gap", "retoken"]);
    assert!(bench.on(Event::Reconnected(Ok(()))).is_empty());
}

#[test]
fn a_client_that_does_not_ask_for_its_start_has_its_first_frame_whatever_its_poll_was_answered_meanwhile() {
    let mut bench = Bench::new(Settings::default());
    let first =
        ChannelAttached { asks_for_start: false, ..bench.channel(Transport::LongPolling, ConnectKind::Connect) };
    assert_eq!(bench.attached(&first), ["restore"]);
    bench.on(Event::Detached);
    assert_eq!(bench.on(Event::Restored(Ok(()))), ["welcome"], "its OnConnected runs all the same");
    assert!(bench.on(Event::Connected(Ok(()))).is_empty(), "there is no channel to say it on");
    assert_eq!(bench.attach(Transport::LongPolling, ConnectKind::Other), ["open \"S\":1"]);
    assert!(bench.attach(Transport::LongPolling, ConnectKind::Other).is_empty(), "once is enough");
}

#[test]
fn a_call_that_comes_before_the_groups_are_joined_is_acted_on_then() {
    let mut bench = Bench::new(Settings::default());
    bench.attach(Transport::WebSockets, ConnectKind::Connect);
    let call = r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#;
    assert!(bench.hear(call).is_empty());
    assert_eq!(bench.on(Event::Restored(Ok(()))), ["invoke Chat.Add"]);
    assert_eq!(bench.hear(call), ["invoke Chat.Add"]);
}
