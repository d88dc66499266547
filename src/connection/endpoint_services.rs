//! What the endpoints of both dialects need to create connections.

use std::sync::Arc;

use super::RejoinService;
use crate::{hub::services::HubServices, outbox::Limits, web::Authenticate};

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct EndpointServices {
    /// The limits of each outbox.
    pub(crate) limits: Limits,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) services: Arc<HubServices>,
    pub(crate) rejoin_service: Arc<RejoinService>,
}
