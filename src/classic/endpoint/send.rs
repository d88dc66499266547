//! Requests beside a channel: start, calls, the end.

use std::sync::Arc;

use actix_web::{HttpResponse, http::StatusCode, web::Payload};

use super::{
    ClassicRequest, EndpointHandler, ErrorResponse, json,
    receive::{NO_UPGRADE, unavailable},
    refuse,
};
use crate::{
    classic::{
        channel::{Send, Start, Stop},
        message,
        query::{BadHubs, Transport, query},
        session::Session,
        token::Token,
    },
    connection::Connection,
    web::value_of,
};

const NO_DATA: &str = "The request brings no data.";

impl EndpointHandler {
    pub(super) async fn start(&self, asked: &ClassicRequest, token: &Token) -> Result<HttpResponse, ErrorResponse> {
        let connection = self.connection(asked, Transport::LongPolling, token);
        let start = Start { hubs: asked.hubs.clone(), request: Arc::clone(&asked.described) };
        match connection.send(start).await {
            Ok(Ok(())) => json(asked, br#"{"Response":"started"}"#),
            Ok(Err(not_started)) if not_started.is_retryable => Err(unavailable(&not_started.text)),
            Ok(Err(not_started)) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, not_started.text)),
            Err(_) => Err(unavailable("The connection has ended.")),
        }
    }

    /// Wire: the form is looked at first, and for polling clients the query too.
    pub(super) async fn send(
        &self,
        asked: &ClassicRequest,
        payload: Payload,
        transport: Transport,
        token: &Token,
    ) -> Result<HttpResponse, ErrorResponse> {
        if transport == Transport::WebSockets {
            return Err(refuse(StatusCode::BAD_REQUEST, NO_UPGRADE));
        }
        let form = self.form(payload).await?;
        let in_query = || query(&asked.described, "data").filter(|_| transport == Transport::LongPolling);
        let data = value_of(&form, "data").or_else(in_query);
        let data = data.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, NO_DATA))?;
        let call = message::decode(&data).map_err(|no_call| refuse(StatusCode::BAD_REQUEST, no_call.to_string()))?;
        let hub = self.callable.find(&call.hub).cloned();
        let hub = hub.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, BadHubs::Unknown(call.hub.clone()).to_string()))?;
        let send = Send { hub, call, request: Arc::clone(&asked.described) };
        match self.connection(asked, transport, token).send(send).await {
            Ok(Ok(answer)) => json(asked, &answer),
            Ok(Err(busy)) => Err(unavailable(&busy.to_string())),
            Err(_) => Err(unavailable("The connection has ended.")),
        }
    }

    /// Wire: nothing is said of whether there was anything to end.
    pub(super) async fn abort(&self, token: &Token) -> HttpResponse {
        if let Some(handle) = self.core.services.connections.find(&token.connection)
            && let Some(connection) = handle.address.of::<Connection<Session>>()
        {
            // One that has ended meanwhile needs no ending.
            let _ = connection.send(Stop).await;
        }
        HttpResponse::Ok().content_type("text/plain").finish()
    }
}
