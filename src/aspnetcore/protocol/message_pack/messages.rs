//! Decodes a message from MessagePack.
//!
//! Elements behind the known ones are ignored, and so are bytes behind the array.

use bytes::Bytes;

use super::{
    ERROR, RESULT, VOID,
    reader::{ReadError, Reader},
};
use crate::{
    aspnetcore::protocol::{ClientMessage, Headers, Invocation, invalid_data},
    hub::HubError,
    payload::{Format, Payload},
    router::ClientResult,
};

/// Decodes one message.
pub(super) fn parse(message: &Bytes) -> Result<ClientMessage, HubError> {
    let mut reader = Reader::new(message);
    let length = reader.array().map_err(ReadError::into_hub_error)?;
    match reader.int_field("messageType")? {
        1 => invocation(&mut reader, length, false),
        2 => stream_item(&mut reader, length),
        3 => completion(&mut reader),
        4 => invocation(&mut reader, length, true),
        5 => {
            headers(&mut reader)?;
            let id = reader.string_field("invocationId")?;
            Ok(ClientMessage::CancelInvocation { id: required(id, "invocation ID for CancelInvocation message")? })
        }
        6 => Ok(ClientMessage::Ping),
        7 => close(&mut reader, length),
        8 => Ok(ClientMessage::Ack { sequence_id: reader.long_field("sequenceId")? }),
        9 => Ok(ClientMessage::Sequence { sequence_id: reader.long_field("sequenceId")? }),
        _ => Ok(ClientMessage::Unknown),
    }
}

fn required(text: Option<String>, what: &str) -> Result<String, HubError> {
    text.filter(|text| !text.is_empty()).ok_or_else(|| invalid_data(format!("Null or empty {what}.")))
}

fn headers(reader: &mut Reader<'_>) -> Result<Headers, HubError> {
    let length = reader.map_field("headers")?;
    let mut headers = Headers::new();
    for index in 0..length {
        let name = reader.string_field(&format!("headers[{index}].Key"))?;
        let value = reader.string_field(&format!("headers[{index}].Value"))?;
        headers.insert(name.unwrap_or_default(), value.unwrap_or_default());
    }
    Ok(headers)
}

fn invocation(reader: &mut Reader<'_>, length: usize, wants_stream: bool) -> Result<ClientMessage, HubError> {
    let headers = headers(reader)?;
    let mut id = reader.string_field("invocationId")?.filter(|id| !id.is_empty());
    if wants_stream {
        id = required(id, "invocation ID for StreamInvocation message").map(Some)?;
    }
    let target = required(reader.string_field("target")?, "target for Invocation message")?;
    let arguments = arguments(reader);
    // Wire: the stream ids of a call whose arguments cannot be read are not read.
    let stream_ids = if length > 5 && arguments.is_ok() { stream_ids(reader)? } else { Vec::new() };
    let arguments = arguments.map_err(|error| error.message().to_owned());
    Ok(ClientMessage::Invocation(Invocation { headers, id, target, arguments, stream_ids, wants_stream }))
}

fn arguments(reader: &mut Reader<'_>) -> Result<Vec<Payload>, HubError> {
    let length = reader.array_field("arguments")?;
    let values = (0..length).map(|_| payload(reader)).collect::<Result<_, _>>();
    values.map_err(ReadError::into_hub_error)
}

fn payload(reader: &mut Reader<'_>) -> Result<Payload, ReadError> {
    reader.value().map(|bytes| Payload::from_encoded(Format::MessagePack, bytes))
}

fn stream_ids(reader: &mut Reader<'_>) -> Result<Vec<String>, HubError> {
    let length = reader.array_field("streamIds")?;
    let id = |_| {
        let id = reader.string().map_err(ReadError::into_hub_error)?;
        id.filter(|id| !id.is_empty()).ok_or_else(|| invalid_data("Null or empty value in streamIds received."))
    };
    (0..length).map(id).collect()
}

fn stream_item(reader: &mut Reader<'_>, length: usize) -> Result<ClientMessage, HubError> {
    headers(reader)?;
    let id = required(reader.string_field("invocationId")?, "invocation ID for StreamItem message")?;
    let item = if length > 3 { payload(reader).ok() } else { None };
    Ok(ClientMessage::StreamItem { id, item })
}

fn completion(reader: &mut Reader<'_>) -> Result<ClientMessage, HubError> {
    headers(reader)?;
    let id = required(reader.string_field("invocationId")?, "invocation ID for Completion message")?;
    let outcome = match u8::try_from(reader.int_field("resultKind")?) {
        Ok(ERROR) => ClientResult::Error(reader.string_field("error")?.unwrap_or_default()),
        Ok(VOID) => ClientResult::Void,
        Ok(RESULT) => ClientResult::Result(payload(reader).map_err(ReadError::into_hub_error)?),
        Ok(_) | Err(_) => return Err(invalid_data("Invalid invocation result kind.")),
    };
    Ok(ClientMessage::Completion { id, result: outcome })
}

fn close(reader: &mut Reader<'_>, length: usize) -> Result<ClientMessage, HubError> {
    let error = reader.string_field("error")?;
    if length > 2 {
        reader.boolean_field("allowReconnect")?;
    }
    Ok(ClientMessage::Close { error })
}
