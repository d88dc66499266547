//! Requests besides those for a channel: start, send and abort.

use std::sync::Arc;

use actix_web::{HttpResponse, http::StatusCode, web::Payload};

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse, error_response, json_response,
    receive::{CONNECTION_ENDED, NOT_A_WEBSOCKET_REQUEST, unavailable},
};
use crate::{
    classic::{
        channel::{AbortRequest, SendRequest, StartRequest},
        message,
        query::{ConnectionDataError, Transport, query_parameter},
        session::Session,
        token::ConnectionToken,
    },
    connection::Connection,
    web::query_value,
};

const MISSING_DATA: &str = "The request brings no data.";

/// The response to a request for a connection that does not exist. Its client can try again when it has a channel.
fn no_channel() -> ErrorResponse {
    unavailable("The connection has ended, or has had no channel yet.")
}

impl EndpointHandler {
    pub(super) async fn start(
        &self,
        request: &ClassicRequest,
        token: &ConnectionToken,
    ) -> Result<HttpResponse, ErrorResponse> {
        let connection = self.find_connection(token).ok_or_else(no_channel)?;
        let start = StartRequest { hubs: request.hubs.clone(), request: Arc::clone(&request.kept) };
        match connection.send(start).await {
            Ok(Ok(())) => json_response(request, br#"{"Response":"started"}"#),
            Ok(Err(error)) if error.is_retryable => Err(unavailable(&error.text)),
            Ok(Err(error)) => Err(error_response(StatusCode::INTERNAL_SERVER_ERROR, error.text)),
            Err(_) => Err(unavailable(CONNECTION_ENDED)),
        }
    }

    /// Wire: the call is a parameter of the form. For polling clients it may be in the query instead.
    pub(super) async fn send(
        &self,
        request: &ClassicRequest,
        payload: Payload,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<HttpResponse, ErrorResponse> {
        if transport == Transport::WebSockets {
            return Err(error_response(StatusCode::BAD_REQUEST, NOT_A_WEBSOCKET_REQUEST));
        }
        let form = self.read_form(payload).await?;
        let in_query = || query_parameter(&request.info, "data").filter(|_| transport == Transport::LongPolling);
        let data = query_value(&form, "data").or_else(in_query);
        let data = data.ok_or_else(|| error_response(StatusCode::BAD_REQUEST, MISSING_DATA))?;
        let call =
            message::decode(&data).map_err(|error| error_response(StatusCode::BAD_REQUEST, error.to_string()))?;
        let hub = self.endpoint_hubs.find(&call.hub).cloned();
        let hub = hub.ok_or_else(|| {
            error_response(StatusCode::BAD_REQUEST, ConnectionDataError::Unknown(call.hub.clone()).to_string())
        })?;
        let send = SendRequest { hub, call, request: Arc::clone(&request.kept) };
        let connection = self.find_connection(token).ok_or_else(no_channel)?;
        match connection.send(send).await {
            Ok(Ok(response)) => json_response(request, &response),
            Ok(Err(error)) => Err(unavailable(&error.to_string())),
            Err(_) => Err(unavailable(CONNECTION_ENDED)),
        }
    }

    /// Wire: the response is the same whether or not the connection exists.
    pub(super) async fn abort(&self, token: &ConnectionToken) -> HttpResponse {
        if let Some(handle) = self.state.services.connections.find(&token.connection)
            && let Some(connection) = handle.address.downcast::<Connection<Session>>()
        {
            // Sending fails if the connection has ended meanwhile.
            let _ = connection.send(AbortRequest).await;
        }
        HttpResponse::Ok().content_type("text/plain").finish()
    }
}
