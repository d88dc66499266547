//! Requests for a channel.

use std::sync::Arc;

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{ConnectionType, StatusCode, Version},
    web::Payload,
};
use tokio::time::Instant;

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse, JAVASCRIPT, JSON, UNCACHED, callback_of, query_or_form, refuse,
    version_of,
};
use crate::{
    classic::{
        channel::{AttachChannel, AttachError, names_of},
        frames::{ClassicFramer, EVENT_STREAM_BEGINS, Shape, forever_frame_begins},
        message::FORM,
        query::{ConnectKind, Transport, query},
        session::{Session, SessionConfig},
        token::Token,
    },
    connection::{Connection, NewConnection},
    outbox::{Outbox, OutboxReader},
    pipeline::TokenSubject,
    transport::{
        SocketHandle,
        streaming::Body,
        websocket::{self, ReadMode},
    },
};

pub(super) const NO_UPGRADE: &str = "Not a valid web socket request.";
const NO_FRAME_ID: &str = "The supplied frameId is in the incorrect format.";

/// How often a connection may end while a channel of it is asked for.
const ATTEMPTS: usize = 3;

/// What a channel begins with, by its transport.
enum Preamble {
    WebSocket,
    EventStream,
    ForeverFrame(u32),
    Poll,
}

impl EndpointHandler {
    pub(super) async fn receive(
        &self,
        asked: ClassicRequest,
        payload: Payload,
        arrival: ConnectKind,
        transport: Transport,
        token: &Token,
    ) -> Result<HttpResponse, ErrorResponse> {
        let preamble = preamble_of(&asked, transport)?;
        let shape = shape_of(&asked, transport)?;
        let (form, payload) = match transport {
            Transport::LongPolling => (self.form(payload).await?, None),
            _ => (Vec::new(), Some(payload)),
        };
        for _ in 0..ATTEMPTS {
            let connection = self.connection(&asked, transport, token);
            let open = self.open_of(&asked, &form, arrival, transport, shape.clone());
            match connection.send(open).await {
                Ok(Ok((feed, frames))) => {
                    return Ok(self.answer_with(&asked, payload, preamble, feed, frames, connection));
                }
                Ok(Err(AttachError::Late(frame))) => return Ok(head(media_of(&asked)).body(frame)),
                Ok(Err(AttachError::Refused(refused))) => return Err(unavailable(refused.error.message())),
                // The connection has ended meanwhile; its client is back all the same.
                Ok(Err(AttachError::Ended)) | Err(_) => {}
            }
        }
        Err(unavailable("The connection has ended."))
    }

    /// The connection of a token, which begins with the first request that needs it.
    pub(super) fn connection(
        &self,
        asked: &ClassicRequest,
        transport: Transport,
        token: &Token,
    ) -> Addr<Connection<Session>> {
        let find = || {
            let handle = self.core.services.connections.find(&token.connection)?;
            handle.address.of::<Connection<Session>>().filter(|address| address.connected()).cloned()
        };
        find().unwrap_or_else(|| {
            // A panic under the lock has made no connection.
            let _making = self.core.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            find().unwrap_or_else(|| self.begin(asked, transport, token))
        })
    }

    fn begin(&self, asked: &ClassicRequest, transport: Transport, token: &Token) -> Addr<Connection<Session>> {
        let core = &*self.core;
        let outbox = Outbox::new(&FORM, core.limits, core.settings.window);
        outbox.change_view(|view| view.hubs = Some(names_of(&asked.hubs)));
        let element = Arc::clone(&outbox);
        let (dismissed, id) = (Arc::clone(&core.dismissed), token.connection.clone());
        let begin = SessionConfig {
            settings: Arc::clone(&core.settings),
            // Whoever reports progress to a client that has gone is not told.
            report: Arc::new(move |bytes| {
                let _ = element.push_own(bytes);
            }),
            token_lifetime: core.rejoin_service.settings.lifetime,
            is_dismissed: core.dismissed.has(&token.connection, Instant::now()),
            remember: Box::new(move |now| dismissed.add(id.clone(), now)),
        };
        let user = asked.identity.user.clone();
        let opening = NewConnection {
            id: token.connection.clone(),
            dialect: "classic",
            transport: transport.name(),
            hubs: asked.hubs.clone(),
            has_one_hub: false,
            identity: Arc::new(asked.identity.clone()),
            request: Arc::clone(&asked.described),
            outbox,
            services: Arc::clone(&core.services),
            rejoin_service: Arc::clone(&core.rejoin_service),
            claim: None,
            bearer: TokenSubject { family: token.connection.to_string(), epoch: 0, hub: None, user },
        };
        Connection::open_at_once(opening, Session::new(begin, Instant::now()))
    }

