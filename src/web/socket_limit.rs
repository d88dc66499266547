//! Answers the requests of sockets beyond the limit of the process.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
};

use super::{limit_response, log_refusal};
use crate::{connections::LimitReached, transport::SocketRefused};

/// Middleware that refuses the request of a socket beyond the limit and closes the socket.
pub(crate) async fn refuse_beyond_socket_limit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if request.request().conn_data::<SocketRefused>().is_none() {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let mut response = log_refusal(request.request(), limit_response(LimitReached::Total));
    response.head_mut().set_connection_type(ConnectionType::Close);
    Ok(request.into_response(response).map_into_right_body())
}
