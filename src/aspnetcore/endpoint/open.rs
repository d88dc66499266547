//! GET requests: they open a WebSocket or an event stream, or poll.

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Payload,
};
use tokio::{select, time::sleep};

use super::{
    EndpointHandler,
    connect::Found,
    responses::{NO_ID, OTHER_TRANSPORT, event_stream, polled, polled_nothing, reject, unknown_connection},
};
use crate::{
    aspnetcore::session::{ChannelRefusal, ChannelRequest, Session},
    connection::{AttachChannel, AttachError, Connection},
    hub::{Identity, Request},
    outbox::OutboxReader,
    transport::{
        SocketHandle, Transport,
        polling::{Polled, next_frames},
        streaming::{ResponseBody, streaming_response},
        websocket::{self, ReadMode, check_upgrade},
    },
    web::expiry,
};

/// Wire: a comment, since some browsers report a stream as open only after its first byte.
const EVENT_STREAM_START: &[u8] = b":\r\n";

/// The number of the channel of the first poll.
const FIRST_CHANNEL: u32 = 1;

/// The transport of a GET request. Wire: it is determined by the headers, and event streams are checked first.
fn requested_transport(request: &HttpRequest) -> Transport {
    if wants_event_stream(request) {
        Transport::ServerSentEvents
    } else if check_upgrade(request.head()).is_ok() {
        Transport::WebSockets
    } else {
        Transport::LongPolling
    }
}

/// Wire: a media type with parameters does not match.
fn wants_event_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl EndpointHandler {
    /// Wire: the checks are in this order: no id, unknown id, transport disabled, other transport, already open.
    pub(super) async fn get(
        &self,
        http: &HttpRequest,
        payload: Payload,
        request: Request,
        token: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let transport = requested_transport(http);
        let found = match token {
            Some(token) => self.find(&token),
            None if transport == Transport::WebSockets => Found::Pending(self.issue_unnegotiated()),
            None => return reject(transport, StatusCode::BAD_REQUEST, NO_ID),
        };
        if matches!(found, Found::Unknown) {
            return unknown_connection(transport);
        }
        if !self.endpoint.transports.contains(&transport) {
            let text = format!("{} transport not supported by this end point type", transport.name());
            return reject(transport, StatusCode::NOT_FOUND, text);
        }
        if matches!(found, Found::Pending(_))
            && let Err(response) = self.authorize_connect(&identity, &request).await
        {
            return response;
        }
        let connection = match found {
            Found::Unknown => return unknown_connection(transport),
            Found::Live(connection) => connection,
            Found::Pending(ticket) => match self.find_or_create(&ticket, transport, &request, &identity) {
                Ok(connection) => connection,
                Err(response) => return response,
            },
        };
        self.open(http, payload, transport, identity, connection).await
    }

    async fn open(
        &self,
        http: &HttpRequest,
        payload: Payload,
        transport: Transport,
        identity: Identity,
        connection: Addr<Connection<Session>>,
    ) -> HttpResponse {
        let socket = SocketHandle::of(http);
        let expires = expiry(&identity).filter(|_| self.endpoint.closes_on_expiry);
        let attach = AttachChannel {
            transport,
            // The socket of a poll may carry requests of other connections afterwards, so it must not be closed.
            socket: socket.clone().filter(|_| !transport.is_poll()),
            context: None,
            identity: transport.is_poll().then_some(identity),
            request: ChannelRequest { expires },
        };
        let reader = match connection.send(attach).await {
            Ok(Ok(reader)) => reader,
            Ok(Err(error)) => return refusal(transport, &error),
            Err(_) => return unknown_connection(transport),
        };
        match transport {
            // Wire: separators delimit messages and frame boundaries do not matter, so the session enforces the size
            // limit.
            Transport::WebSockets => websocket::accept(http, payload, reader, connection.recipient(), ReadMode::Bytes)
                .unwrap_or_else(HttpResponse::from_error),
            Transport::LongPolling => self.poll(reader, socket).await,
            Transport::ServerSentEvents | Transport::ForeverFrame => {
                let body = ResponseBody::stream(reader, EVENT_STREAM_START).close_on_disconnect(socket);
                streaming_response(event_stream(), body, http)
            }
        }
    }

    /// Answers a poll. Wire: the first one is answered at once and carries nothing.
    async fn poll(&self, mut reader: OutboxReader, socket: Option<SocketHandle>) -> HttpResponse {
        if reader.channel() == FIRST_CHANNEL {
            return polled(bytes::Bytes::new());
        }
        select! {
            biased;
            frames = next_frames(&mut reader) => match frames {
                Polled::Frames(messages) => polled(messages),
                Polled::Ended => polled_nothing(StatusCode::NO_CONTENT),
            },
            () = sleep(self.state.settings.poll_timeout) => polled_nothing(StatusCode::OK),
            // Nobody reads the response. The messages wait for the next poll.
            () = disconnected(socket) => polled_nothing(StatusCode::NO_CONTENT),
        }
    }
}

/// Waits until the client has closed its socket.
async fn disconnected(socket: Option<SocketHandle>) {
    let is_gone = match socket {
        Some(socket) => socket.peer_closed().await,
        None => false,
    };
    if !is_gone {
        std::future::pending::<()>().await;
    }
}

fn refusal(transport: Transport, error: &AttachError<Session>) -> HttpResponse {
    match error {
        AttachError::Refused(ChannelRefusal::OtherTransport) => {
            reject(transport, StatusCode::BAD_REQUEST, OTHER_TRANSPORT)
        }
        AttachError::Refused(ChannelRefusal::AlreadyOpen) => reject(transport, StatusCode::CONFLICT, ""),
        AttachError::Busy => reject(transport, StatusCode::SERVICE_UNAVAILABLE, ""),
        AttachError::Ended | AttachError::NotAdmitted(_) => unknown_connection(transport),
    }
}
