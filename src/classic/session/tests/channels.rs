//! Attach, keep-alive, timeout and loss of channels, for polls and for streams.

use super::*;
use crate::{classic::session::attached::ResumePosition, connection::ChannelDecision, outbox::Resume};

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
    let settings = Settings { long_poll_delay: seconds(7), ..Settings::default() };
    let session = TestSession::new(settings).session;
    for (last, time) in [
        (None, 5),
        (Some(Transport::WebSockets), 35),
        (Some(Transport::ServerSentEvents), 35),
        (Some(Transport::ForeverFrame), 35),
        (Some(Transport::LongPolling), 37),
    ] {
        assert_eq!(session.time_without_channel(last), Some(seconds(time)), "{last:?}");
    }
}

#[test]
fn abandoned_connection_ends() {
    let mut test = TestSession::open();
    assert!(test.on(Event::Detached).is_empty());
    assert_eq!((test.session.phase(), test.until_deadline()), ("away", None));
    assert_eq!(test.on(Event::Abandoned), ["end Lost 1000"]);
}

#[test]
fn reconnected_stream_gets_keep_alive() {
    let mut test = TestSession::open();
    test.on(Event::Detached);
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
    for (cursor, has_gap, effects) in [
        (Some("known"), false, &["run reconnected"][..]),
        (None, false, &["init", "run reconnected"]),
        (Some("another-1F"), false, &["init", "run reconnected with a gap"]),
        (Some("known"), true, &["init", "run reconnected with a gap"]),
    ] {
        let mut test = TestSession::open();
        let attached = ChannelAttached { has_gap, ..test.channel(Transport::ServerSentEvents, ConnectKind::Reconnect) };
        let attached = if cursor == Some("known") { attached } else { with_cursor(attached, cursor) };
        assert_eq!(test.attached(attached), effects, "{cursor:?} {has_gap}");
    }
}

#[test]
fn reconnects_and_gaps_are_counted() {
    for (transport, connect_kind, has_gap, counted) in [
        (Transport::WebSockets, ConnectKind::Reconnect, false, &["CountReconnect { is_recreated: false }"][..]),
        (Transport::LongPolling, ConnectKind::Other, true, &["CountGap"]),
        (Transport::LongPolling, ConnectKind::Other, false, &[]),
    ] {
        let mut test = TestSession::open();
        let attached = ChannelAttached { has_gap, ..test.channel(transport, connect_kind) };
        test.attached(attached);
        assert_eq!(test.counted, counted, "{transport:?} {connect_kind:?}");
    }
}

#[test]
fn poll_of_a_recreated_connection_is_a_reconnect() {
    let mut test = TestSession::new(Settings::default());
    let channel = with_cursor(test.channel(Transport::LongPolling, ConnectKind::Other), Some("another-1F"));
    let poll = ChannelAttached { is_rejoined: true, ..channel };
    assert_eq!(test.attached(poll), ["init", "run reconnected with a gap", "refresh groups token"]);
    assert_eq!(test.counted, ["CountGap", "CountReconnect { is_recreated: true }"]);
}

#[test]
fn cursor_is_valid_only_in_its_epoch() {
    let session = TestSession::new(Settings::default()).session;
    let position = |cursor, has_had_channel| session.resume_point(cursor, has_had_channel);
    let known = format!("{}-1F", session.epoch);
    assert_eq!(position(None, false), (Resume::Waiting, ResumePosition::Unspecified));
    assert_eq!(position(None, true), (Resume::Tail, ResumePosition::Unspecified));
    assert_eq!(position(Some(&known), true), (Resume::From(31), ResumePosition::Known));
    for foreign in ["zzz", "d-FFFFFFFF-B,0|C,0", "another-1F", ""] {
        assert_eq!(position(Some(foreign), true), (Resume::Tail, ResumePosition::Lost), "{foreign}");
    }
}

/// Decides about a request for a channel of a connection whose channels have these transports so far.
fn decide(before: &[Transport], transport: Transport, connect_kind: ConnectKind) -> String {
    let session = TestSession::new(Settings::default()).session;
    let mut channels = ChannelState::new(None);
    for (number, transport) in (1..).zip(before) {
        channels.attach(OpenChannel { number, transport: *transport });
    }
    let request = request_for_channel(connect_kind, None);
    let attach = AttachChannel { transport, socket: None, context: None, identity: None, request };
    match session.decide_channel(&attach, &channels, 0) {
        ChannelDecision::Attach => "attach".into(),
        ChannelDecision::Rejoin(plan) => format!("rejoin{}", if plan.joins_durable { " durable" } else { "" }),
        ChannelDecision::Refuse(StalePoll(frame)) => text(&frame[2..]).replace(&*session.epoch, "epoch"),
    }
}

#[test]
fn only_new_and_polling_clients_attach_without_rejoin() {
    let (socket, poll) = (Transport::WebSockets, Transport::LongPolling);
    for (before, transport, connect_kind, decision) in [
        (&[][..], socket, ConnectKind::Connect, "attach"),
        (&[], socket, ConnectKind::Reconnect, "rejoin"),
        (&[], poll, ConnectKind::Other, "rejoin"),
        (&[socket], poll, ConnectKind::Connect, "rejoin durable"),
        (&[socket], socket, ConnectKind::Reconnect, "rejoin"),
        (&[socket], socket, ConnectKind::Other, "rejoin"),
        (&[poll], poll, ConnectKind::Other, "attach"),
        (&[poll], poll, ConnectKind::Reconnect, "rejoin"),
        (&[socket], poll, ConnectKind::Other, r#"{"C":"epoch-0","M":[]}"#),
        (&[socket, poll], poll, ConnectKind::Other, "attach"),
    ] {
        assert_eq!(decide(before, transport, connect_kind), decision, "{before:?} {transport:?} {connect_kind:?}");
    }
}

#[test]
fn failed_on_reconnected_closes_the_channel() {
    let mut test = TestSession::open();
    test.attach(Transport::WebSockets, ConnectKind::Reconnect);
    assert_eq!(test.on(Event::Reconnected(Err(HubError::new("not now")))), ["close channel 1000"]);
    assert_eq!(test.session.phase(), "open");
}

#[test]
fn data_of_closing_channel_is_ignored() {
    let call = || Inbound::Text(r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#.to_owned().into());
    let binary = || Inbound::Binary(b"binary"[..].into());
    let mut test = TestSession::open();
    let channel = test.channel;
    assert_eq!(test.on(Event::Received(Received { channel, data: binary() })), ["close channel 1003"]);
    for data in [call(), binary()] {
        assert!(test.on(Event::Received(Received { channel, data })).is_empty());
    }
}
