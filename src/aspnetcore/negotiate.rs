//! The response to a negotiate request.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/TransportProtocols.md`, and observed behaviour of the server.

use serde::Serialize;

use super::negotiations::{IdKind, Ticket};
use crate::{hub::Request, transport::Transport};

/// The query parameter with which a client requests rejoin tokens, and presents one on reconnect.
pub(super) const REJOIN_PARAM: &str = "rejoin";

/// Wire: the newest supported version. A client that requests a newer one gets this one.
pub(super) const NEWEST_VERSION: i32 = 1;

/// From this version on there is a secret token besides the public id. In older versions the id is also the token.
const FIRST_VERSION_WITH_TOKEN: i32 = 1;

/// The negotiate response. Wire: the members are in the order that ASP.NET Core SignalR writes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NegotiateResponse {
    negotiate_version: i32,
    connection_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_token: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_stateful_reconnect: bool,
    available_transports: Vec<AvailableTransport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AvailableTransport {
    transport: &'static str,
    transfer_formats: &'static [&'static str],
}

impl From<&Transport> for AvailableTransport {
    fn from(transport: &Transport) -> Self {
        // Wire: an event stream carries text only.
        let carries_text_only = *transport == Transport::ServerSentEvents;
        let transfer_formats: &[_] = if carries_text_only { &["Text"] } else { &["Text", "Binary"] };
        Self { transport: transport.name(), transfer_formats }
    }
}

/// Another server, or another endpoint, that a client is told to negotiate with: see
/// [`Endpoint::redirect`](super::Endpoint::redirect).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
}

impl Redirect {
    /// Redirects to the endpoint at this URL, such as `https://other.example/chat`. The client appends `/negotiate` to
    /// its path and keeps its query. If the client uses rejoin tokens, the parameter `rejoin` is added to the query.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self { url: url.into(), access_token: None }
    }

    /// Gives the client a bearer token, which it sends to the other endpoint instead of its own.
    #[must_use]
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.access_token = Some(token.into());
        self
    }

    /// Passes on the rejoin parameter of the request, unless the URL has one. Wire: the client sends the query of this
    /// URL instead of its own.
    pub(super) fn with_rejoin_value(mut self, value: Option<&str>) -> Self {
        let (_, query) = self.url.split_once('?').unwrap_or_default();
        let is_set = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(REJOIN_PARAM));
        if let Some(value) = value.filter(|_| !is_set) {
            let separator = if self.url.contains('?') { '&' } else { '?' };
            let pair = form_urlencoded::Serializer::new(String::new()).append_pair(REJOIN_PARAM, value).finish();
            self.url = format!("{}{separator}{pair}", self.url);
        }
        self
    }
}

/// A rejected negotiation. Wire: it has status 200.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct NegotiateError {
    error: String,
}

impl NegotiateError {
    /// The reason, as it is sent to the client.
    pub(super) fn text(&self) -> &str {
        &self.error
    }
}

impl NegotiateResponse {
    /// Offers the connection of a ticket in the negotiated version.
    pub(super) fn new(version: i32, ticket: &Ticket, transports: &[Transport]) -> Self {
        Self {
            negotiate_version: version,
            connection_id: ticket.id(),
            connection_token: (id_kind(version) == IdKind::Separate).then(|| ticket.token()),
            use_stateful_reconnect: ticket.can_reconnect(),
            available_transports: transports.iter().map(AvailableTransport::from).collect(),
        }
    }
}

/// What the id of a connection is in this version.
pub(super) fn id_kind(version: i32) -> IdKind {
    if version >= FIRST_VERSION_WITH_TOKEN { IdKind::Separate } else { IdKind::Token }
}

/// Whether the client asks for stateful reconnect. Wire: `true` in any case.
pub(super) fn asks_for_stateful_reconnect(request: &Request) -> bool {
    let mut values = request.query.iter().filter(|(name, _)| name.eq_ignore_ascii_case("useStatefulReconnect"));
    values.next().is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("true"))
}

