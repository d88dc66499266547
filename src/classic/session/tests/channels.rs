//! Attach, keep-alive, timeout and loss of channels, for polls and for streams.

use super::*;

#[test]
fn stream_gets_keep_alive_every_period() {
    let mut test = TestSession::open();
    assert_eq!(test.until_deadline(), Some(seconds(10)));
    assert!(test.advance(seconds(9)).is_empty());
    assert_eq!(test.advance(seconds(1)), ["frame {}"]);
    assert_eq!(test.until_deadline(), Some(seconds(10)));
    assert_eq!(test.advance(seconds(10)), ["frame {}"]);
}

#[test]
fn stream_with_keep_alive_never_times_out() {
    let mut test = TestSession::open();
    for _ in 0..60 {
        assert_eq!(test.advance(seconds(10)), ["frame {}"]);
    }
}

#[test]
fn stream_without_keep_alive_times_out() {
    let mut test = TestSession::open_with(Settings { keep_alive: None, ..Settings::default() });
    assert_eq!(test.until_deadline(), Some(seconds(110)));
    assert!(test.advance(seconds(109)).is_empty());
    assert_eq!(test.advance(seconds(1)), ["close channel 1000"]);
    assert_eq!(test.until_deadline(), None, "it ends once");
}

#[test]
fn empty_poll_is_answered_after_connection_timeout() {
    let mut test = TestSession::open();
    test.attach(Transport::LongPolling, ConnectKind::Other);
    for _ in 0..10 {
        assert_eq!(test.advance(seconds(10)), ["frame {}"]);
    }
    assert_eq!(test.advance(seconds(10)), ["init"]);
}

#[test]
fn connection_outlives_its_channel_for_a_while() {
    for (transport, grace) in [
        (Transport::WebSockets, 35),
        (Transport::ServerSentEvents, 35),
        (Transport::ForeverFrame, 35),
        (Transport::LongPolling, 30),
    ] {
        let mut test = TestSession::open();
        test.attach(transport, ConnectKind::Reconnect);
        assert!(test.on(Event::Detached).is_empty());
        assert_eq!(test.session.phase(), "away");
        assert_eq!(test.until_deadline(), Some(seconds(grace)));
        assert!(test.advance(seconds(grace - 1)).is_empty());
        assert_eq!(test.advance(seconds(1)), ["end Lost 1000", "terminate"]);
    }
}

#[test]
fn long_poll_delay_extends_the_disconnect_timeout() {
    let mut test = TestSession::open_with(Settings { long_poll_delay: seconds(7), ..Settings::default() });
    test.attach(Transport::LongPolling, ConnectKind::Other);
    test.on(Event::Detached);
    assert_eq!(test.until_deadline(), Some(seconds(37)));
}

#[test]
fn connection_without_any_channel_ends() {
    let mut test = TestSession::new(Settings::default());
    assert_eq!(test.until_deadline(), Some(seconds(35)));
    assert_eq!(test.advance(seconds(35)), ["end Lost 1000", "terminate"]);
}

#[test]
fn reconnect_in_time_keeps_the_connection() {
    let mut test = TestSession::open();
    test.on(Event::Detached);
    test.advance(seconds(34));
    assert_eq!(test.attach(Transport::WebSockets, ConnectKind::Reconnect), ["run reconnected"]);
    assert_eq!(test.advance(seconds(10)), ["frame {}"]);
}

#[test]
fn only_reconnects_run_on_reconnected() {
    for (transport, connect_kind, effects) in [
        (Transport::WebSockets, ConnectKind::Reconnect, &["run reconnected"][..]),
        (Transport::WebSockets, ConnectKind::Other, &["run reconnected"]),
        (Transport::ServerSentEvents, ConnectKind::Other, &["run reconnected"]),
        (Transport::ForeverFrame, ConnectKind::Other, &["run reconnected"]),
        (Transport::LongPolling, ConnectKind::Reconnect, &["run reconnected"]),
        (Transport::LongPolling, ConnectKind::Other, &[]),
    ] {
        let mut test = TestSession::open();
        assert_eq!(test.attach(transport, connect_kind), effects, "{transport:?} {connect_kind:?}");
    }
}

#[test]
fn unknown_position_sends_a_frame_at_once() {
    for (resume_position, effects) in [
        (ResumePosition::Known, &["run reconnected"][..]),
        (ResumePosition::Unspecified, &["init", "run reconnected"]),
        (ResumePosition::Lost, &["init", "run reconnected with a gap"]),
    ] {
        let mut test = TestSession::open();
        let attached =
            ChannelAttached { resume_position, ..test.channel(Transport::ServerSentEvents, ConnectKind::Reconnect) };
        assert_eq!(test.attached(&attached), effects, "{resume_position:?}");
    }
}

#[test]
fn poll_of_a_recreated_connection_is_a_reconnect() {
    let mut test = TestSession::new(Settings::default());
    let channel = test.channel(Transport::LongPolling, ConnectKind::Other);
    let poll =
        ChannelAttached { resume_position: ResumePosition::Lost, is_recreated: true, is_rejoined: true, ..channel };
    assert_eq!(test.attached(&poll), ["init", "run reconnected with a gap", "refresh groups token"]);
}

#[test]
fn cursor_is_valid_only_in_its_epoch() {
    let mut test = TestSession::new(Settings::default());
    let epoch = test.session.epoch().to_string();
    assert_eq!(test.session.resume_point(None), (Resume::Waiting, ResumePosition::Unspecified));
    assert_eq!(test.session.resume_point(Some(&format!("{epoch}-1F"))), (Resume::From(31), ResumePosition::Known));
    for foreign in ["zzz", "d-FFFFFFFF-B,0|C,0", "another-1F", ""] {
        assert_eq!(test.session.resume_point(Some(foreign)), (Resume::Tail, ResumePosition::Lost), "{foreign}");
    }
    test.attach(Transport::WebSockets, ConnectKind::Connect);
    assert_eq!(test.session.resume_point(None), (Resume::Tail, ResumePosition::Unspecified));
}

#[test]
fn only_a_poll_is_not_a_stream() {
    let mut test = TestSession::open();
    assert!(test.session.has_stream());
    test.attach(Transport::LongPolling, ConnectKind::Reconnect);
    assert!(!test.session.has_stream());
    test.on(Event::Detached);
    assert!(!test.session.has_stream() && test.session.has_had_channel());
}

#[test]
fn failed_on_reconnected_closes_the_channel() {
    let mut test = TestSession::open();
    test.attach(Transport::WebSockets, ConnectKind::Reconnect);
    assert_eq!(test.on(Event::Reconnected(Err(HubError::new("not now")))), ["close channel 1000"]);
    assert_eq!(test.session.phase(), "open");
}

#[test]
fn data_of_replaced_or_closing_channel_is_ignored() {
    let call = || Inbound::Text(r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#.to_owned().into());
    let binary = || Inbound::Binary(b"binary"[..].into());
    let mut test = TestSession::open();
    let older = test.channel;
    test.attach(Transport::WebSockets, ConnectKind::Reconnect);
    for data in [call(), binary()] {
        assert!(test.on(Event::Received(Received { channel: older, data })).is_empty());
    }
    let newer = test.channel;
    assert_eq!(test.on(Event::Received(Received { channel: newer, data: binary() })), ["close channel 1003"]);
    for data in [call(), binary()] {
        assert!(test.on(Event::Received(Received { channel: newer, data })).is_empty());
    }
}
