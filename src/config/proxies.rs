//! Settings for reverse proxies.

use serde::Deserialize;

use super::units;
use crate::web::{ForwardingHeaders, Network, TrustedProxies};

/// The reverse proxies in front of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxies {
    /// The addresses of the proxies, as addresses (`10.0.0.1`) or ranges (`10.0.0.0/8`). The service believes what they
    /// state about a client: its address, scheme, host and path prefix. Default none, because any client could
    /// otherwise state any address.
    #[serde(deserialize_with = "units::list")]
    pub trusted: Vec<Network>,
    /// The headers in which the proxies state the client's address, scheme and host: `x-forwarded`, `forwarded`, or
    /// `either` (default), which prefers `X-Forwarded-For`.
    #[serde(deserialize_with = "units::keyword")]
    pub headers: ForwardingHeaders,
}

impl Proxies {
    /// A PROXY protocol setting (key and value) has no effect without trusted proxies.
    pub(super) fn contradictions(&self, settings: &[(&'static str, bool)]) -> Vec<(Vec<&'static str>, String)> {
        let without_effect = settings.iter().filter(|(_, is_set)| *is_set && self.trusted.is_empty());
        let text = "is believed of trusted proxies only; list the addresses of the proxies in `proxies.trusted`";
        without_effect.map(|(key, _)| (vec![*key, "proxies.trusted"], text.to_owned())).collect()
    }

    /// Converts to the middleware.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted.iter().copied()).headers(self.headers)
    }
}
