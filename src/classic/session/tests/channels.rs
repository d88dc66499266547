//! Channels come, are kept alive, and go; polls and streams differ.

use super::*;

#[test]
fn a_stream_is_written_to_in_every_period_whatever_else_it_carries() {
    let mut bench = Bench::open();
    assert_eq!(bench.rests(), Some(seconds(10)));
    assert!(bench.after(seconds(9)).is_empty());
    assert_eq!(bench.after(seconds(1)), ["frame {}"]);
    assert_eq!(bench.rests(), Some(seconds(10)));
    assert_eq!(bench.after(seconds(10)), ["frame {}"]);
}

#[test]
fn a_stream_that_is_kept_alive_never_times_out() {
    let mut bench = Bench::open();
    for _ in 0..60 {
        assert_eq!(bench.after(seconds(10)), ["frame {}"]);
    }
}

#[test]
fn without_keep_alive_a_stream_ends_after_the_connection_timeout() {
    let mut bench = Bench::open_with(Settings { keep_alive: None, ..Settings::default() });
    assert_eq!(bench.rests(), Some(seconds(110)));
    assert!(bench.after(seconds(109)).is_empty());
    assert_eq!(bench.after(seconds(1)), ["hang up 1000"]);
    assert_eq!(bench.rests(), None, "it ends once");
}

#[test]
fn a_poll_with_nothing_to_say_is_answered_after_the_connection_timeout() {
    let mut bench = Bench::open();
    bench.attach(Transport::LongPolling, ConnectKind::Other);
    for _ in 0..10 {
        assert_eq!(bench.after(seconds(10)), ["frame {}"]);
    }
    assert_eq!(bench.after(seconds(10)), ["open"]);
}

#[test]
fn a_channel_that_goes_leaves_its_client_time_to_come_back() {
    for (transport, grace) in [
        (Transport::WebSockets, 35),
        (Transport::ServerSentEvents, 35),
        (Transport::ForeverFrame, 35),
        (Transport::LongPolling, 30),
    ] {
        let mut bench = Bench::open();
        bench.attach(transport, ConnectKind::Reconnect);
        assert!(bench.on(Event::Detached).is_empty());
        assert_eq!(bench.session.phase(), "away");
        assert_eq!(bench.rests(), Some(seconds(grace)));
        assert!(bench.after(seconds(grace - 1)).is_empty());
        assert_eq!(bench.after(seconds(1)), ["end Lost 1000", "cut"]);
    }
}

#[test]
fn a_pause_between_polls_is_added_to_the_time_to_come_back() {
    let mut bench = Bench::open_with(Settings { long_poll_delay: seconds(7), ..Settings::default() });
    bench.attach(Transport::LongPolling, ConnectKind::Other);
    bench.on(Event::Detached);
    assert_eq!(bench.rests(), Some(seconds(37)));
}

#[test]
fn a_connection_that_never_gets_a_channel_ends_too() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.rests(), Some(seconds(35)));
    assert_eq!(bench.after(seconds(35)), ["end Lost 1000", "cut"]);
}

#[test]
fn a_client_that_is_back_in_time_is_not_given_up() {
    let mut bench = Bench::open();
    bench.on(Event::Detached);
    bench.after(seconds(34));
    assert_eq!(bench.attach(Transport::WebSockets, ConnectKind::Reconnect), ["reconnect"]);
    assert_eq!(bench.after(seconds(10)), ["frame {}"]);
}

#[test]
fn only_what_is_a_return_is_told_to_hubs() {
    for (transport, arrival, effects) in [
        (Transport::WebSockets, ConnectKind::Reconnect, &["reconnect"][..]),
        (Transport::WebSockets, ConnectKind::Other, &["reconnect"]),
        (Transport::ServerSentEvents, ConnectKind::Other, &["reconnect"]),
        (Transport::ForeverFrame, ConnectKind::Other, &["reconnect"]),
        (Transport::LongPolling, ConnectKind::Reconnect, &["reconnect"]),
        (Transport::LongPolling, ConnectKind::Other, &[]),
    ] {
        let mut bench = Bench::open();
        assert_eq!(bench.attach(transport, arrival), effects, "{transport:?} {arrival:?}");
    }
}

#[test]
fn a_client_that_does_not_know_where_it_is_is_told_at_once() {
    for (place, effects) in [
        (ResumePosition::Known, &["reconnect"][..]),
        (ResumePosition::Unsaid, &["open", "reconnect"]),
        (ResumePosition::Lost, &["open", "reconnect with a gap"]),
    ] {
        let mut bench = Bench::open();
        let attached = ChannelAttached { place, ..bench.channel(Transport::ServerSentEvents, ConnectKind::Reconnect) };
        assert_eq!(bench.attached(&attached), effects, "{place:?}");
    }
}

#[test]
fn a_poll_that_is_new_to_this_process_is_a_return() {
    let mut bench = Bench::new(Settings::default());
    let channel = bench.channel(Transport::LongPolling, ConnectKind::Other);
    let poll = ChannelAttached {
        place: ResumePosition::Lost,
        is_fresh: true,
        claimed: Some(TokenGroups::default()),
        ..channel
    };
    assert_eq!(bench.attached(&poll), ["open", "reconnect with a gap", "retoken"]);
}

#[test]
fn a_cursor_is_worth_something_only_in_the_sequence_that_it_is_of() {
    let mut bench = Bench::new(Settings::default());
    let epoch = bench.session.epoch().to_string();
    assert_eq!(bench.session.place(None), (Resume::Waiting, ResumePosition::Unsaid));
    assert_eq!(bench.session.place(Some(&format!("{epoch}-1F"))), (Resume::From(31), ResumePosition::Known));
    for foreign in ["zzz", "d-FFFFFFFF-B,0|C,0", "another-1F", ""] {
        assert_eq!(bench.session.place(Some(foreign)), (Resume::Tail, ResumePosition::Lost), "{foreign}");
    }
    bench.attach(Transport::WebSockets, ConnectKind::Connect);
    assert_eq!(bench.session.place(None), (Resume::Tail, ResumePosition::Unsaid));
}

#[test]
fn only_a_channel_that_is_no_poll_is_a_stream() {
    let mut bench = Bench::open();
    assert!(bench.session.has_stream());
    bench.attach(Transport::LongPolling, ConnectKind::Reconnect);
    assert!(!bench.session.has_stream());
    bench.on(Event::Detached);
    assert!(!bench.session.has_stream() && bench.session.has_had_channel());
}

#[test]
fn a_client_whose_return_fails_has_to_try_again() {
    let mut bench = Bench::open();
    bench.attach(Transport::WebSockets, ConnectKind::Reconnect);
    assert_eq!(bench.on(Event::Reconnected(Err(HubError::new("not now")))), ["hang up 1000"]);
    assert_eq!(bench.session.phase(), "open");
}

#[test]
fn what_comes_over_a_channel_that_was_replaced_or_is_being_closed_is_passed_over() {
    let call = || Inbound::Text(r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#.to_owned().into());
    let binary = || Inbound::Binary(b"binary"[..].into());
    let mut bench = Bench::open();
    let older = bench.channel;
    bench.attach(Transport::WebSockets, ConnectKind::Reconnect);
    for data in [call(), binary()] {
        assert!(bench.on(Event::Received(Received { channel: older, data })).is_empty());
    }
    let newer = bench.channel;
    assert_eq!(bench.on(Event::Received(Received { channel: newer, data: binary() })), ["hang up 1003"]);
    for data in [call(), binary()] {
        assert!(bench.on(Event::Received(Received { channel: newer, data })).is_empty());
    }
}
