//! Parsing of requests, by the rules of ASP.NET SignalR.
//!
//! Wire: the last segment of the path is the operation. Parameter names are compared without case. A parameter that
//! occurs twice has both values, joined by a comma.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;

use crate::{
    hub::{Hub, Request},
    ids::HubName,
    web::query_value,
};

/// The operation that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Get the script of the hub proxies of the endpoint at this path, as the server has received it.
    Proxies(String),
    /// Negotiate a connection at this path, as the server has received it.
    Negotiate(String),
    Ping,
    Start,
    Send,
    Abort,
    /// Open a channel.
    OpenChannel(ConnectKind),
}

/// The kind of request that opens a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectKind {
    /// `/connect`: a new connection.
    Connect,
    /// `/reconnect`: a connection whose channel was lost.
    Reconnect,
    /// `/poll` or any other path: the next poll. On all other transports it counts as a reconnect.
    Other,
}

impl Operation {
    /// Determines the operation by the end of the path, and ignores the rest of it.
    pub(super) fn from_path(path: &str) -> Self {
        let trimmed = path.trim_end_matches('/');
        if let Some(url) =
            strip_suffix_ignore_case(trimmed, "/hubs").or_else(|| strip_suffix_ignore_case(trimmed, "/js"))
        {
            return Self::Proxies(url.to_owned());
        }
        let (_, last) = path.rsplit_once('/').unwrap_or_default();
        match &*last.to_ascii_lowercase() {
            "negotiate" => Self::Negotiate(path.replace("/negotiate", "")),
            "ping" => Self::Ping,
            "start" => Self::Start,
            "send" => Self::Send,
            "abort" => Self::Abort,
            "connect" => Self::OpenChannel(ConnectKind::Connect),
            "reconnect" => Self::OpenChannel(ConnectKind::Reconnect),
            _ => Self::OpenChannel(ConnectKind::Other),
        }
    }
}

fn strip_suffix_ignore_case<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = path.split_at_checked(path.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

/// The value of a parameter in the query of a request.
pub(super) fn query_parameter(request: &Request, name: &str) -> Option<String> {
    query_value(&request.query, name)
}

/// The reason why a client's list of hubs is rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectionDataError {
    #[error("connectionData is not a list of hubs.")]
    Malformed,
    #[error("'{0}' Hub could not be resolved.")]
    Unknown(String),
    #[error("Duplicate Hub names found.")]
    Duplicate,
    #[error("connectionData names more than {MAX_HUBS} hubs.")]
    TooMany,
}

/// The number of hubs that one channel may receive from.
const MAX_HUBS: usize = 100;

/// Parses `connectionData`: the hubs that a client wants to receive from. Each must be one of `served`.
pub(super) fn parse_connection_data(
    data: Option<&str>,
    served: &[Arc<Hub>],
) -> Result<Vec<Arc<Hub>>, ConnectionDataError> {
    #[derive(Deserialize)]
    struct HubEntry {
        #[serde(alias = "Name")]
        name: String,
    }
    let Some(data) = data.filter(|data| !data.trim().is_empty()) else { return Ok(Vec::new()) };
    let entries: Option<Vec<HubEntry>> = serde_json::from_str(data).map_err(|_| ConnectionDataError::Malformed)?;
    let entries = entries.unwrap_or_default();
    if entries.len() > MAX_HUBS {
        return Err(ConnectionDataError::TooMany);
    }
    let mut hubs: Vec<Arc<Hub>> = Vec::new();
    for HubEntry { name } in entries {
        let hub = find_hub(served, &name).ok_or(ConnectionDataError::Unknown(name))?;
        if hubs.iter().any(|earlier| earlier.name() == hub.name()) {
            return Err(ConnectionDataError::Duplicate);
        }
        hubs.push(Arc::clone(hub));
    }
    Ok(hubs)
}

/// Finds a hub by name. Wire: names of hubs are compared without case.
pub(super) fn find_hub<'a>(served: &'a [Arc<Hub>], name: &str) -> Option<&'a Arc<Hub>> {
    served.iter().find(|hub| hub.name().to_lowercase() == name.to_lowercase())
}

/// The hubs that clients can call at one endpoint, by lower-case name. Lookups are cheap enough for every call.
#[derive(Debug)]
pub(crate) struct EndpointHubs(HashMap<String, HubName>);

impl EndpointHubs {
    pub(super) fn new<'a>(hubs: impl IntoIterator<Item = &'a HubName>) -> Self {
        Self(hubs.into_iter().map(|name| (name.to_lowercase(), name.clone())).collect())
    }

    /// The registered name of a hub, if clients can call it here. Wire: names are compared as in [`find_hub`].
    pub(super) fn find(&self, name: &str) -> Option<&HubName> {
        self.0.get(&name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_is_the_end_of_a_path() {
        let open_channel = |connect_kind| Operation::OpenChannel(connect_kind);
        for (path, operation) in [
            ("/signalr/connect", open_channel(ConnectKind::Connect)),
            ("/signalr/js/CONNECT", open_channel(ConnectKind::Connect)),
            ("/signalr//connect", open_channel(ConnectKind::Connect)),
            ("/signalr/reconnect", open_channel(ConnectKind::Reconnect)),
            ("/signalr/poll", open_channel(ConnectKind::Other)),
            ("/signalr/xconnect", open_channel(ConnectKind::Other)),
            ("/signalr/connect/", open_channel(ConnectKind::Other)),
            ("/signalr", open_channel(ConnectKind::Other)),
            ("/signalr/x.ping", open_channel(ConnectKind::Other)),
            ("/signalr/Ping", Operation::Ping),
            ("/signalr/hubs/", Operation::Proxies("/signalr".into())),
            ("/signalr/JS", Operation::Proxies("/signalr".into())),
            ("/signalr/hubs/js", Operation::Proxies("/signalr/hubs".into())),
            ("/signalr/xhubs", open_channel(ConnectKind::Other)),
            ("/signalr//negotiate", Operation::Negotiate("/signalr/".into())),
            ("/signalr/Negotiate", Operation::Negotiate("/signalr/Negotiate".into())),
        ] {
            assert_eq!(Operation::from_path(path), operation, "{path}");
        }
    }

    #[test]
    fn one_bad_hub_fails_the_whole_list() {
        let served = [Arc::new(Hub::new("chat")), Arc::new(Hub::new("other"))];
        let names = |data| {
            parse_connection_data(data, &served).map(|hubs| hubs.iter().map(|hub| hub.name().to_string()).collect())
        };
        assert_eq!(names(None), Ok(Vec::new()));
        for none in ["[]", "null", "", " "] {
            assert_eq!(names(Some(none)), Ok(Vec::new()), "{none:?}");
        }
        assert_eq!(names(Some(r#"[{"name":"OTHER"},{"Name":"chat","x":1}]"#)), Ok(vec!["other".into(), "chat".into()]));
        assert_eq!(
            names(Some(r#"[{"name":"chat"},{"name":"nope"}]"#)),
            Err(ConnectionDataError::Unknown("nope".into()))
        );
        assert_eq!(names(Some(r#"[{"name":"chat"},{"name":"CHAT"}]"#)), Err(ConnectionDataError::Duplicate));
        for data in ["zzz", "{}", r#"["chat"]"#, r#"[{"name":"chat"}"#] {
            assert_eq!(names(Some(data)), Err(ConnectionDataError::Malformed), "{data}");
        }
    }
}