/// The protocol version to use for this request.
pub(super) fn negotiate_version(request: &Request, minimum: i32) -> Result<i32, NegotiateError> {
    let mut requested = request.query.iter().filter(|(name, _)| name.eq_ignore_ascii_case("negotiateVersion"));
    let version = match (requested.next(), requested.next()) {
        (None, _) => Ok(0),
        (Some((_, text)), None) => text.trim().parse::<i32>().map_err(drop),
        (Some(_), Some(_)) => Err(()),
    };
    match version {
        Err(()) => Err(rejection("The client requested a non-integer protocol version.".into())),
        Ok(version) if version < minimum => Err(rejection(format!(
            "The client requested version '{version}', but the server does not support this version."
        ))),
        Ok(version) => Ok(version.min(NEWEST_VERSION)),
    }
}

fn rejection(error: String) -> NegotiateError {
    NegotiateError { error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        aspnetcore::negotiations::{Negotiations, Seconds},
        tokens::{KeyRing, SharedKeyRing},
    };

    fn negotiated(query: &[(&str, &str)], minimum: i32) -> Result<i32, String> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        negotiate_version(&Request { query, ..Request::default() }, minimum).map_err(|refused| refused.error)
    }

    #[test]
    fn requested_version_is_capped_at_newest() {
        for (text, expected) in
            [("0", 0), ("1", 1), ("7", 1), ("-0", 0), ("+1", 1), (" 1", 1), ("01", 1), ("2147483647", 1)]
        {
            assert_eq!(negotiated(&[("negotiateVersion", text)], 0), Ok(expected), "{text}");
        }
        assert_eq!(negotiated(&[], 0), Ok(0));
        assert_eq!(negotiated(&[("NEGOTIATEVERSION", "1")], 0), Ok(1));
        assert_eq!(negotiated(&[("negotiateVersion", "-1")], -1), Ok(-1));
    }

    #[test]
    fn non_integer_version_is_rejected() {
        for text in ["abc", "", "1.0", "0x1", "1,0", "2147483648"] {
            let error = "The client requested a non-integer protocol version.";
            assert_eq!(negotiated(&[("negotiateVersion", text)], 0), Err(error.into()), "{text}");
        }
        assert!(negotiated(&[("negotiateVersion", "1"), ("negotiateVersion", "0")], 0).is_err(), "given twice");
    }

    #[test]
    fn version_below_minimum_is_rejected() {
        let error = "The client requested version '0', but the server does not support this version.";
        assert_eq!(negotiated(&[], 1), Err(error.into()));
        assert!(negotiated(&[("negotiateVersion", "-1")], 0).is_err());
    }

    #[test]
    fn redirect_names_url_and_token_only() {
        let redirect = Redirect::to("https://other.example/chat?tenant=7");
        let json = |redirect: &Redirect| serde_json::to_string(redirect).unwrap();
        assert_eq!(json(&redirect), r#"{"url":"https://other.example/chat?tenant=7"}"#);
        let expected = r#"{"url":"https://other.example/chat?tenant=7","accessToken":"secret"}"#;
        assert_eq!(json(&redirect.access_token("secret")), expected);
    }

    #[test]
    fn redirect_passes_on_the_rejoin_parameter() {
        for (url, value, expected) in [
            ("https://a/chat", None, "https://a/chat"),
            ("https://a/chat", Some("1"), "https://a/chat?rejoin=1"),
            ("https://a/chat?b=2", Some("x y"), "https://a/chat?b=2&rejoin=x+y"),
            ("https://a/chat?Rejoin=2", Some("1"), "https://a/chat?Rejoin=2"),
        ] {
            assert_eq!(Redirect::to(url).with_rejoin_value(value), Redirect::to(expected));
        }
    }

    #[test]
    fn response_has_expected_members_only() {
        let negotiations = Negotiations::new(SharedKeyRing::new(KeyRing::ephemeral()), Duration::from_secs(15));
        let response = |version| {
            let ticket = negotiations.issue("/chat", id_kind(version), Seconds::now());
            (
                ticket.token(),
                serde_json::to_value(NegotiateResponse::new(version, &ticket, &Transport::ASPNETCORE)).unwrap(),
            )
        };
        let (token, new) = response(1);
        let names: Vec<_> = new.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["availableTransports", "connectionId", "connectionToken", "negotiateVersion"]);
        assert_eq!(new["connectionToken"], token);
        let (token, old) = response(0);
        assert_eq!((&old["connectionId"], old.get("connectionToken")), (&token.into(), None));
    }
}
