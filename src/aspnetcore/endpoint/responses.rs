//! The texts and headers of responses that open no channel.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};

use crate::transport::Transport;

/// Wire: the texts of ASP.NET Core SignalR.
pub(super) const NO_ID: &str = "Connection ID required";
pub(super) const NO_CONNECTION: &str = "No Connection with that ID";
pub(super) const OTHER_TRANSPORT: &str = "Cannot change transports mid-connection";
pub(super) const NO_POST: &str = "POST requests are not allowed for WebSocket connections.";
pub(super) const NO_DELETE: &str = "Cannot terminate this connection using the DELETE endpoint.";

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

/// Rejects a GET request of an unknown connection. Wire: to an upgrade request the response has no content type.
pub(super) fn unknown_connection(transport: Transport) -> HttpResponse {
    match transport {
        Transport::WebSockets => HttpResponse::NotFound().body(NO_CONNECTION),
        _ => reject(transport, StatusCode::NOT_FOUND, NO_CONNECTION),
    }
}

/// Wire: hub messages have this type on polls, JSON too.
const MESSAGES: &str = "application/octet-stream";

/// The response to a poll with these messages.
pub(super) fn polled(messages: bytes::Bytes) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type(MESSAGES);
    not_cached(response).body(messages)
}

/// The response to a poll that no message has answered. Wire: the client polls again after status 200, and stops after
/// status 204.
pub(super) fn polled_nothing(status: StatusCode) -> HttpResponse {
    reject(Transport::LongPolling, status, "")
}

/// The head of an event stream.
pub(super) fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache,no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        // Wire: keeps proxies and middleware from compressing, and thereby buffering, the stream.
        .insert_header((header::CONTENT_ENCODING, "identity"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the headers of a response, in the order of their names.
    fn head(response: &HttpResponse) -> (u16, String) {
        let mut headers: Vec<_> =
            response.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        (response.status().as_u16(), headers.join("; "))
    }

    const NO_CACHE: &str = "cache-control: no-cache, no-store; ";
    const EXPIRED: &str = "expires: Thu, 01 Jan 1970 00:00:00 GMT; pragma: no-cache";

    #[test]
    fn only_polls_forbid_caching_of_errors() {
        for transport in [Transport::WebSockets, Transport::ServerSentEvents] {
            let response = reject(transport, StatusCode::CONFLICT, "");
            assert_eq!(head(&response), (409, "content-type: text/plain".into()), "{transport:?}");
        }
        let response = reject(Transport::LongPolling, StatusCode::BAD_REQUEST, NO_ID);
        assert_eq!(head(&response), (400, format!("{NO_CACHE}content-type: text/plain; {EXPIRED}")));
    }

    #[test]
    fn unknown_connection_has_no_type_for_upgrades() {
        assert_eq!(head(&unknown_connection(Transport::WebSockets)), (404, String::new()));
        let sse = head(&unknown_connection(Transport::ServerSentEvents));
        assert_eq!(sse, (404, "content-type: text/plain".into()));
    }

    #[test]
    fn polls_are_answered_as_bytes_or_empty_text() {
        let messages = head(&polled(bytes::Bytes::new()));
        assert_eq!(messages, (200, format!("{NO_CACHE}content-type: application/octet-stream; {EXPIRED}")));
        for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
            let expected = (status.as_u16(), format!("{NO_CACHE}content-type: text/plain; {EXPIRED}"));
            assert_eq!(head(&polled_nothing(status)), expected);
        }
    }

    #[test]
    fn event_stream_is_neither_cached_nor_compressed() {
        let headers = "cache-control: no-cache,no-store; content-encoding: identity; content-type: text/event-stream; pragma: no-cache";
        assert_eq!(head(&event_stream().finish()), (200, headers.into()));
    }
}
