//! The connection of a request: found by its token, or created.

use std::{any::Any, sync::Arc};

use actix::Addr;
use actix_web::{HttpResponse, http::header};
use tokio::time::Instant;

use super::{ClassicRequest, EndpointHandler, ErrorResponse};
use crate::{
    classic::{
        message::WIRE_FORM,
        session::{Session, SessionConfig, Shared},
        token::{ConnectionToken, TokenDigest},
    },
    connection::{Connection, NewConnection, RegistryEntry, RequestContext},
    ids::HubName,
    outbox::Outbox,
    pipeline::TokenSubject,
    transport::Transport,
    web::limit_response,
};

pub(super) const CONNECTION_ENDED: &str = "The connection has ended.";
const TOO_MANY_WITHOUT_CHANNEL: &str = "The server has too many connections without a channel. Try again later.";

/// An error response after which the client may try again.
pub(super) fn unavailable(text: &str) -> ErrorResponse {
    HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "1")).body(text.to_owned())
}

impl ClassicRequest {
    /// What hooks and hub methods know of this request.
    pub(super) fn context(&self) -> RequestContext {
        RequestContext { hubs: self.hubs.clone(), request: Arc::clone(&self.kept) }
    }

    /// The names of the hubs in its `connectionData`.
    pub(super) fn hub_names(&self) -> Vec<HubName> {
        self.hubs.iter().map(|hub| hub.name().clone()).collect()
    }
}

impl EndpointHandler {
    /// The connection of a token, for a request that opens a channel.
    ///
    /// # Errors
    /// A response that tells the client to try again, if a limit of connections is reached, or if the previous
    /// connection of the token has not ended yet.
    pub(super) fn connection_for_channel(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<Addr<Connection<Session>>, ErrorResponse> {
        self.state.registry.find_or_create(&token.digest, |entry| {
            self.create_connection(request, transport, token, entry, Box::new(()))
        })
    }

    /// The connection of a token, for a request that opens no channel. The number of connections without a channel is
    /// limited.
    ///
    /// # Errors
    /// As for [`EndpointHandler::connection_for_channel`].
    pub(super) fn connection_without_channel(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
    ) -> Result<Addr<Connection<Session>>, ErrorResponse> {
        self.state.registry.find_or_create(&token.digest, |entry| {
            if self.state.aborted.contains(&token.connection, Instant::now()) {
                return Err(unavailable(CONNECTION_ENDED));
            }
            let permit = self.state.without_channel.acquire(None, request.info.address());
            let permit = permit.map_err(|_| unavailable(TOO_MANY_WITHOUT_CHANNEL))?;
            self.create_connection(request, transport, token, entry, Box::new(permit))
        })
    }

    fn create_connection(
        &self,
        request: &ClassicRequest,
        transport: Transport,
        token: &ConnectionToken,
        entry: RegistryEntry<TokenDigest, Session>,
        held_until_channel: Box<dyn Any + Send>,
    ) -> Result<Addr<Connection<Session>>, ErrorResponse> {
        let state = &*self.state;
        let permit = state.shared.services.limiter.acquire(request.identity.user.as_ref(), request.info.address());
        let permit = permit.map_err(limit_response)?;
        let outbox = Outbox::new(&WIRE_FORM, state.shared.limits, state.settings.window);
        outbox.update_filter(|filter| filter.hubs = Some(request.hub_names()));
        let config = SessionConfig {
            settings: Arc::clone(&state.settings),
            groups_token_lifetime: state.shared.rejoin_service.settings.lifetime,
            is_aborted_by_hub: state.aborted.contains(&token.connection, Instant::now()),
        };
        let user = request.identity.user.clone();
        let new_connection = NewConnection {
            id: token.connection.clone(),
            dialect: "classic",
            transport: transport.classic_name(),
            hubs: request.hubs.clone(),
            has_one_hub: false,
            identity: Arc::new(request.identity.clone()),
            request: Arc::clone(&request.kept),
            outbox,
            services: Arc::clone(&state.shared.services),
            rejoin_service: Arc::clone(&state.shared.rejoin_service),
            rejoin_token: None,
            token_subject: TokenSubject { family: token.connection.to_string(), epoch: 0, hub: None, user },
            held_until_end: Box::new((permit, entry)),
            held_until_channel,
            held_until_stop: Box::new(()),
        };
        let shared =
            Shared { aborted: Arc::clone(&state.aborted), metrics: Arc::clone(&state.shared.services.metrics) };
        Connection::spawn_registered(new_connection, Session::new(config), shared)
            .ok_or_else(|| unavailable(CONNECTION_ENDED))
    }
}
