//! The request that started a connection, and the identity of its client.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use crate::ids::{UserId, truncated};

/// The identity of a client, as determined by the application's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, if the client has one.
    pub user: Option<UserId>,
    /// True if the credentials were verified. A name that the client merely states is not verified.
    pub is_authenticated: bool,
    /// Further claims, by name.
    pub claims: BTreeMap<String, String>,
    /// When the credentials expire.
    pub expires: Option<SystemTime>,
}

impl Identity {
    /// A client that states a name without proving it.
    #[must_use]
    pub fn named(user: Option<UserId>) -> Self {
        Self { user, ..Self::default() }
    }

    /// A client whose name was verified.
    #[must_use]
    pub fn authenticated(user: UserId) -> Self {
        Self { user: Some(user), is_authenticated: true, ..Self::default() }
    }
}

/// The HTTP request that started a connection or its current channel. Query and headers have at most 32 KiB together.
/// Credentials and the tokens of the protocol are left out.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The query parameters, decoded, in their original order.
    pub query: Vec<(String, String)>,
    /// The headers, with lowercase names.
    pub headers: Vec<(String, String)>,
    /// The address of the client. Behind a proxy it is the proxy's, unless the application is wrapped in
    /// [`TrustedProxies`](crate::web::TrustedProxies); the port is then 0 if the proxy does not state it.
    pub remote: Option<SocketAddr>,
}

impl Request {
    /// The first query parameter with that name, compared case-insensitively.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// What a connection keeps of the request. The rest is of use for the endpoint only.
    pub(crate) fn into_kept(mut self) -> Self {
        self.query.retain(|(name, _)| !NOT_KEPT.iter().any(|other| name.eq_ignore_ascii_case(other)));
        self.headers.retain(|(name, _)| !NOT_KEPT.iter().any(|other| name.eq_ignore_ascii_case(other)));
        self.query.shrink_to_fit();
        self.headers.shrink_to_fit();
        self
    }

    /// The beginning of the client's user agent. Wire: browsers cannot set `User-Agent`, so the official client sends
    /// `X-SignalR-User-Agent` too.
    pub(crate) fn user_agent(&self) -> &str {
        let named = self.header("x-signalr-user-agent").or_else(|| self.header("user-agent"));
        truncated(named.unwrap_or_default(), MAX_USER_AGENT_BYTES)
    }

    /// The address of the client, without its port.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.remote.map(|remote| remote.ip())
    }

    /// The first header with that name, compared case-insensitively.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// The maximum length of a user agent in bytes. Connections and the rows of the store keep it, for operators.
const MAX_USER_AGENT_BYTES: usize = 256;

/// Credentials, tokens and calls in the query, the header with credentials, and headers that concern the HTTP connection
/// only.
const NOT_KEPT: [&str; 13] = [
    "id",
    "access_token",
    "rejoin",
    "connectionToken",
    "groupsToken",
    "messageId",
    "data",
    "authorization",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn connection_keeps_no_credentials_or_tokens() {
        let query =
            pairs(&[("user", "ann"), ("Access_Token", "x"), ("connectionToken", "x"), ("transport", "webSockets")]);
        let headers = pairs(&[("authorization", "Bearer x"), ("Upgrade", "websocket"), ("cookie", "theme=dark")]);
        let kept = Request { query, headers, remote: None }.into_kept();
        assert_eq!(kept.query, pairs(&[("user", "ann"), ("transport", "webSockets")]));
        assert_eq!(kept.headers, pairs(&[("cookie", "theme=dark")]));
    }

    #[test]
    fn user_agent_is_cut_at_256_bytes() {
        let agent = |headers: &[(&str, &str)]| {
            Request { headers: pairs(headers), ..Request::default() }.user_agent().to_owned()
        };
        let long = "ä".repeat(200);
        assert_eq!(agent(&[("user-agent", &long)]), "ä".repeat(128));
        assert_eq!(agent(&[("user-agent", "browser"), ("x-signalr-user-agent", "client")]), "client");
        assert_eq!(agent(&[]), "");
    }
}
