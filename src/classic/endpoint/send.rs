//! Requests besides those for a channel: start, send and abort.

use std::sync::Arc;

use actix_web::{HttpResponse, http::StatusCode, web::Payload};

use tokio::sync::oneshot;

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse,
    connect::{CONNECTION_ENDED, unavailable},
    error_response, json_response,
    receive::NOT_A_WEBSOCKET_REQUEST,
};
use crate::{
    classic::{
        message,
        query::{ConnectionDataError, query_parameter},
        session::{ClassicCall, ReplyTarget, Request},
        token::ConnectionToken,
    },
    connection::ClientRequest,
    transport::Transport,
    web::query_value,
};

const MISSING_DATA: &str = "The request brings no data.";

impl EndpointHandler {
    pub(super) async fn start(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<HttpResponse, ErrorResponse> {
        let connection = self.connection_without_channel(request, transport, token)?;
        let (reply, started) = oneshot::channel();
        // A connection that has ended drops the sender of the reply.
        let _ = connection.send(ClientRequest(Request::Start { context: request.context(), reply })).await;
        match started.await {
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
        let connection = self.connection_without_channel(request, transport, token)?;
        let (reply, response) = oneshot::channel();
        let reply_to = ReplyTarget::Request(reply);
        let incoming = ClassicCall { hub, call, reply_to, request: Some(Arc::clone(&request.kept)) };
        // A connection that has ended drops the sender of the reply.
        let _ = connection.send(ClientRequest(Request::Send(incoming))).await;
        match response.await {
            Ok(Ok(response)) => json_response(request, &response),
            Ok(Err(error)) => Err(unavailable(&error.to_string())),
            Err(_) => Err(unavailable(CONNECTION_ENDED)),
        }
    }

    /// Wire: the response is the same whether or not the connection exists.
    pub(super) async fn abort(&self, token: &ConnectionToken) -> HttpResponse {
        if let Some(connection) = self.state.registry.find(&token.digest) {
            // Sending fails if the connection has ended meanwhile.
            let _ = connection.send(ClientRequest(Request::Abort)).await;
        }
        HttpResponse::Ok().content_type("text/plain").finish()
    }
}
