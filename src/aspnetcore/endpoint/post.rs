//! POST requests, which carry data to a connection, and DELETE requests, which end it.

use std::net::IpAddr;

use actix::Addr;
use actix_web::{HttpResponse, http::StatusCode, web::Payload};
use tokio::sync::oneshot;

use super::{
    EndpointHandler,
    connect::Found,
    responses::{NO_CONNECTION, NO_DELETE, NO_ID, NO_POST, plain_text},
};
use crate::{
    aspnetcore::{
        negotiations::{MAX_EARLY_BYTES, Seconds, Ticket},
        session::{Delete, Session},
    },
    connection::{BeginPost, ClientRequest, Connection, PostError, PostTurn, PostedData},
    web::{next_body_part, read_body},
};

impl EndpointHandler {
    pub(super) async fn post(&self, payload: Payload, token: Option<String>, address: Option<IpAddr>) -> HttpResponse {
        let Some(token) = token else { return plain_text(StatusCode::BAD_REQUEST, NO_ID) };
        match self.find(&token) {
            Found::Unknown => plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
            Found::Pending(ticket) => self.buffer(payload, &ticket, address).await,
            Found::Live(connection) => forward(payload, &connection).await.unwrap_or_else(|response| response),
        }
    }

    /// Keeps the data of a connection that has no transport yet.
    async fn buffer(&self, payload: Payload, ticket: &Ticket, address: Option<IpAddr>) -> HttpResponse {
        let bytes = match read_body(payload, MAX_EARLY_BYTES).await {
            Ok(bytes) => bytes,
            Err(error) => return plain_text(error.status(), ""),
        };
        if self.state.negotiations.buffer_early_data(ticket, &bytes, address, Seconds::now()) {
            return plain_text(StatusCode::OK, "");
        }
        // A transport may have been opened meanwhile.
        match self.find_live(ticket.bytes) {
            Some(connection) => match send_in_turn(&connection, bytes).await {
                Ok(()) => plain_text(StatusCode::OK, ""),
                Err(response) => response,
            },
            None => plain_text(StatusCode::PAYLOAD_TOO_LARGE, ""),
        }
    }

    pub(super) async fn delete(&self, token: Option<String>) -> HttpResponse {
        let Some(token) = token else { return plain_text(StatusCode::BAD_REQUEST, NO_ID) };
        let connection = match self.find(&token) {
            Found::Unknown => return plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
            Found::Pending(_) => return plain_text(StatusCode::BAD_REQUEST, NO_DELETE),
            Found::Live(connection) => connection,
        };
        let (reply, deleted) = oneshot::channel();
        // A connection that has ended drops the sender of the reply.
        let _ = connection.send(ClientRequest(Delete(reply))).await;
        match deleted.await {
            Ok(true) => plain_text(StatusCode::ACCEPTED, ""),
            Ok(false) => plain_text(StatusCode::BAD_REQUEST, NO_DELETE),
            Err(_) => plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
        }
    }
}

/// Forwards the body of a request to a connection, as it arrives. The response follows when the connection has taken all
/// of it, so that a client that sends faster than its hub reads is slowed down.
async fn forward(mut payload: Payload, connection: &Addr<Connection<Session>>) -> Result<HttpResponse, HttpResponse> {
    let mut turn = begin(connection).await?;
    while let Some(part) = next_body_part(&mut payload).await {
        let part = part.map_err(|error| plain_text(error.status(), ""))?;
        send(connection, turn.data(part)).await?;
    }
    turn.complete();
    Ok(plain_text(StatusCode::OK, ""))
}

async fn send_in_turn(connection: &Addr<Connection<Session>>, bytes: bytes::Bytes) -> Result<(), HttpResponse> {
    let mut turn = begin(connection).await?;
    send(connection, turn.data(bytes)).await?;
    turn.complete();
    Ok(())
}

async fn begin(connection: &Addr<Connection<Session>>) -> Result<PostTurn, HttpResponse> {
    connection.send(BeginPost).await.unwrap_or(Err(PostError::Ended)).map_err(refusal)
}

async fn send(connection: &Addr<Connection<Session>>, data: PostedData) -> Result<(), HttpResponse> {
    connection.send(data).await.unwrap_or(Err(PostError::EndedMeanwhile)).map_err(refusal)
}

fn refusal(error: PostError) -> HttpResponse {
    match error {
        PostError::WebSocket => plain_text(StatusCode::METHOD_NOT_ALLOWED, NO_POST),
        PostError::Ended => plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
        PostError::EndedMeanwhile => plain_text(StatusCode::NOT_FOUND, ""),
    }
}
