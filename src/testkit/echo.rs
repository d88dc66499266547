//! A WebSocket that sends each message back, for conformance tests of the transport.

use std::sync::Arc;

use actix::{Actor, Context, Handler, ResponseFuture};
use actix_web::{HttpRequest, HttpResponse, web::Payload};
use bytes::{Bytes, BytesMut};

use crate::{
    message::WireForm,
    outbox::{ChannelFilter, End, FrameFields, Framer, Limits, Outbox, Overflow, ReplayLimits, Resume},
    payload::Format,
    transport::{
        FrameType, Inbound, Received,
        websocket::{self, ReadMode},
    },
};

/// The longest message that is sent back. The conformance suite sends 16 MiB.
const MAX_MESSAGE: usize = 16 << 20;

/// The echo waits while half of this waits to be written.
const MAX_WAITING: usize = 4 * MAX_MESSAGE;

/// An echo has no invocations, so this encodes nothing.
static FORM: WireForm = WireForm { slot: 0, format: Format::Json, answers: false, encode: |_| Bytes::new() };

/// The first byte of an entry of the outbox. It names the type of the message.
const TEXT: u8 = b't';
const BINARY: u8 = b'b';

/// Accepts a WebSocket and sends each message back, as text or binary as it came. Mount it as a route.
pub async fn echo(request: HttpRequest, payload: Payload) -> HttpResponse {
    let limits = Limits { items: 1_000_000, bytes: MAX_WAITING, overflow: Overflow::Close };
    let outbox = Outbox::new(&FORM, limits, ReplayLimits::default());
    let (reader, _) = outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(EchoFramer));
    let echo = Echo { outbox }.start();
    websocket::accept(&request, payload, reader, echo.recipient(), ReadMode::Messages { limit: MAX_MESSAGE })
        .unwrap_or_else(HttpResponse::from_error)
}

/// Receives the messages of one WebSocket.
struct Echo {
    outbox: Arc<Outbox>,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Received> for Echo {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Received { data, .. }: Received, _: &mut Self::Context) -> Self::Result {
        let outbox = Arc::clone(&self.outbox);
        let (kind, bytes) = match data {
            Inbound::Text(bytes) => (TEXT, bytes),
            Inbound::Binary(bytes) => (BINARY, bytes),
            Inbound::TooLarge => {
                outbox.close_channel(End::Close(TOO_LARGE));
                return Box::pin(async {});
            }
        };
        Box::pin(async move {
            outbox.wait_for_capacity(bytes.len()).await;
            outbox.push_private([&[kind], &bytes[..]].concat());
        })
    }
}

/// Wire: RFC 6455 section 7.4.1.
const TOO_LARGE: u16 = 1009;

struct EchoFramer;

impl Framer for EchoFramer {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        for (kind, bytes) in elements.filter_map(<[u8]>::split_first) {
            let frame = if *kind == TEXT { FrameType::WebSocketText } else { FrameType::WebSocketBinary };
            frame.frame(out, |out| out.extend_from_slice(bytes));
        }
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(frame);
    }
}
