//! Sessions of endpoints without a hub protocol.

use super::*;
use crate::{Binary, aspnetcore::protocol::raw::RawProtocol};

const RAW: &dyn HubProtocol = &RawProtocol;

impl TestSession {
    /// A session of plain bytes with a channel.
    fn raw() -> Self {
        let mut session =
            Self::without_channel(SessionConfig { fixed_protocol: Some(RAW), ..config(Settings::default()) });
        assert_eq!(session.attach(Transport::WebSockets, None), "restore groups");
        assert_eq!(session.formats, [Format::MessagePack]);
        session
    }

    fn open_raw() -> Self {
        let mut session = Self::raw();
        assert_eq!(session.on(Event::Connected(Ok(()))), "");
        session
    }

    /// Completes the oldest call with bytes, and returns what is sent.
    fn return_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let result = Payload::encode(Format::MessagePack, &Binary(bytes.to_vec())).unwrap();
        let invocation = self.running_calls.remove(0);
        let effects: Vec<_> = self.inner.on(Event::Returned(invocation, Ok(result)), self.now).into_iter().collect();
        let [Effect::Send(sent)] = &effects[..] else { panic!("one message: {effects:?}") };
        sent.to_vec()
    }
}

#[test]
fn bytes_are_received_without_handshake() {
    let mut session = TestSession::open_raw();
    assert_eq!(session.receive(Inbound::Text("Hello".into())), "call Receive()");
    assert_eq!(session.return_bytes(b"Hello"), b"Hello");
    assert_eq!(session.receive(Inbound::Binary(b"\x00\x1e"[..].into())), "call Receive()");
    assert_eq!(session.return_bytes(b"\x00\x1e"), b"\x00\x1e");
}

#[test]
fn bytes_before_on_connected_are_kept() {
    let mut session = TestSession::raw();
    assert_eq!(session.receive(Inbound::Text("early".into())), "");
    assert_eq!(session.on(Event::Connected(Ok(()))), "call Receive()");
}

#[test]
fn pings_and_close_messages_are_not_sent() {
    let mut session = TestSession::open_raw();
    assert_eq!(session.advance(seconds(15)), "");
    assert_eq!(session.on(Event::Draining), "end Drained 1000");
}

#[test]
fn long_chunk_is_received_in_parts() {
    let mut session = TestSession::open_raw();
    let limit = Settings::default().max_message.unwrap();
    assert_eq!(session.receive(Inbound::Binary(vec![7; limit + 1].into())), "call Receive()");
    let result = Payload::encode(Format::MessagePack, &()).unwrap();
    let invocation = session.running_calls.remove(0);
    assert_eq!(session.on(Event::Returned(invocation, Ok(result))), "call Receive()");
}
