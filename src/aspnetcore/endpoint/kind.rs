//! Which transport a request means, and how it is refused.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};

/// Wire: the transport's name, in negotiations and in hubs.
pub(super) const WEBSOCKETS: &str = "WebSockets";

/// Wire: what a GET is, by its headers; the original looks for event streams first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ServerSentEvents,
    WebSockets,
    LongPolling,
}

impl Kind {
    pub(super) fn of(request: &HttpRequest) -> Self {
        if wants_event_stream(request) {
            Self::ServerSentEvents
        } else if actix_http::ws::verify_handshake(request.head()).is_ok() {
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

/// Wire: the media type alone; one with parameters is another.
fn wants_event_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain").body(text)
}

/// Wire: polls are never to be cached, and neither are the refusals of requests that look like one.
fn uncached(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((header::CACHE_CONTROL, "no-cache, no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        .insert_header((header::EXPIRES, "Thu, 01 Jan 1970 00:00:00 GMT"));
    response
}

impl Kind {
    pub(super) fn refuse(self, status: StatusCode, text: impl Into<String>) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        response.content_type("text/plain");
        match self {
            Self::LongPolling => uncached(response).body(text.into()),
            Self::ServerSentEvents | Self::WebSockets => response.body(text.into()),
        }
    }
}
