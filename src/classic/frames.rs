//! The frames of the four transports.
//!
//! Wire: a frame is `{"C":cursor,…,"M":[elements]}`. It is sent as a text message of a WebSocket, as a `data` line of
//! an event stream, as a script in the page of a forever frame, or as the whole response to a poll.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    callback::{Callback, escape_into},
    cursor::Cursor,
};
use crate::{
    outbox::{DeferredField, FrameFields, Framer, Unsent},
    transport::FrameType,
};

/// Wire: the keep-alive frame. Clients compare it literally.
pub(super) const KEEP_ALIVE: &[u8] = b"{}";

/// The format of frames, which depends on the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FrameFormat {
    WebSocket,
    EventStream,
    ForeverFrame,
    Poll(Option<Callback>),
}

/// The framer of one connection over one transport.
#[derive(Clone, Debug)]
pub(super) struct ClassicFramer {
    pub(super) frame_format: FrameFormat,
    pub(super) epoch: Arc<str>,
    /// The pause of the client before its next poll.
    pub(super) long_poll_delay: Duration,
}

impl ClassicFramer {
    /// A frame without messages, for the response to a poll that ends.
    pub(super) fn empty_frame(&self, unsent: &Unsent) -> Bytes {
        let mut out = BytesMut::new();
        self.frame(&unsent.fields, &mut std::iter::empty(), unsent.cursor, &mut out);
        out.freeze()
    }

    fn wrap(&self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        match &self.frame_format {
            FrameFormat::WebSocket => FrameType::WebSocketText.frame(out, write),
            FrameFormat::EventStream => {
                out.put_slice(b"data: ");
                write(out);
                out.put_slice(b"\n\n");
            }
            FrameFormat::ForeverFrame => {
                let json = rendered(write);
                out.put_slice(b"<script>r(c, ");
                escape_into(&json, &mut |bytes| out.put_slice(bytes));
                out.put_slice(b");</script>\r\n");
            }
            FrameFormat::Poll(None) => write(out),
            FrameFormat::Poll(Some(callback)) => out.put_slice(&callback.wrap(&rendered(write))),
        }
    }
}

fn rendered(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

impl Framer for ClassicFramer {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, cursor: u64, out: &mut BytesMut) {
        self.wrap(out, |out| {
            out.put_slice(b"{\"C\":\"");
            Cursor { epoch: &self.epoch, sequence: cursor }.write(out);
            out.put_u8(b'"');
            let token = fields.groups_token.as_ref().map(DeferredField::encode);
            for member in [&fields.init, &token].into_iter().flatten().filter(|member| !member.is_empty()) {
                out.put_u8(b',');
                out.put_slice(member);
            }
            if !self.long_poll_delay.is_zero() && matches!(self.frame_format, FrameFormat::Poll(_)) {
                out.put_slice(format!(",\"L\":{}", self.long_poll_delay.as_millis()).as_bytes());
            }
            out.put_slice(b",\"M\":[");
            write_elements(elements, out);
            out.put_slice(b"]}");
        });
    }

    /// Wire: the keep-alive of an open poll is a blank, which JSON ignores. A JSONP poll has no keep-alive.
    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        match &self.frame_format {
            FrameFormat::Poll(None) if frame == KEEP_ALIVE => out.put_u8(b' '),
            FrameFormat::Poll(_) => {}
            FrameFormat::ForeverFrame if frame == KEEP_ALIVE => {
                self.wrap(out, |out| out.put_slice(frame));
                out.put_slice(b"\n\n");
            }
            FrameFormat::WebSocket | FrameFormat::EventStream | FrameFormat::ForeverFrame => {
                self.wrap(out, |out| out.put_slice(frame))
            }
        }
    }
}

fn write_elements(elements: &mut dyn Iterator<Item = &[u8]>, out: &mut BytesMut) {
    if let Some(first) = elements.next() {
        out.put_slice(first);
    }
    for element in elements {
        out.put_u8(b',');
        out.put_slice(element);
    }
}

