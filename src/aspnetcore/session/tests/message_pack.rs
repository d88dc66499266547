//! The rules of the session with the MessagePack protocol.

use super::*;

const HANDSHAKE: &[u8] = b"{\"protocol\":\"messagepack\",\"version\":1}\x1e";

impl TestSession {
    fn send_bytes(&mut self, bytes: &'static [u8]) -> Vec<Vec<u8>> {
        self.receive_sent(Event::Received(Received { channel: 1, data: Inbound::Binary(bytes.into()) }))
    }

    /// The messages that the session sends after an event.
    fn receive_sent(&mut self, event: Event<Session>) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for effect in self.inner.on(event, self.now) {
            match effect {
                Effect::Send(bytes) | Effect::Own(OwnEffect::SendControl(bytes)) => sent.push(bytes.into()),
                Effect::Invoke(invoke) => self.running_calls.push(invoke.number),
                Effect::SetEncoding(encoding) => self.formats.push(encoding.form.format),
                _ => {}
            }
        }
        sent
    }

    fn open_message_pack(settings: Settings) -> Self {
        let mut session = Self::new(settings);
        assert_eq!(session.send_bytes(HANDSHAKE), [b"{}\x1e"]);
        assert_eq!(session.receive_sent(Event::Connected(Ok(()))), Vec::<Vec<u8>>::new());
        session
    }

    fn finish_packed(&mut self, result: &'static [u8]) -> Vec<Vec<u8>> {
        let invocation = self.running_calls.remove(0);
        let result = Payload::from_encoded(Format::MessagePack, result.into());
        self.receive_sent(Event::Returned(invocation, Ok(result)))
    }
}

const CALL: &[u8] = b"\x0c\x96\x01\x80\xa11\xa4Echo\x90\x90";

#[test]
fn handshake_chooses_the_format() {
    assert_eq!(TestSession::open_message_pack(Settings::default()).formats, [Format::MessagePack]);
    assert_eq!(TestSession::open(Settings::default()).formats, [Format::Json]);
}

#[test]
fn messages_before_the_first_channel_survive_a_broken_post() {
    let mut session = TestSession::without_channel(config(Settings::default()));
    assert_eq!(session.on(Event::Posted([HANDSHAKE, CALL].concat().into())), "");
    assert_eq!(session.on(Event::PostBrokenOff), "");
    assert_eq!(session.attach(Transport::LongPolling, None), "send {} | restore groups");
    session.receive_sent(Event::Connected(Ok(())));
    assert_eq!(session.running_calls.len(), 1);
}

#[test]
fn transport_without_binary_data_refuses_message_pack() {
    let mut session = TestSession::without_channel(config(Settings::default()));
    session.attach(Transport::ServerSentEvents, None);
    assert_eq!(
        session.receive(Inbound::Binary(HANDSHAKE.into())),
        "send {\"error\":\"Cannot use the 'messagepack' protocol on the current transport. The transport does not \
         support 'Binary' transfer format.\"} | end Refused 1000"
    );
    assert_eq!(session.formats, []);
}

#[test]
fn calls_are_answered_in_message_pack() {
    let mut session = TestSession::open_message_pack(Settings::default());
    assert_eq!(session.send_bytes(CALL), Vec::<Vec<u8>>::new());
    assert_eq!(session.finish_packed(b"\xa1x"), [b"\x08\x95\x03\x80\xa11\x03\xa1x"]);
    session.send_bytes(CALL);
    let invocation = session.running_calls.remove(0);
    let sent = session.receive_sent(Event::Returned(invocation, Err(CallError::Unauthorized)));
    let text = b"Failed to invoke 'Echo' because user is unauthorized";
    assert_eq!(sent, [[&[0x3c, 0x95, 3, 0x80, 0xa1, b'1', 1, 0xd9, 0x34], &text[..]].concat()]);
}

#[test]
fn pings_are_sent_in_message_pack() {
    let mut session = TestSession::open_message_pack(Settings::default());
    session.now += seconds(15);
    assert_eq!(session.receive_sent(Event::Tick), [b"\x02\x91\x06"]);
}

#[test]
fn message_in_parts_is_handled_when_complete() {
    let mut session = TestSession::open_message_pack(Settings::default());
    session.send_bytes(&CALL[..5]);
    assert!(session.running_calls.is_empty());
    session.send_bytes(&CALL[5..]);
    assert_eq!(session.running_calls.len(), 1);
}

#[test]
fn faults_end_the_connection_with_a_close_in_message_pack() {
    for fault in [&b"\x01\xc0"[..], b"\xff\xff\xff\xff\x0f"] {
        let mut session = TestSession::open_message_pack(Settings::default());
        let sent = session.send_bytes(fault);
        assert_eq!(sent, [[&b"\x25\x93\x07\xd9\x20"[..], b"Connection closed with an error.", b"\xc3"].concat()]);
        assert_eq!(session.phase(), "ended");
    }
}

#[test]
fn rejoin_token_is_encoded_in_message_pack() {
    let session = TestSession::open_message_pack(Settings::default());
    let encoding = session.inner.encoding(session.inner.protocol).expect("a WebSocket carries binary data");
    let expected = [&b"\x1d\x96\x01\x80\xc0\xb4"[..], b"hubcast:rejoinToken", b"\x91\xa1t\x90"];
    assert_eq!((encoding.token)("t")[6..], expected.concat()[6..]);
}
