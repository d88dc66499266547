//! Describes decoded messages, for tests and for `decoder_checks`.

use super::*;

/// Describes a decoded message or its error.
pub(in crate::aspnetcore) fn describe(parsed: &Result<ClientMessage, HubError>) -> String {
    match parsed {
        Ok(ClientMessage::Invocation(invocation)) => describe_invocation(invocation),
        Ok(ClientMessage::StreamItem { id, item: Some(item) }) => format!("item {id} {}", show(item)),
        Ok(ClientMessage::StreamItem { id, item: None }) => format!("unreadable item {id}"),
        Ok(ClientMessage::Completion { id, result }) => match result {
            ClientResult::Void => format!("completion {id} Void"),
            ClientResult::Result(result) => format!("completion {id} {}", show(result)),
            ClientResult::Error(error) => format!("completion {id} error {error}"),
        },
        Ok(ClientMessage::CancelInvocation { id }) => format!("cancel {id}"),
        Ok(ClientMessage::Ping) => "ping".into(),
        Ok(ClientMessage::Close { error }) => format!("close {}", error.as_deref().unwrap_or_default()),
        Ok(ClientMessage::Ack { sequence_id }) => format!("ack {sequence_id}"),
        Ok(ClientMessage::Sequence { sequence_id }) => format!("sequence {sequence_id}"),
        Ok(ClientMessage::Unknown) => "unknown".into(),
        Err(error) => error.to_string(),
    }
}

fn describe_invocation(invocation: &Invocation) -> String {
    let Invocation { headers, id, target, arguments, stream_ids, wants_stream } = invocation;
    let headers = if headers.is_empty() { String::new() } else { format!("{headers:?} ") };
    let id = id.as_ref().map_or("-".to_owned(), |id| format!("{id:?}"));
    let arguments = match arguments {
        Ok(values) => values.iter().map(show).collect::<Vec<_>>().join(", "),
        Err(error) => error.clone(),
    };
    let uploads = if stream_ids.is_empty() { String::new() } else { format!(" sends {stream_ids:?}") };
    let expectation = if *wants_stream { " wants a stream" } else { "" };
    format!("{headers}{id} {target:?}({arguments}){uploads}{expectation}")
}

/// JSON as text, MessagePack as hexadecimal digits.
fn show(payload: &Payload) -> String {
    let hex = || payload.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    payload.as_json().map_or_else(hex, str::to_owned)
}
