//! Requests that open a channel: connect, reconnect and poll.

use std::sync::Arc;

use actix::Addr;
use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode, web::Payload};

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse, JAVASCRIPT, JSON, NO_CACHE, check_user,
    connect::{CONNECTION_ENDED, unavailable},
    error_response, parse_callback, protocol_version, query_or_form,
};
use crate::{
    classic::{
        frames::{EVENT_STREAM_PREAMBLE, FrameFormat, forever_frame_preamble},
        query::{ConnectKind, query_parameter},
        session::{ChannelRequest, Session, StalePoll},
        token::ConnectionToken,
    },
    connection::{AttachChannel, AttachError, Connection},
    outbox::OutboxReader,
    transport::{
        SocketHandle, Transport,
        streaming::{ResponseBody, streaming_response},
        websocket::{self, ReadMode},
    },
    web::expiry,
};

pub(super) const NOT_A_WEBSOCKET_REQUEST: &str = "Not a valid web socket request.";
const TOO_MANY_CHANNELS: &str = "Too many requests of this connection wait for a channel.";
const INVALID_FRAME_ID: &str = "The supplied frameId is in the incorrect format.";

/// The number of attempts to attach a channel, each of which fails if the connection ends meanwhile.
const MAX_ATTACH_ATTEMPTS: usize = 3;

/// The kind of the response that carries a channel, by its transport.
enum ResponseKind {
    WebSocket,
    EventStream,
    ForeverFrame(u32),
    Poll,
}

impl EndpointHandler {
    pub(super) async fn open_channel(
        &self,
        request: ClassicRequest,
        payload: Payload,
        connect_kind: ConnectKind,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<HttpResponse, ErrorResponse> {
        // Wire: a request without a WebSocket upgrade is refused before its user is compared.
        let response_kind = parse_response_kind(&request, transport)?;
        check_user(&request, token)?;
        let frame_format = parse_frame_format(&request, transport)?;
        let (form, payload) = match transport {
            Transport::LongPolling => (self.read_form(payload).await?, None),
            _ => (Vec::new(), Some(payload)),
        };
        for _ in 0..MAX_ATTACH_ATTEMPTS {
            let connection = self.connection_for_channel(&request, transport, token)?;
            let attach = self.attach_message(&request, &form, connect_kind, transport, frame_format.clone());
            match connection.send(attach).await {
                Ok(Ok(reader)) => {
                    return Ok(self.channel_response(&request, payload, response_kind, reader, connection));
                }
                Ok(Err(AttachError::Refused(StalePoll(frame)))) => {
                    return Ok(response_head(content_type(&request)).body(frame));
                }
                Ok(Err(AttachError::NotAdmitted(refusal))) => return Err(unavailable(refusal.error.message())),
                Ok(Err(AttachError::Busy)) => return Err(unavailable(TOO_MANY_CHANNELS)),
                // The connection has ended meanwhile. Its client gets a new connection.
                Ok(Err(AttachError::Ended)) | Err(_) => {}
            }
        }
        Err(unavailable(CONNECTION_ENDED))
    }

    fn attach_message(
        &self,
        request: &ClassicRequest,
        form: &[(String, String)],
        connect_kind: ConnectKind,
        transport: Transport,
        frame_format: FrameFormat,
    ) -> AttachChannel<Session> {
        AttachChannel {
            transport,
            // The socket of a poll may carry requests of other connections afterwards, so it must not be closed.
            socket: SocketHandle::of(&request.http).filter(|_| !transport.is_poll()),
            context: Some(request.context()),
            identity: None,
            request: ChannelRequest {
                connect_kind,
                frame_format,
                sends_start: protocol_version(&request.info).sends_start(),
                hubs: request.hub_names(),
                endpoint_hubs: Arc::clone(&self.endpoint_hubs),
                cursor: query_or_form(request, form, "messageId"),
                groups_token: query_or_form(request, form, "groupsToken"),
                expires: expiry(&request.identity).filter(|_| self.endpoint.closes_on_expiry),
            },
        }
    }

    fn channel_response(
        &self,
        request: &ClassicRequest,
        payload: Option<Payload>,
        response_kind: ResponseKind,
        reader: OutboxReader,
        connection: Addr<Connection<Session>>,
    ) -> HttpResponse {
        let socket = SocketHandle::of(&request.http);
        match (response_kind, payload) {
            (ResponseKind::WebSocket, Some(payload)) => {
                let read_mode = ReadMode::Messages { limit: self.state.settings.max_message };
                websocket::accept(&request.http, payload, reader, connection.recipient(), read_mode)
                    .unwrap_or_else(HttpResponse::from_error)
            }
            (ResponseKind::EventStream, _) => {
                let body = ResponseBody::stream(reader, EVENT_STREAM_PREAMBLE).close_on_disconnect(socket);
                streaming_response(response_head("text/event-stream"), body, &request.http)
            }
            (ResponseKind::ForeverFrame(id), _) => {
                let body = ResponseBody::stream(reader, forever_frame_preamble(id)).close_on_disconnect(socket);
                streaming_response(response_head("text/html; charset=UTF-8"), body, &request.http)
            }
            (ResponseKind::Poll | ResponseKind::WebSocket, _) => {
                let body = ResponseBody::poll_response(reader).close_on_disconnect(socket);
                streaming_response(response_head(content_type(request)), body, &request.http)
            }
        }
    }
}

fn content_type(request: &ClassicRequest) -> &'static str {
    if request.callback.is_some() { JAVASCRIPT } else { JSON }
}

fn parse_response_kind(request: &ClassicRequest, transport: Transport) -> Result<ResponseKind, ErrorResponse> {
    match transport {
        Transport::WebSockets if websocket::check_upgrade(request.http.head()).is_err() => {
            Err(error_response(StatusCode::BAD_REQUEST, NOT_A_WEBSOCKET_REQUEST))
        }
        Transport::WebSockets => Ok(ResponseKind::WebSocket),
        Transport::ServerSentEvents => Ok(ResponseKind::EventStream),
        Transport::ForeverFrame => {
            let id = query_parameter(&request.info, "frameId").and_then(|id| parse_frame_id(&id));
            id.map(ResponseKind::ForeverFrame).ok_or_else(|| error_response(StatusCode::BAD_REQUEST, INVALID_FRAME_ID))
        }
        Transport::LongPolling => Ok(ResponseKind::Poll),
    }
}

/// Wire: only digits, because the number is written into a script.
fn parse_frame_id(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn parse_frame_format(request: &ClassicRequest, transport: Transport) -> Result<FrameFormat, ErrorResponse> {
    Ok(match transport {
        Transport::WebSockets => FrameFormat::WebSocket,
        Transport::ServerSentEvents => FrameFormat::EventStream,
        Transport::ForeverFrame => FrameFormat::ForeverFrame,
        Transport::LongPolling => FrameFormat::Poll(parse_callback(request)?),
    })
}

fn response_head(content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    // nginx must not collect the body before it passes it on.
    response.content_type(content_type).insert_header(NO_CACHE).insert_header(("x-accel-buffering", "no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_id_is_digits() {
        for (text, id) in [("0", Some(0)), ("007", Some(7)), ("4294967295", Some(u32::MAX))] {
            assert_eq!(parse_frame_id(text), id);
        }
        for text in ["", "abc", "-1", "+1", "1.5", " 1", "4294967296"] {
            assert_eq!(parse_frame_id(text), None, "{text}");
        }
    }
}
