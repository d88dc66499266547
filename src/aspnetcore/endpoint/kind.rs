//! The transport that a request asks for, and its error responses.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};

use crate::transport::{Transport, websocket::check_upgrade};

/// The transport of a GET request. Wire: it is determined by the headers, and event streams are checked first.
pub(super) fn requested_transport(request: &HttpRequest) -> Transport {
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

/// Rejects a GET request.
pub(super) fn reject(transport: Transport, status: StatusCode, text: impl Into<String>) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.content_type("text/plain");
    if transport.is_poll() { not_cached(response).body(text.into()) } else { response.body(text.into()) }
}
