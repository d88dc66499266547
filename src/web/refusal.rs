//! Log lines for refused requests.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    http::StatusCode,
};

use crate::{
    client_log::{self, Cause, optional},
    hub::Identity,
    ids::UserId,
};

/// The user of a request, for the log.
struct RequestUser(UserId);

/// Keeps the user of an authenticated request for [`log_refusal`].
pub(super) fn remember_user(request: &HttpRequest, identity: &Identity) {
    if let Some(user) = identity.user.clone() {
        request.extensions_mut().insert(RequestUser(user));
    }
}

/// Logs a response that refuses its request, with the text of its body as the reason, and returns the response.
pub(crate) fn log_refusal(request: &HttpRequest, response: HttpResponse) -> HttpResponse {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let cause = match status {
        StatusCode::UNAUTHORIZED => Cause::RequestUnauthorized,
        StatusCode::FORBIDDEN => Cause::RequestForbidden,
        StatusCode::NOT_FOUND => Cause::RequestNotFound,
        _ => Cause::RequestRefused,
    };
    let (response, body) = response.into_parts();
    let body = body.try_into_bytes();
    let text = body.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    log_request(cause, request, status, if text.is_empty() { response.head().reason() } else { &text });
    response.set_body(body.map_or_else(|body| body, BoxBody::new))
}

/// Logs a request that is refused.
pub(crate) fn log_request(cause: Cause, request: &HttpRequest, status: StatusCode, reason: &str) {
    let extensions = request.extensions();
    let user = optional(extensions.get::<RequestUser>().map(|RequestUser(user)| user));
    let address = optional(request.peer_addr());
    let reason = client_log::without_contents(reason);
    client_log::log(
        cause,
        &[
            ("user", &user),
            ("address", &address),
            ("verb", request.method()),
            ("path", &request.path()),
            ("status", &status.as_u16()),
            ("reason", &reason),
        ],
    );
}

#[cfg(test)]
mod tests {
    use actix_web::{body::to_bytes, test::TestRequest};

    use super::*;

    #[actix_web::test]
    async fn logged_response_keeps_status_headers_and_body() {
        let request = TestRequest::default().to_http_request();
        for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
            let response = HttpResponse::build(status).insert_header(("retry-after", "1")).body("why");
            let response = log_refusal(&request, response);
            assert_eq!((response.status(), response.headers().len()), (status, 1));
            assert_eq!(to_bytes(response.into_body()).await.unwrap(), "why");
        }
    }
}
