//! Closes a connection whose request is answered before its body has arrived.
//!
//! The HTTP layer reads the rest of a chunked body after the response, to keep the connection, and waits for it without
//! a time limit. A client that sends a byte now and then would occupy the connection for ever. While somebody holds the
//! body, the HTTP layer does not wait for it: it closes the connection after the response. So this middleware holds the
//! body until the response is complete.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::BoxedPayloadStream;
use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::{InternalError, PayloadError},
    middleware::Next,
};
use bytes::Bytes;
use futures_util::Stream;

/// Middleware that closes the connection after the response if a chunked request body has not arrived by then. Wrap
/// each application with it: `App::new().wrap(actix_web::middleware::from_fn(close_after_unread_body))`.
///
/// # Errors
/// Those of the wrapped service.
pub async fn close_after_unread_body(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    // Other bodies have a length. The HTTP layer does not wait for the rest of those.
    if !request.chunked().unwrap_or(false) {
        let response = next.call(request).await?;
        return Ok(response.map_body(|_, response| HoldingBody { response: response.boxed(), _unread: None }));
    }
    let body = SharedBody::new(request.take_payload());
    let stream: BoxedPayloadStream = Box::pin(body.clone());
    request.set_payload(stream.into());
    let response = next.call(request).await;
    let unread = (!body.is_complete()).then_some(body);
    match response {
        Ok(response) => {
            Ok(response.map_body(|_, response| HoldingBody { response: response.boxed(), _unread: unread }))
        }
        Err(error) => {
            let hold = |_: &mut _, response| BoxBody::new(HoldingBody { response, _unread: unread });
            let response = error.error_response().map_body(hold);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// The body of a request. The HTTP layer sees it dropped when the last clone is dropped.
#[derive(Clone)]
struct SharedBody(Rc<RefCell<BodyState>>);

struct BodyState {
    payload: Payload,
    is_complete: bool,
}

impl SharedBody {
    fn new(payload: Payload) -> Self {
        Self(Rc::new(RefCell::new(BodyState { payload, is_complete: false })))
    }

    fn is_complete(&self) -> bool {
        self.0.borrow().is_complete
    }
}

impl Stream for SharedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.borrow_mut();
        let chunk = ready!(Pin::new(&mut state.payload).poll_next(cx));
        state.is_complete = chunk.is_none();
        Poll::Ready(chunk)
    }
}

/// A response, which holds the unread body of its request.
struct HoldingBody {
    response: BoxBody,
    _unread: Option<SharedBody>,
}

impl MessageBody for HoldingBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.response.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.response).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        time::Duration,
    };

    use actix_web::{App, HttpResponse, error::ErrorUnauthorized, middleware::from_fn, web};

    use super::*;
    use crate::web::read_body;

    /// What a server sends until it closes the connection, to a client that sends `request` and keeps its side open.
    async fn response_until_close(request: &'static str) -> String {
        let read = |payload: web::Payload| async {
            read_body(payload, 100)
                .await
                .map_or_else(|error| HttpResponse::new(error.status()), |_| HttpResponse::Ok().body("read"))
        };
        let refuse = |_, _: Next<BoxBody>| async { Err::<ServiceResponse, _>(ErrorUnauthorized("refused")) };
        let app = move || {
            let unread = web::to(|| async { HttpResponse::Ok().body("unread") });
            let refused = web::resource("/refused").wrap(from_fn(refuse));
            let app = App::new().wrap(from_fn(close_after_unread_body)).service(refused);
            app.route("/read", web::to(read)).route("/unread", unread)
        };
        let server = actix_test::start_with(actix_test::config().client_request_timeout(Duration::ZERO), app);
        let address = server.addr();
        let answer = web::block(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        server.stop().await;
        answer
    }

    #[actix_web::test]
    async fn unread_chunked_body_closes_connection() {
        for path in ["/unread", "/refused", "/nowhere"] {
            let head = "HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
            let request: &'static str = Box::leak(format!("POST {path} {head}").into());
            let answer = response_until_close(request).await;
            assert!(answer.contains("connection: close"), "{answer}");
        }
    }

    #[actix_web::test]
    async fn too_long_chunked_body_closes_connection() {
        let body = format!("ff\r\n{}\r\n", "x".repeat(255));
        let request = format!("POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let answer = response_until_close(Box::leak(request.into())).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    }

    #[actix_web::test]
    async fn read_chunked_body_keeps_connection() {
        let first = "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let last = "GET /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = response_until_close(Box::leak(format!("{first}{last}").into())).await;
        assert_eq!(answer.matches("200 OK").count(), 2, "{answer}");
    }
}
