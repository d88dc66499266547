//! What a client that negotiates is told.
//!
//! Wire: `dotnet/aspnetcore` `src/SignalR/docs/specs/TransportProtocols.md`, and the original server.

use serde::Serialize;

use crate::{
    hub::Request,
    ids::{ConnectionId, ConnectionToken},
};

/// Wire: the newest version that is spoken; who asks for a newer one gets this.
const NEWEST_VERSION: i32 = 1;

/// From this version on the id is public and the token is secret; before, one is the other.
const VERSION_WITH_TOKEN: i32 = 1;

/// The answer to a negotiation. The order of the members is the original's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NegotiateResponse {
    negotiate_version: i32,
    connection_id: ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_token: Option<ConnectionToken>,
    available_transports: [Transport; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Transport {
    transport: &'static str,
    transfer_formats: [&'static str; 1],
}

/// Wire: a refusal is an answer of its own, with status 200.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct NegotiateError {
    error: String,
}

impl NegotiateResponse {
    /// Offers a fresh connection in the version agreed on.
    pub(super) fn new(version: i32) -> Self {
        Self {
            negotiate_version: version,
            connection_id: ConnectionId::random(),
            connection_token: (version >= VERSION_WITH_TOKEN).then(ConnectionToken::random),
            available_transports: [Transport { transport: "WebSockets", transfer_formats: ["Text"] }],
        }
    }

    /// What others may call the connection.
    pub(super) fn id(&self) -> &ConnectionId {
        &self.connection_id
    }

    /// What opens it.
    pub(super) fn token(&self) -> ConnectionToken {
        self.connection_token.clone().unwrap_or_else(|| self.connection_id.as_str().into())
    }
}

/// Agrees on a version.
pub(super) fn version(request: &Request, minimum: i32) -> Result<i32, NegotiateError> {
    let mut asked = request.query.iter().filter(|(name, _)| name.eq_ignore_ascii_case("negotiateVersion"));
    let version = match (asked.next(), asked.next()) {
        (None, _) => Ok(0),
        (Some((_, text)), None) => text.trim().parse::<i32>().map_err(drop),
        (Some(_), Some(_)) => Err(()),
    };
    match version {
        Err(()) => Err(refusal("The client requested a non-integer protocol version.".into())),
        Ok(version) if version < minimum => Err(refusal(format!(
            "The client requested version '{version}', but the server does not support this version."
        ))),
        Ok(version) => Ok(version.min(NEWEST_VERSION)),
    }
}

fn refusal(error: String) -> NegotiateError {
    NegotiateError { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(query: &[(&str, &str)], minimum: i32) -> Result<i32, String> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        version(&Request { query, ..Request::default() }, minimum).map_err(|refusal| refusal.error)
    }

    #[test]
    fn versions_are_agreed_on_as_the_original_does() {
        for (text, agreed_on) in
            [("0", 0), ("1", 1), ("7", 1), ("-0", 0), ("+1", 1), (" 1", 1), ("01", 1), ("2147483647", 1)]
        {
            assert_eq!(agreed(&[("negotiateVersion", text)], 0), Ok(agreed_on), "{text}");
        }
        assert_eq!(agreed(&[], 0), Ok(0));
        assert_eq!(agreed(&[("NEGOTIATEVERSION", "1")], 0), Ok(1));
        assert_eq!(agreed(&[("negotiateVersion", "-1")], -1), Ok(-1));
    }

    #[test]
    fn versions_that_are_none_are_refused() {
        for text in ["abc", "", "1.0", "0x1", "1,0", "2147483648"] {
            let told = "The client requested a non-integer protocol version.";
            assert_eq!(agreed(&[("negotiateVersion", text)], 0), Err(told.into()), "{text}");
        }
        assert!(agreed(&[("negotiateVersion", "1"), ("negotiateVersion", "0")], 0).is_err(), "given twice");
    }

    #[test]
    fn versions_below_the_minimum_are_refused() {
        let told = "The client requested version '0', but the server does not support this version.";
        assert_eq!(agreed(&[], 1), Err(told.into()));
        assert!(agreed(&[("negotiateVersion", "-1")], 0).is_err());
    }

    #[test]
    fn the_answer_has_the_members_of_the_original_and_no_other() {
        let answer = serde_json::to_value(NegotiateResponse::new(1)).unwrap();
        let names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["availableTransports", "connectionId", "connectionToken", "negotiateVersion"]);
        let old = NegotiateResponse::new(0);
        assert_eq!(old.token(), old.id().as_str().into(), "version 0 has one name for both");
    }
}
