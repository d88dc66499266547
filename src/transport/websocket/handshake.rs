//! The check of an upgrade request.

use actix_http::{
    RequestHead,
    ws::{HandshakeError, verify_handshake},
};
use actix_web::http::{
    Version,
    header::{self, HeaderMap},
};

/// Checks an upgrade request (RFC 6455 section 4.2.1). `verify_handshake` alone accepts HTTP/1.0, which has no upgrade,
/// and any protocol whose name contains `websocket`.
///
/// # Errors
/// The first rule that the request violates.
pub(crate) fn check_upgrade(request: &RequestHead) -> Result<(), HandshakeError> {
    if request.version != Version::HTTP_11 || !offers_websocket(&request.headers) {
        return Err(HandshakeError::NoWebsocketUpgrade);
    }
    verify_handshake(request)
}

/// True if `Upgrade` lists WebSocket among its protocols (RFC 9110 section 7.8).
pub(crate) fn offers_websocket(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn is_accepted(version: Version, upgrade: &str) -> bool {
        let request = TestRequest::default()
            .version(version)
            .insert_header(("Upgrade", upgrade))
            .insert_header(("Connection", "Upgrade"))
            .insert_header(("Sec-WebSocket-Version", "13"))
            .insert_header(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
            .to_http_request();
        check_upgrade(request.head()).is_ok()
    }

    #[test]
    fn only_websocket_over_http_1_1_is_accepted() {
        for (upgrade, expected) in [
            ("websocket", true),
            ("WebSocket", true),
            ("h2c, websocket", true),
            ("xwebsocketx", false),
            ("websocket/13", false),
            ("", false),
        ] {
            assert_eq!(is_accepted(Version::HTTP_11, upgrade), expected, "{upgrade}");
        }
        assert!(!is_accepted(Version::HTTP_10, "websocket"));
    }
}