/// Wire: the first bytes of an event stream, before all messages.
pub(super) const EVENT_STREAM_PREAMBLE: &[u8] = b"data: initialized\n\n";

/// The start of the page of a forever frame, up to the first script. The parent page has the function that receives
/// messages, unless it was unloaded.
pub(super) fn forever_frame_preamble(id: u32) -> String {
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

    fn encode(frame_format: FrameFormat, fields: &FrameFields, elements: &[&str]) -> String {
        let framer = ClassicFramer { frame_format, epoch: "e".into(), long_poll_delay: Duration::ZERO };
        let mut out = BytesMut::new();
        framer.frame(fields, &mut elements.iter().map(|element| element.as_bytes()), 26, &mut out);
        text(&framer.frame_format, &out)
    }

    /// The written text, without the header of a short WebSocket message.
    fn text(frame_format: &FrameFormat, out: &[u8]) -> String {
        let header_len = if *frame_format == FrameFormat::WebSocket { 2 } else { 0 };
        String::from_utf8(out[header_len..].to_vec()).unwrap()
    }

    fn keep_alive_frame(frame_format: FrameFormat) -> String {
        let (framer, mut out) =
            (ClassicFramer { frame_format, epoch: "e".into(), long_poll_delay: Duration::ZERO }, BytesMut::new());
        framer.write_raw(KEEP_ALIVE, &mut out);
        text(&framer.frame_format, &out)
    }

    #[test]
    fn each_transport_has_its_frame_format() {
        let none = FrameFields::default();
        let json = r#"{"C":"e-1A","M":[{"a":"<"},2]}"#;
        let elements = [r#"{"a":"<"}"#, "2"];
        assert_eq!(encode(FrameFormat::WebSocket, &none, &elements), json);
        assert_eq!(encode(FrameFormat::EventStream, &none, &elements), format!("data: {json}\n\n"));
        assert_eq!(encode(FrameFormat::Poll(None), &none, &elements), json);
        let escaped = json.replace('<', r"\u003c");
        let script = format!("<script>r(c, {escaped});</script>\r\n");
        assert_eq!(encode(FrameFormat::ForeverFrame, &none, &elements), script);
        let callback = Some(Callback::parse("cb").unwrap());
        assert_eq!(encode(FrameFormat::Poll(callback), &none, &elements), format!("cb({escaped});"));
    }

    #[test]
    fn frame_fields_are_between_cursor_and_messages() {
        let fields =
            FrameFields { init: Some(b"\"S\":1"[..].into()), groups_token: Some(b"\"G\":\"g\"".as_slice().into()) };
        assert_eq!(encode(FrameFormat::Poll(None), &fields, &[]), r#"{"C":"e-1A","S":1,"G":"g","M":[]}"#);
        let due = FrameFields { init: Some([][..].into()), groups_token: None };
        assert_eq!(encode(FrameFormat::Poll(None), &due, &[]), r#"{"C":"e-1A","M":[]}"#);
    }

    #[test]
    fn polls_carry_the_long_poll_delay() {
        for (frame_format, json) in [
            (FrameFormat::Poll(None), r#"{"C":"e-0","L":1500,"M":[]}"#),
            (FrameFormat::WebSocket, r#"{"C":"e-0","M":[]}"#),
        ] {
            let framer =
                ClassicFramer { frame_format, epoch: "e".into(), long_poll_delay: Duration::from_millis(1500) };
            assert_eq!(text(&framer.frame_format, &framer.empty_frame(&Unsent::default())), json);
        }
    }

    #[test]
    fn each_transport_has_its_keep_alive() {
        assert_eq!(keep_alive_frame(FrameFormat::WebSocket), "{}");
        assert_eq!(keep_alive_frame(FrameFormat::EventStream), "data: {}\n\n");
        assert_eq!(keep_alive_frame(FrameFormat::ForeverFrame), "<script>r(c, {});</script>\r\n\n\n");
        assert_eq!(keep_alive_frame(FrameFormat::Poll(None)), " ");
        assert_eq!(keep_alive_frame(FrameFormat::Poll(Some(Callback::parse("cb").unwrap()))), "");
    }
}