    fn open_of(
        &self,
        asked: &ClassicRequest,
        form: &[(String, String)],
        arrival: ConnectKind,
        transport: Transport,
        shape: Shape,
    ) -> AttachChannel {
        AttachChannel {
            arrival,
            transport,
            shape,
            asks_for_start: version_of(&asked.described).asks_for_start(),
            hubs: asked.hubs.clone(),
            callable: Arc::clone(&self.callable),
            request: Arc::clone(&asked.described),
            cursor: query_or_form(asked, form, "messageId"),
            token: query_or_form(asked, form, "groupsToken"),
            // A socket that brings polls may bring others' requests next.
            socket: asked.request.conn_data::<SocketHandle>().filter(|_| transport != Transport::LongPolling).cloned(),
        }
    }

    fn answer_with(
        &self,
        asked: &ClassicRequest,
        payload: Option<Payload>,
        preamble: Preamble,
        feed: OutboxReader,
        frames: ClassicFramer,
        connection: Addr<Connection<Session>>,
    ) -> HttpResponse {
        let socket = asked.request.conn_data::<SocketHandle>();
        match (preamble, payload) {
            (Preamble::WebSocket, Some(payload)) => {
                let intent = ReadMode::Messages { limit: self.core.settings.max_message };
                websocket::accept(&asked.request, payload, feed, connection.recipient(), intent)
                    .unwrap_or_else(HttpResponse::from_error)
            }
            (Preamble::EventStream, _) => {
                let body = Body::stream(feed, EVENT_STREAM_BEGINS).watching(socket);
                stream("text/event-stream", body, &asked.request)
            }
            (Preamble::ForeverFrame(id), _) => {
                let body = Body::stream(feed, forever_frame_begins(id)).watching(socket);
                stream("text/html; charset=UTF-8", body, &asked.request)
            }
            (Preamble::Poll | Preamble::WebSocket, _) => {
                let body = Body::answer(feed, move |rest| frames.last(&rest)).watching(socket);
                stream(media_of(asked), body, &asked.request)
            }
        }
    }
}

fn media_of(asked: &ClassicRequest) -> &'static str {
    if asked.callback.is_some() { JAVASCRIPT } else { JSON }
}

fn preamble_of(asked: &ClassicRequest, transport: Transport) -> Result<Preamble, ErrorResponse> {
    match transport {
        Transport::WebSockets if actix_http::ws::verify_handshake(asked.request.head()).is_err() => {
            Err(refuse(StatusCode::BAD_REQUEST, NO_UPGRADE))
        }
        Transport::WebSockets => Ok(Preamble::WebSocket),
        Transport::ServerSentEvents => Ok(Preamble::EventStream),
        Transport::ForeverFrame => {
            let id = query(&asked.described, "frameId").and_then(|id| frame_id(&id));
            id.map(Preamble::ForeverFrame).ok_or_else(|| refuse(StatusCode::BAD_REQUEST, NO_FRAME_ID))
        }
        Transport::LongPolling => Ok(Preamble::Poll),
    }
}

/// Wire: digits alone; the number goes into a script.
fn frame_id(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn shape_of(asked: &ClassicRequest, transport: Transport) -> Result<Shape, ErrorResponse> {
    Ok(match transport {
        Transport::WebSockets => Shape::WebSocket,
        Transport::ServerSentEvents => Shape::EventStream,
        Transport::ForeverFrame => Shape::ForeverFrame,
        Transport::LongPolling => Shape::Poll(callback_of(asked)?),
    })
}

/// The client may try again.
pub(super) fn unavailable(text: &str) -> ErrorResponse {
    HttpResponse::ServiceUnavailable().insert_header((actix_web::http::header::RETRY_AFTER, "1")).body(text.to_owned())
}

/// The head of an answer that may go on for a while: nobody on the way may hold it back.
fn head(media: &'static str) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.content_type(media).insert_header(UNCACHED).insert_header(("x-accel-buffering", "no"));
    answer
}

/// Wire: whoever speaks an older HTTP knows no chunks (RFC 9112 section 6.1), so that a body ends with its connection.
fn stream(media: &'static str, body: Body, request: &HttpRequest) -> HttpResponse {
    let mut answer = head(media).streaming::<_, std::convert::Infallible>(body);
    if request.version() < Version::HTTP_11 {
        answer.head_mut().no_chunking(true);
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_id_is_digits() {
        for (text, id) in [("0", Some(0)), ("007", Some(7)), ("4294967295", Some(u32::MAX))] {
            assert_eq!(frame_id(text), id);
        }
        for text in ["", "abc", "-1", "+1", "1.5", " 1", "4294967296"] {
            assert_eq!(frame_id(text), None, "{text}");
        }
    }
}
