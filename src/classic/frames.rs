//! The frames of the four transports.
//!
//! Wire: a frame is `{"C":cursor,…,"M":[elements]}`; a text message of a WebSocket, a `data` line of an event
//! stream, a script of a page in a frame, or the whole answer to a poll.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    callback::{Callback, escape_into},
    cursor::Cursor,
};
use crate::{
    outbox::{FrameFields, Framer, Unsent},
    transport::FrameType,
};

/// Wire: what a channel says to keep its client from thinking it dead. Clients compare it literally.
pub(super) const KEEP_ALIVE: &[u8] = b"{}";

/// How a transport sets a frame apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    WebSocket,
    EventStream,
    ForeverFrame,
    Poll(Option<Callback>),
}

/// The frames of one connection over one transport.
#[derive(Clone, Debug)]
pub(super) struct ClassicFramer {
    pub(super) shape: Shape,
    pub(super) epoch: Arc<str>,
    /// How long a client pauses before its next poll.
    pub(super) pause: Duration,
}

impl ClassicFramer {
    /// A frame without messages, for a poll that ends.
    pub(super) fn last(&self, rest: &Unsent) -> Bytes {
        let mut out = BytesMut::new();
        self.frame(&rest.fields, &mut std::iter::empty(), rest.cursor, &mut out);
        out.freeze()
    }

    fn wrap(&self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        match &self.shape {
            Shape::WebSocket => FrameType::WebSocketText.frame(out, write),
            Shape::EventStream => {
                out.put_slice(b"data: ");
                write(out);
                out.put_slice(b"\n\n");
            }
            Shape::ForeverFrame => {
                let json = written(write);
                out.put_slice(b"<script>r(c, ");
                escape_into(&json, &mut |bytes| out.put_slice(bytes));
                out.put_slice(b");</script>\r\n");
            }
            Shape::Poll(None) => write(out),
            Shape::Poll(Some(callback)) => out.put_slice(&callback.wrap(&written(write))),
        }
    }
}

fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

impl Framer for ClassicFramer {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut) {
        self.wrap(out, |out| {
            out.put_slice(b"{\"C\":\"");
            Cursor { epoch: &self.epoch, at: cursor }.write(out);
            out.put_u8(b'"');
            for aside in [&fields.opening, &fields.news].into_iter().flatten().filter(|aside| !aside.is_empty()) {
                out.put_u8(b',');
                out.put_slice(aside);
            }
            if !self.pause.is_zero() && matches!(self.shape, Shape::Poll(_)) {
                out.put_slice(format!(",\"L\":{}", self.pause.as_millis()).as_bytes());
            }
            out.put_slice(b",\"M\":[");
            put_list(elements, out);
            out.put_slice(b"]}");
        });
    }

    /// Wire: an open poll is kept alive by blanks, which JSON ignores; a script cannot be.
    fn whole(&self, frame: &[u8], out: &mut BytesMut) {
        match &self.shape {
            Shape::Poll(None) if frame == KEEP_ALIVE => out.put_u8(b' '),
            Shape::Poll(_) => {}
            Shape::ForeverFrame if frame == KEEP_ALIVE => {
                self.wrap(out, |out| out.put_slice(frame));
                out.put_slice(b"\n\n");
            }
            Shape::WebSocket | Shape::EventStream | Shape::ForeverFrame => self.wrap(out, |out| out.put_slice(frame)),
        }
    }
}

fn put_list(elements: &mut dyn Iterator<Item = &[u8]>, out: &mut BytesMut) {
    if let Some(first) = elements.next() {
        out.put_slice(first);
    }
    for element in elements {
        out.put_u8(b',');
        out.put_slice(element);
    }
}

/// Wire: the first bytes of an event stream, before anything is said.
pub(super) const EVENT_STREAM_BEGINS: &[u8] = b"data: initialized\n\n";

