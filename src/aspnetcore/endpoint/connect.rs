//! The connection of a request: found by its token, or created.

use std::{any::Any, sync::Arc};

use actix::Addr;
use actix_web::HttpResponse;
use tokio::time::Instant;

use super::{EndpointHandler, RegistryKey, responses::unknown_connection};
use crate::{
    aspnetcore::{
        negotiate::REJOIN_PARAM,
        negotiations::{IdKind, Seconds, Ticket, TokenBytes, TokenStatus},
        protocol::{HubProtocol, json::JsonProtocol, raw::RawProtocol},
        session::{Session, SessionConfig},
    },
    connection::{Connection, NewConnection},
    hub::{Hub, Identity, Request},
    outbox::{Outbox, ReplayLimits},
    pipeline::TokenSubject,
    transport::Transport,
    web::limit_response,
};

/// The value of [`REJOIN_PARAM`] if the client has no token yet.
const NO_TOKEN_YET: &str = "1";

/// The connection of a token.
pub(super) enum Found {
    Live(Addr<Connection<Session>>),
    /// It was negotiated, and no transport was opened yet.
    Pending(Ticket),
    /// It was never negotiated, or has expired, or has ended.
    Unknown,
}

impl EndpointHandler {
    /// The connection of a token. That of a live connection is accepted even if the key that signed it was removed.
    pub(super) fn find(&self, token: &str) -> Found {
        if let Some(connection) = TokenBytes::parse(token).and_then(|bytes| self.find_live(bytes)) {
            return Found::Live(connection);
        }
        let negotiations = &self.state.negotiations;
        let Some(ticket) = negotiations.verify(token, &self.endpoint.path) else { return Found::Unknown };
        match negotiations.status(&ticket, Seconds::now()) {
            TokenStatus::Pending => Found::Pending(ticket),
            // Its transport may have been opened meanwhile.
            TokenStatus::Open => self.find_live(ticket.bytes).map_or(Found::Unknown, Found::Live),
            TokenStatus::Unknown => Found::Unknown,
        }
    }

    pub(super) fn find_live(&self, token: TokenBytes) -> Option<Addr<Connection<Session>>> {
        self.state.registry.find(&self.registry_key(token))
    }

    fn registry_key(&self, token: TokenBytes) -> RegistryKey {
        (Arc::clone(&self.endpoint.path), token)
    }

    /// The ticket of a client that has skipped the negotiation. Its id is also its token, as in version 0.
    pub(super) fn issue_unnegotiated(&self) -> Ticket {
        self.state.negotiations.issue(&self.endpoint.path, IdKind::Token, Seconds::now())
    }

    /// The connection of a ticket. It is created for the first request.
    ///
    /// # Errors
    /// The response, if a limit of connections is reached or the token was used up meanwhile.
    pub(super) fn find_or_create(
        &self,
        ticket: &Ticket,
        transport: Transport,
        request: &Request,
        identity: &Identity,
    ) -> Result<Addr<Connection<Session>>, HttpResponse> {
        let state = &*self.state;
        state.registry.find_or_create(&self.registry_key(ticket.bytes), |entry| {
            let permit = state.shared.services.limiter.acquire(identity.user.as_ref(), request.address());
            let permit = permit.map_err(limit_response)?;
            let hub = state.shared.services.hub(&self.endpoint.hub).cloned();
            let hub = hub.ok_or_else(|| HttpResponse::NotFound().finish())?;
            let opened = state.negotiations.open(ticket, Seconds::now());
            let (token, early_data) = opened.ok_or_else(|| unknown_connection(transport))?;
            let config = SessionConfig {
                settings: Arc::clone(&state.settings),
                hub: Arc::clone(&hub),
                fixed_protocol: self.endpoint.is_raw.then_some(&RawProtocol as &dyn HubProtocol),
                wants_tokens: request.query(REJOIN_PARAM).is_some(),
                token_lifetime: state.shared.rejoin_service.settings.lifetime,
                early_data: early_data.freeze(),
                can_reconnect: ticket.can_reconnect(),
            };
            let held = (Box::new(permit) as Box<dyn Any + Send>, Box::new((entry, token)) as Box<dyn Any + Send>);
            let new_connection = self.new_connection(ticket, transport, hub, request, identity, held);
            Ok(Connection::spawn(new_connection, Session::new(config, Instant::now()), ()))
        })
    }

    fn new_connection(
        &self,
        ticket: &Ticket,
        transport: Transport,
        hub: Arc<Hub>,
        request: &Request,
        identity: &Identity,
        (held_until_end, held_until_stop): (Box<dyn Any + Send>, Box<dyn Any + Send>),
    ) -> NewConnection {
        let state = &*self.state;
        let token_subject = TokenSubject {
            family: crate::ids::secret(),
            epoch: 1,
            hub: Some(self.endpoint.hub.clone()),
            user: identity.user.clone(),
        };
        NewConnection {
            id: ticket.id().into(),
            dialect: "aspnetcore",
            transport: transport.name(),
            hubs: vec![hub],
            has_one_hub: true,
            rejoin_token: request.query(REJOIN_PARAM).filter(|token| *token != NO_TOKEN_YET).map(str::to_owned),
            identity: Arc::new(identity.clone()),
            request: Arc::new(request.clone().into_kept()),
            outbox: Outbox::new(JsonProtocol.form(), state.shared.limits, ReplayLimits::default()),
            services: Arc::clone(&state.shared.services),
            rejoin_service: Arc::clone(&state.shared.rejoin_service),
            token_subject,
            held_until_end,
            held_until_channel: Box::new(()),
            held_until_stop,
        }
    }
}
