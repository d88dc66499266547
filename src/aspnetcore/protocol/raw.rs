//! Plain bytes instead of hub messages, for endpoints without a hub protocol.
//!
//! Received bytes are an invocation of the method `Receive` with one argument. Bytes and texts that the hub returns or
//! sends are written as they are. Everything else, such as pings, has no representation and is written as nothing.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{ClientMessage, Framing, HubProtocol, Invocation, ServerMessage, TransferFormat};
use crate::{
    hub::HubError,
    message::{self, WireForm},
    payload::{Binary, Format, Payload},
};

/// The method that receives the bytes of a client.
const METHOD: &str = "Receive";

/// Encodes broadcasts.
static FORM: WireForm = WireForm { slot: 3, format: Format::MessagePack, answers: false, encode: encode_invocation };

fn encode_invocation(call: &message::Invocation) -> Bytes {
    argument(call.packed_arguments.as_deref().unwrap_or_default()).into()
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct RawProtocol;

impl HubProtocol for RawProtocol {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn version(&self) -> i32 {
        1
    }

    fn transfer_format(&self) -> TransferFormat {
        TransferFormat::Text
    }

    fn framing(&self) -> Framing {
        Framing::Chunks
    }

    fn form(&self) -> &'static WireForm {
        &FORM
    }

    fn parse(&self, chunk: &Bytes) -> Result<ClientMessage, HubError> {
        let argument = Payload::encode(Format::MessagePack, &Binary(chunk.to_vec()));
        Ok(ClientMessage::Invocation(Invocation {
            headers: Default::default(),
            id: Some(String::new()),
            target: METHOD.into(),
            arguments: argument.map(|argument| vec![argument]).map_err(|error| error.to_string()),
            stream_ids: Vec::new(),
            wants_stream: false,
        }))
    }

    fn write(&self, message: &ServerMessage<'_>) -> Box<[u8]> {
        match message {
            ServerMessage::Invocation { arguments, .. } => argument(arguments),
            ServerMessage::Result { result, .. } => result.decode::<Raw>().unwrap_or_default().0,
            _ => Box::default(),
        }
    }
}

/// The bytes of the only argument. Nothing if there are more or fewer, or if it is neither bytes nor a text.
fn argument(array: &[u8]) -> Box<[u8]> {
    let arguments = Payload::from_encoded(Format::MessagePack, Bytes::copy_from_slice(array));
    arguments.decode::<(Raw,)>().map_or_else(|_| Box::default(), |(Raw(bytes),)| bytes)
}

/// Bytes or a text.
#[derive(Default)]
struct Raw(Box<[u8]>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl Visitor<'_> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes or a text")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw, E> {
        Ok(Raw(bytes.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw(text.as_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &ServerMessage<'_>) -> Vec<u8> {
        RawProtocol.write(message).into_vec()
    }

    fn pack(value: &impl serde::Serialize) -> Payload {
        Payload::encode(Format::MessagePack, value).unwrap()
    }

    #[test]
    fn bytes_are_an_invocation_of_receive() {
        let Ok(ClientMessage::Invocation(call)) = RawProtocol.parse(&Bytes::from_static(b"\x00a\xff")) else {
            panic!("an invocation")
        };
        let arguments: Vec<Binary> =
            call.arguments.unwrap().iter().map(|argument| argument.decode().unwrap()).collect();
        assert_eq!((&*call.target, arguments), ("Receive", vec![Binary(b"\x00a\xff".to_vec())]));
    }

    #[test]
    fn bytes_and_texts_are_written_as_they_are() {
        let result = |value: Payload| written(&ServerMessage::Result { id: "", result: &value });
        assert_eq!(result(pack(&Binary(b"\x00a".to_vec()))), b"\x00a");
        assert_eq!(result(pack(&"a")), b"a");
        assert_eq!(result(pack(&())), b"");
        assert_eq!(result(pack(&7)), b"");
        let sent = |arguments: Payload| {
            written(&ServerMessage::Invocation { id: None, target: "any", arguments: arguments.as_bytes() })
        };
        assert_eq!(sent(pack(&("text",))), b"text");
        assert_eq!(sent(pack(&(Binary(vec![1, 2]),))), [1, 2]);
        assert_eq!(sent(pack(&("two", "texts"))), b"");
    }
}