/// The page of a forever frame as far as its first script: the page around it has the function that takes
/// what comes, unless it has gone.
pub(super) fn forever_frame_begins(id: u32) -> String {
    format!(
        "<!DOCTYPE html><html><head><title>SignalR</title><script>\n\
         var r = function () {{}}, c, f = parent.jQuery && parent.jQuery.signalR.transports.foreverFrame;\n\
         if (f) {{ c = f.getConnection('{id}'); r = f.receive; f.started(c); }}\n\
         </script></head><body>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(shape: Shape, fields: &FrameFields, elements: &[&str]) -> String {
        let frames = ClassicFramer { shape, epoch: "e".into(), pause: Duration::ZERO };
        let mut out = BytesMut::new();
        frames.frame(fields, &mut elements.iter().map(|element| element.as_bytes()), 26, &mut out);
        text(&frames.shape, &out)
    }

    /// What was written, without the two bytes that begin a short message of a WebSocket.
    fn text(shape: &Shape, out: &[u8]) -> String {
        let head = if *shape == Shape::WebSocket { 2 } else { 0 };
        String::from_utf8(out[head..].to_vec()).unwrap()
    }

    fn kept_alive(shape: Shape) -> String {
        let (frames, mut out) = (ClassicFramer { shape, epoch: "e".into(), pause: Duration::ZERO }, BytesMut::new());
        frames.whole(KEEP_ALIVE, &mut out);
        text(&frames.shape, &out)
    }

    #[test]
    fn each_transport_has_its_shape() {
        let none = FrameFields::default();
        let json = r#"{"C":"e-1A","M":[{"a":"<"},2]}"#;
        let elements = [r#"{"a":"<"}"#, "2"];
        assert_eq!(framed(Shape::WebSocket, &none, &elements), json);
        assert_eq!(framed(Shape::EventStream, &none, &elements), format!("data: {json}\n\n"));
        assert_eq!(framed(Shape::Poll(None), &none, &elements), json);
        let escaped = json.replace('<', r"\u003c");
        let script = format!("<script>r(c, {escaped});</script>\r\n");
        assert_eq!(framed(Shape::ForeverFrame, &none, &elements), script);
        let callback = Some(Callback::parse("cb").unwrap());
        assert_eq!(framed(Shape::Poll(callback), &none, &elements), format!("cb({escaped});"));
    }

    #[test]
    fn asides_stand_between_cursor_and_messages() {
        let fields = FrameFields { opening: Some(b"\"S\":1"[..].into()), news: Some(b"\"G\":\"g\""[..].into()) };
        assert_eq!(framed(Shape::Poll(None), &fields, &[]), r#"{"C":"e-1A","S":1,"G":"g","M":[]}"#);
        let due = FrameFields { opening: Some([][..].into()), news: None };
        assert_eq!(framed(Shape::Poll(None), &due, &[]), r#"{"C":"e-1A","M":[]}"#);
    }

    #[test]
    fn a_client_is_told_how_long_to_pause_between_polls() {
        for (shape, json) in
            [(Shape::Poll(None), r#"{"C":"e-0","L":1500,"M":[]}"#), (Shape::WebSocket, r#"{"C":"e-0","M":[]}"#)]
        {
            let frames = ClassicFramer { shape, epoch: "e".into(), pause: Duration::from_millis(1500) };
            assert_eq!(text(&frames.shape, &frames.last(&Unsent::default())), json);
        }
    }

    #[test]
    fn each_transport_is_kept_alive_in_its_way() {
        assert_eq!(kept_alive(Shape::WebSocket), "{}");
        assert_eq!(kept_alive(Shape::EventStream), "data: {}\n\n");
        assert_eq!(kept_alive(Shape::ForeverFrame), "<script>r(c, {});</script>\r\n\n\n");
        assert_eq!(kept_alive(Shape::Poll(None)), " ");
        assert_eq!(kept_alive(Shape::Poll(Some(Callback::parse("cb").unwrap()))), "");
    }
}
