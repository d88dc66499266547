//! Trusted proxies: whose statements about the client of a request are believed.
//!
//! [`TrustedProxies`] is a middleware. It replaces the peer address and the `Host` of a request by what trusted proxies
//! state, and removes the headers with the statements. Everything behind it therefore sees the client, and nothing
//! behind it can believe a header that an untrusted peer has sent. `statements` contains the pure rules.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use futures_util::future::{Ready, ready};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use self::statements::Statements;
use super::base_path::RemovedPrefix;

mod statements;

/// A network such as `10.0.0.0/8` or `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network; write an address such as `10.0.0.1` or `::1`, or a range such as `10.0.0.0/8`")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| InvalidNetwork(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The headers in which trusted proxies state the client's address, scheme and host. `X-Forwarded-Prefix` has no
/// standard counterpart and is believed with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardingHeaders {
    /// `X-Forwarded-*` if there is an `X-Forwarded-For`, otherwise `Forwarded`. For proxies that always set
    /// `X-Forwarded-For`, or remove it.
    #[default]
    Either,
    /// Only `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// Only `Forwarded` (RFC 7239). For proxies that set it and forward the client's `X-Forwarded-For` unchanged.
    Forwarded,
}

/// Middleware that believes the statements of trusted proxies about their clients, and of no other peer. Wrap the
/// application with it last, so that it runs before any other middleware. The default trusts no proxy.
///
/// For a trusted peer, the peer address of the request becomes the client's address: the last one in the header that is
/// not itself a trusted proxy. Its port is 0 unless the proxy states it. `Host` becomes the host that the client used.
/// The request keeps an `X-Forwarded-Proto` with the scheme that the client used, which
/// [`ConnectionInfo`](actix_web::dev::ConnectionInfo) reads. All other forwarding headers are removed, and those of
/// other peers all.
///
/// ```
/// use actix_web::App;
/// use hubcast::web::TrustedProxies;
///
/// # fn main() -> Result<(), hubcast::web::InvalidNetwork> {
/// let proxies = TrustedProxies::new(["10.0.0.0/8".parse()?, "::1".parse()?]);
/// let app = App::new().wrap(proxies);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Arc<[Network]>,
    headers: ForwardingHeaders,
}

impl TrustedProxies {
    /// Trusts the peers in these networks.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self { networks: networks.into_iter().collect(), headers: ForwardingHeaders::default() }
    }

    /// Sets the headers in which the proxies state the client's address.
    #[must_use]
    pub fn headers(mut self, headers: ForwardingHeaders) -> Self {
        self.headers = headers;
        self
    }

    /// True if the peer with this address is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        // A listener for both IP versions reports IPv4 peers as IPv6 addresses.
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.0.contains(&address))
    }

    fn apply(&self, request: &mut ServiceRequest) {
        let statements = request.peer_addr().filter(|peer| self.trusts(peer.ip()));
        let statements = statements.map(|peer| Statements::read(request.headers(), peer, self)).unwrap_or_default();
        if has_forwarding_headers(request.headers()) {
            request.extensions_mut().insert(Forwarded { knows_client: statements.client.is_some() });
        }
        let head = request.head_mut();
        for name in &FORWARDING_HEADERS {
            head.headers.remove(name);
        }
        if let Some(client) = statements.client {
            head.peer_addr = Some(client);
        }
        if let Some(scheme) = statements.scheme {
            head.headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        }
        if let Some(host) = statements.host {
            head.headers.insert(header::HOST, host);
        }
        if let Some(prefix) = statements.prefix {
            request.extensions_mut().insert(RemovedPrefix(prefix));
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

const FORWARDING_HEADERS: [HeaderName; 5] =
    [header::FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PREFIX];

/// Headers by which a request shows that a proxy has forwarded it, besides [`FORWARDING_HEADERS`].
const OTHER_PROXY_HEADERS: [&str; 3] = ["via", "x-forwarded-port", "x-real-ip"];

/// Marks a request of a proxy, because [`TrustedProxies`] removes the headers.
struct Forwarded {
    /// True if a trusted proxy has stated the client, which is then the peer of the request.
    knows_client: bool,
}

fn has_forwarding_headers(headers: &HeaderMap) -> bool {
    FORWARDING_HEADERS.iter().any(|name| headers.contains_key(name))
        || OTHER_PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// True if the headers of the request show that a proxy has forwarded it, and no trusted proxy has stated for whom.
pub(super) fn hides_client(request: &HttpRequest) -> bool {
    match request.extensions().get::<Forwarded>() {
        Some(Forwarded { knows_client }) => !knows_client,
        None => has_forwarding_headers(request.headers()),
    }
}

impl<S, B> Transform<S, ServiceRequest> for TrustedProxies
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = TrustedProxiesService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(TrustedProxiesService { service, proxies: self.clone() }))
    }
}

/// A service wrapped in [`TrustedProxies`].
#[derive(Debug)]
pub struct TrustedProxiesService<S> {
    service: S,
    proxies: TrustedProxies,
}

impl<S, B> Service<ServiceRequest> for TrustedProxiesService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = S::Future;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        self.proxies.apply(&mut request);
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests;
