//! Channels: the first one decides about the transport, polls follow each other, and DELETE ends a polling client.

use tokio::sync::oneshot;

use super::*;
use crate::connection::{AttachChannel, ChannelDecision, ChannelState, Dialect};

fn polling() -> TestSession {
    let mut session = TestSession::without_channel(config(Settings::default()));
    session.attach(Transport::LongPolling, None);
    session.on(Event::Detached);
    session.send_text(HANDSHAKE);
    session.on(Event::Connected(Ok(())));
    session
}

#[test]
fn first_channel_decides_about_the_transport() {
    let session = TestSession::without_channel(config(Settings::default())).inner;
    for (before, transport, decision) in [
        (&[][..], Transport::WebSockets, None),
        (&[], Transport::ServerSentEvents, None),
        (&[], Transport::LongPolling, None),
        (&[Transport::WebSockets], Transport::WebSockets, Some(ChannelRefusal::AlreadyOpen)),
        (&[Transport::ServerSentEvents], Transport::ServerSentEvents, Some(ChannelRefusal::AlreadyOpen)),
        (&[Transport::LongPolling], Transport::LongPolling, None),
        (&[Transport::WebSockets], Transport::LongPolling, Some(ChannelRefusal::OtherTransport)),
        (&[Transport::LongPolling], Transport::WebSockets, Some(ChannelRefusal::OtherTransport)),
        (&[Transport::ServerSentEvents], Transport::LongPolling, Some(ChannelRefusal::OtherTransport)),
    ] {
        let mut channels = ChannelState::new(None);
        for transport in before {
            channels.attach(Channel { number: 1, transport: *transport });
        }
        let request = ChannelRequest { expires: None };
        let attach = AttachChannel { transport, socket: None, context: None, identity: None, request };
        let refusal = match session.decide_channel(&attach, &channels, 0) {
            ChannelDecision::Refuse(refusal) => Some(refusal),
            ChannelDecision::Attach | ChannelDecision::Rejoin(_) => None,
        };
        assert_eq!(refusal, decision, "{before:?} {transport:?}");
    }
}

#[test]
fn data_before_the_transport_is_read_with_the_first_channel() {
    let early_data = Bytes::from(format!("{HANDSHAKE}{}", call("1", "Early")));
    let mut session = TestSession::without_channel(SessionConfig { early_data, ..config(Settings::default()) });
    assert_eq!(session.attach(Transport::LongPolling, None), "send {} | restore groups");
    assert_eq!(session.attach(Transport::LongPolling, None), "", "once");
    assert_eq!(session.on(Event::Connected(Ok(()))), "call Early()");
}

#[test]
fn polling_connection_outlives_its_polls() {
    let mut session = polling();
    assert_eq!(session.phase(), "open");
    assert_eq!(session.inner.time_without_channel(Some(Transport::LongPolling)), Some(seconds(15)));
    assert_eq!(session.inner.time_without_channel(Some(Transport::ServerSentEvents)), None);
    assert_eq!(session.on(Event::Abandoned), "end Lost 1000");
}

#[test]
fn polling_client_gets_no_pings() {
    let mut session = polling();
    assert_eq!(session.advance(seconds(15)), "");
    let mut streaming = TestSession::without_channel(config(Settings::default()));
    streaming.attach(Transport::ServerSentEvents, None);
    streaming.send_text(HANDSHAKE);
    assert_eq!(streaming.advance(seconds(15)), "send {\"type\":6}");
}

#[test]
fn each_poll_renews_the_credentials() {
    let mut session = polling();
    let now = session.now;
    session.attach(Transport::LongPolling, Some(now + seconds(5)));
    session.attach(Transport::LongPolling, Some(now + seconds(9)));
    assert_eq!(session.advance(seconds(8)), "");
    assert!(session.advance(seconds(1)).ends_with("end Expired 1000"));
}

#[test]
fn delete_ends_only_polling_connections() {
    let delete = || Event::Request(Delete(oneshot::channel().0));
    assert_eq!(polling().on(delete()), "deleted true | send {\"type\":7,\"allowReconnect\":true} | end Deleted 1000");
    let mut streaming = TestSession::without_channel(config(Settings::default()));
    streaming.attach(Transport::ServerSentEvents, None);
    assert_eq!(streaming.on(delete()), "deleted false");
}

#[test]
fn posted_data_is_handled_like_that_of_a_channel() {
    let mut session = polling();
    assert_eq!(session.on(Event::Posted(call("1", "Known").into())), "call Known()");
}
