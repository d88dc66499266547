//! The transport that a request asks for, and its error responses.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};

use crate::transport::websocket::check_upgrade;

/// Wire: the name of the transport in the negotiate response. Hub methods get the same name.
pub(super) const WEBSOCKETS: &str = "WebSockets";

/// The transport of a GET request. Wire: it is determined by the headers, and event streams are checked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransportKind {
    ServerSentEvents,
    WebSockets,
    LongPolling,
}

impl TransportKind {
    pub(super) fn of(request: &HttpRequest) -> Self {
        if wants_event_stream(request) {
            Self::ServerSentEvents
        } else if check_upgrade(request.head()).is_ok() {
            Self::WebSockets
        } else {
            Self::LongPolling
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ServerSentEvents => "ServerSentEvents",
            Self::WebSockets => WEBSOCKETS,
            Self::LongPolling => "LongPolling",
        }
    }
}

/// Wire: a media type with parameters does not match.
fn wants_event_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}

pub(super) fn plain_text(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain").body(text)
}

/// Wire: responses to polls must not be cached, including error responses.
fn not_cached(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((header::CACHE_CONTROL, "no-cache, no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        .insert_header((header::EXPIRES, "Thu, 01 Jan 1970 00:00:00 GMT"));
    response
}

impl TransportKind {
    pub(super) fn reject(self, status: StatusCode, text: impl Into<String>) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        response.content_type("text/plain");
        match self {
            Self::LongPolling => not_cached(response).body(text.into()),
            Self::ServerSentEvents | Self::WebSockets => response.body(text.into()),
        }
    }
}
