//! Requests that open a channel: connect, reconnect and poll.

use std::sync::Arc;

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{ConnectionType, StatusCode, Version},
    web::Payload,
};
use tokio::time::Instant;

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse, JAVASCRIPT, JSON, NO_CACHE, check_user, error_response,
    parse_callback, protocol_version, query_or_form,
};
use crate::{
    classic::{
        channel::{AttachChannel, AttachError, hub_names},
        frames::{ClassicFramer, EVENT_STREAM_PREAMBLE, FrameFormat, forever_frame_preamble},
        message::WIRE_FORM,
        query::{ConnectKind, Transport, query_parameter},
        session::{Session, SessionConfig},
        token::ConnectionToken,
    },
    connection::{Connection, NewConnection},
    outbox::{Outbox, OutboxReader},
    pipeline::TokenSubject,
    transport::{
        SocketHandle,
        streaming::ResponseBody,
        websocket::{self, ReadMode},
    },
    web::{expiry, limit_response},
};

pub(super) const NOT_A_WEBSOCKET_REQUEST: &str = "Not a valid web socket request.";
pub(super) const CONNECTION_ENDED: &str = "The connection has ended.";
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
            let connection = self.find_or_create_connection(&request, transport, token)?;
            let attach = self.attach_message(&request, &form, connect_kind, transport, frame_format.clone());
            match connection.send(attach).await {
                Ok(Ok((reader, framer))) => {
                    return Ok(self.channel_response(&request, payload, response_kind, reader, framer, connection));
                }
                Ok(Err(AttachError::StalePoll(frame))) => {
                    return Ok(uncached_response(content_type(&request)).body(frame));
                }
                Ok(Err(AttachError::Refused(refusal))) => return Err(unavailable(refusal.error.message())),
                // The connection has ended meanwhile. Its client gets a new connection.
                Ok(Err(AttachError::Ended)) | Err(_) => {}
            }
        }
        Err(unavailable(CONNECTION_ENDED))
    }

    /// The live connection of a token.
    pub(super) fn find_connection(&self, token: &ConnectionToken) -> Option<Addr<Connection<Session>>> {
        let handle = self.state.services.connections.find(&token.connection)?;
        handle.address.downcast::<Connection<Session>>().filter(|address| address.connected()).cloned()
    }

    /// The connection of a token. Only a request that opens a channel creates it: a connection without a channel would
    /// cost its client nothing.
    ///
    /// # Errors
    /// A response that tells the client to try again, if a limit of connections is reached, or if the previous
    /// connection of the token has not ended yet.
    fn find_or_create_connection(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<Addr<Connection<Session>>, ErrorResponse> {
        if let Some(connection) = self.find_connection(token) {
            return Ok(connection);
        }
        // A panic under the lock has created no connection.
        let _guard = self.state.create_lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.find_connection(token) {
            Some(connection) => Ok(connection),
            None => self.create_connection(request, transport, token),
        }
    }

    fn create_connection(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<Addr<Connection<Session>>, ErrorResponse> {
        let state = &*self.state;
        let permit = state.services.limiter.acquire(request.identity.user.as_ref(), request.info.address());
        let permit = permit.map_err(limit_response)?;
        let outbox = Outbox::new(&WIRE_FORM, state.limits, state.settings.window);
        outbox.update_filter(|filter| filter.hubs = Some(hub_names(&request.hubs)));
        let progress_outbox = Arc::clone(&outbox);
        let (aborted, id) = (Arc::clone(&state.aborted), token.connection.clone());
        let config = SessionConfig {
            settings: Arc::clone(&state.settings),
            // A progress report to a client that has gone is dropped without an error.
            progress_sink: Arc::new(move |bytes| {
                let _ = progress_outbox.push_private(bytes);
            }),
            groups_token_lifetime: state.rejoin_service.settings.lifetime,
            is_aborted_by_hub: state.aborted.contains(&token.connection, Instant::now()),
            record_abort: Box::new(move |now| aborted.add(id.clone(), now)),
        };
        let user = request.identity.user.clone();
        let new_connection = NewConnection {
            id: token.connection.clone(),
            dialect: "classic",
            transport: transport.name(),
            hubs: request.hubs.clone(),
            has_one_hub: false,
            identity: Arc::new(request.identity.clone()),
            request: Arc::clone(&request.kept),
            outbox,
            services: Arc::clone(&state.services),
            rejoin_service: Arc::clone(&state.rejoin_service),
            rejoin_token: None,
            token_subject: TokenSubject { family: token.connection.to_string(), epoch: 0, hub: None, user },
            held_until_end: Box::new(permit),
        };
        let connection = Connection::spawn_registered(new_connection, Session::new(config, Instant::now()));
        connection.ok_or_else(|| unavailable(CONNECTION_ENDED))
    }

    fn attach_message(
        &self,
        request: &ClassicRequest,
        form: &[(String, String)],
        connect_kind: ConnectKind,
        transport: Transport,
        frame_format: FrameFormat,
    ) -> AttachChannel {
        AttachChannel {
            connect_kind,
            transport,
            frame_format,
            sends_start: protocol_version(&request.info).sends_start(),
            hubs: request.hubs.clone(),
            endpoint_hubs: Arc::clone(&self.endpoint_hubs),
            request: Arc::clone(&request.kept),
            cursor: query_or_form(request, form, "messageId"),
            token: query_or_form(request, form, "groupsToken"),
            // The socket of a poll may carry requests of other connections afterwards, so it must not be closed.
            socket: SocketHandle::of(&request.http).filter(|_| transport != Transport::LongPolling),
            expires: expiry(&request.identity).filter(|_| self.endpoint.closes_on_expiry),
        }
    }

    fn channel_response(
        &self,
        request: &ClassicRequest,
        payload: Option<Payload>,
        response_kind: ResponseKind,
        reader: OutboxReader,
        framer: ClassicFramer,
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
                streaming_response("text/event-stream", body, &request.http)
            }
            (ResponseKind::ForeverFrame(id), _) => {
                let body = ResponseBody::stream(reader, forever_frame_preamble(id)).close_on_disconnect(socket);
                streaming_response("text/html; charset=UTF-8", body, &request.http)
            }
            (ResponseKind::Poll | ResponseKind::WebSocket, _) => {
                let body = ResponseBody::poll_response(reader, move |unsent| framer.empty_frame(&unsent))
                    .close_on_disconnect(socket);
                streaming_response(content_type(request), body, &request.http)
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

/// An error response after which the client may try again.
pub(super) fn unavailable(text: &str) -> ErrorResponse {
    HttpResponse::ServiceUnavailable().insert_header((actix_web::http::header::RETRY_AFTER, "1")).body(text.to_owned())
}

/// The head of a response that may stay open. Its headers keep caches and proxies from storing or buffering it.
fn uncached_response(content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type(content_type).insert_header(NO_CACHE).insert_header(("x-accel-buffering", "no"));
    response
}

/// Wire: HTTP versions before 1.1 have no chunked encoding (RFC 9112 section 6.1), so the end of the connection ends
/// the body.
fn streaming_response(content_type: &'static str, body: ResponseBody, request: &HttpRequest) -> HttpResponse {
    let mut response = uncached_response(content_type).streaming::<_, std::convert::Infallible>(body);
    if request.version() < Version::HTTP_11 {
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
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
