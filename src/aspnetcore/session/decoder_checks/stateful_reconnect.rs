//! Checks of calls over WebSockets that are cut at any byte, with stateful reconnect.

use super::*;
use crate::aspnetcore::protocol::{
    ClientMessage,
    json::{JsonProtocol, SEPARATOR},
    message_pack::MessagePackProtocol,
};
use crate::transport::Received;

/// The number of calls that a client makes. Their numbers are a byte of MessagePack.
const MAX_CALLS: u8 = 100;

/// Simulates a client that makes numbered calls, loses its WebSocket at any byte, and sends again what the server has not
/// acknowledged. The first byte of the input selects the format. Each other byte is a step: to send some bytes, to make a
/// call, to let a call return, to wait for a second, or to lose the WebSocket, alone or with what the server sends at that
/// time.
///
/// # Panics
/// If a call is lost, repeated or runs out of order, or the session ends.
pub fn stateful_reconnect(input: &[u8]) {
    let Some((selector, steps)) = input.split_first() else { return };
    let mut client = Client::new(if selector % 2 == 0 { Format::Json } else { Format::MessagePack });
    for step in steps {
        match step {
            0..=127 => client.send_bytes(usize::from(*step) + 1),
            128..=191 => client.make_call(),
            192..=223 => client.finish_call(),
            224..=239 => client.wait(Duration::from_secs(1)),
            240..=247 => client.lose_socket(),
            248..=255 => client.lose_socket_and_ack(),
        }
    }
    client.finish();
}

struct Client {
    format: Format,
    session: Session,
    now: Instant,
    channel: u32,
    running_calls: VecDeque<u64>,
    /// The number of calls that the session has started.
    started: u8,
    /// The number of calls that the client has made.
    made: u8,
    /// The number of calls that the server has acknowledged.
    acknowledged: u8,
    /// What the server sends does not arrive.
    loses_acks: bool,
    /// The bytes that wait to be sent.
    waiting: VecDeque<u8>,
}

impl Client {
    fn new(format: Format) -> Self {
        let now = Instant::now();
        let setup = Setup { limit: 32 * 1024, can_reconnect: true };
        let mut client = Self {
            format,
            session: Session::new(setup.config(), now),
            now,
            channel: 0,
            running_calls: VecDeque::new(),
            started: 0,
            made: 0,
            acknowledged: 0,
            loses_acks: false,
            waiting: VecDeque::new(),
        };
        client.attach();
        let name = if format == Format::Json { JsonProtocol.name() } else { MessagePackProtocol.name() };
        client.waiting.extend(format!("{{\"protocol\":\"{name}\",\"version\":2}}").into_bytes());
        client.waiting.push_back(SEPARATOR);
        client.send_bytes(usize::MAX);
        client
    }

    fn attach(&mut self) {
        self.channel += 1;
        self.on(Event::Attached(channel(Transport::WebSockets, self.channel)));
    }

    fn send_bytes(&mut self, count: usize) {
        let bytes: Vec<_> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        let data = match self.format {
            Format::Json => Inbound::Text(bytes.into()),
            Format::MessagePack => Inbound::Binary(bytes.into()),
        };
        self.on(Event::Received(Received { channel: self.channel, data }));
    }

    fn make_call(&mut self) {
        if self.made < MAX_CALLS {
            self.made += 1;
            self.queue_call(self.made);
        }
    }

    fn queue_call(&mut self, number: u8) {
        match self.format {
            Format::Json => {
                let call = format!("{{\"type\":1,\"target\":\"Count\",\"arguments\":[{number}]}}");
                self.waiting.extend(call.into_bytes());
                self.waiting.push_back(SEPARATOR);
            }
            Format::MessagePack => {
                let call = [&[0x96, 1, 0x80, 0xc0, 0xa5][..], b"Count", &[0x91, number, 0x90]].concat();
                self.queue_packed(&call);
            }
        }
    }

    fn queue_packed(&mut self, message: &[u8]) {
        self.waiting.push_back(u8::try_from(message.len()).expect("the message is short"));
        self.waiting.extend(message);
    }

    fn lose_socket(&mut self) {
        self.on(Event::Detached);
        self.attach();
        self.waiting.clear();
        let first = self.acknowledged + 1;
        match self.format {
            Format::Json => {
                self.waiting.extend(format!("{{\"type\":9,\"sequenceId\":{first}}}").into_bytes());
                self.waiting.push_back(SEPARATOR);
            }
            Format::MessagePack => self.queue_packed(&[0x92, 9, first]),
        }
        for number in first..=self.made {
            self.queue_call(number);
        }
    }

    fn lose_socket_and_ack(&mut self) {
        self.loses_acks = true;
        self.wait(Duration::from_secs(1));
        self.loses_acks = false;
        self.lose_socket();
    }

    fn finish_call(&mut self) {
        if let Some(number) = self.running_calls.pop_front() {
            let result = Payload::encode(self.format, &()).expect("nil has an encoding");
            self.on(Event::Returned(number, Ok(result)));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.on(Event::Tick);
    }

    /// Sends the rest, lets all calls return, and waits for the last acknowledgement.
    fn finish(&mut self) {
        self.send_bytes(usize::MAX);
        while !self.running_calls.is_empty() {
            self.finish_call();
        }
        self.wait(Duration::from_secs(1));
        assert_eq!((self.started, self.acknowledged), (self.made, self.made), "calls were lost");
    }

    fn on(&mut self, event: Event<Session>) {
        for effect in self.session.on(event, self.now) {
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect<Session>) {
        match effect {
            Effect::RestoreGroups => self.on(Event::Restored(Ok(()))),
            Effect::RunConnected => self.on(Event::Connected(Ok(()))),
            Effect::Invoke(invoke) => {
                self.started += 1;
                let number = invoke.arguments.iter().next().expect("the call has an argument").decode::<u8>();
                assert_eq!(number.ok(), Some(self.started), "the calls run once and in order");
                self.running_calls.push_back(invoke.number);
            }
            Effect::Own(OwnEffect::SendControl(bytes)) if !self.loses_acks => self.receive(&bytes),
            Effect::End(ending) => panic!("{ending:?}"),
            _ => {}
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let protocol: &dyn HubProtocol = match self.format {
            Format::Json => &JsonProtocol,
            Format::MessagePack => &MessagePackProtocol,
        };
        // The response to the handshake is JSON.
        if bytes.starts_with(b"{}") {
            return;
        }
        if let Ok(ClientMessage::Ack { sequence_id }) = protocol.parse(&only_message(protocol.framing(), bytes)) {
            self.acknowledged = u8::try_from(sequence_id).expect("the client makes few calls");
            assert!(self.acknowledged <= self.made, "only calls of the client are acknowledged");
        }
    }
}
