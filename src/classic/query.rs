//! What a request says, read the way the original reads it.
//!
//! Wire: the operation is found at the end of the path, names are found without case, and a name that is
//! given twice has both values, joined by a comma.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;

use crate::{
    hub::{Hub, Request},
    ids::HubName,
    web::value_of,
};

/// The transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSockets,
    ServerSentEvents,
    ForeverFrame,
    LongPolling,
}

impl Transport {
    const ALL: [Self; 4] = [Self::WebSockets, Self::ServerSentEvents, Self::ForeverFrame, Self::LongPolling];

    /// Its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSockets => "webSockets",
            Self::ServerSentEvents => "serverSentEvents",
            Self::ForeverFrame => "foreverFrame",
            Self::LongPolling => "longPolling",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(name))
    }
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// The script of the proxies, which are served at this path.
    Proxies(String),
    /// A connection; the path is where.
    Negotiate(String),
    Ping,
    Start,
    Send,
    Abort,
    /// A channel.
    Receive(ConnectKind),
}

/// How a client asks for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectKind {
    /// It begins.
    Connect,
    /// It goes on after a break.
    Reconnect,
    /// It goes on: the next poll. On transports that have no polls it counts as a reconnection.
    Other,
}

impl Operation {
    /// Reads the end of a path; whatever stands before it does not matter.
    pub(super) fn of(path: &str) -> Self {
        let trimmed = path.trim_end_matches('/');
        if let Some(url) = without_suffix(trimmed, "/hubs").or_else(|| without_suffix(trimmed, "/js")) {
            return Self::Proxies(url.to_owned());
        }
        let (_, last) = path.rsplit_once('/').unwrap_or_default();
        match &*last.to_ascii_lowercase() {
            "negotiate" => Self::Negotiate(path.replace("/negotiate", "")),
            "ping" => Self::Ping,
            "start" => Self::Start,
            "send" => Self::Send,
            "abort" => Self::Abort,
            "connect" => Self::Receive(ConnectKind::Connect),
            "reconnect" => Self::Receive(ConnectKind::Reconnect),
            _ => Self::Receive(ConnectKind::Other),
        }
    }
}

fn without_suffix<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = path.split_at_checked(path.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

/// What a request's query has under a name.
pub(super) fn query(request: &Request, name: &str) -> Option<String> {
    value_of(&request.query, name)
}

/// Why a client's list of hubs is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHubs {
    #[error("connectionData is not a list of hubs.")]
    Unreadable,
    #[error("'{0}' Hub could not be resolved.")]
    Unknown(String),
    #[error("Duplicate Hub names found.")]
    Twice,
    #[error("connectionData names more than {MOST_HUBS} hubs.")]
    TooMany,
}

/// How many hubs one connection may listen to.
const MOST_HUBS: usize = 100;

/// The hubs that a client wants to hear, of those that are served.
pub(super) fn hubs_of(data: Option<&str>, served: &[Arc<Hub>]) -> Result<Vec<Arc<Hub>>, BadHubs> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(alias = "Name")]
        name: String,
    }
    let Some(data) = data.filter(|data| !data.trim().is_empty()) else { return Ok(Vec::new()) };
    let named: Option<Vec<Named>> = serde_json::from_str(data).map_err(|_| BadHubs::Unreadable)?;
    let named = named.unwrap_or_default();
    if named.len() > MOST_HUBS {
        return Err(BadHubs::TooMany);
    }
    let mut hubs: Vec<Arc<Hub>> = Vec::new();
    for Named { name } in named {
        let hub = find_hub(served, &name).ok_or(BadHubs::Unknown(name))?;
        if hubs.iter().any(|earlier| earlier.name() == hub.name()) {
            return Err(BadHubs::Twice);
        }
        hubs.push(Arc::clone(hub));
    }
    Ok(hubs)
}

/// Wire: clients spell the names of hubs as they like.
pub(super) fn find_hub<'a>(served: &'a [Arc<Hub>], name: &str) -> Option<&'a Arc<Hub>> {
    served.iter().find(|hub| hub.name().to_lowercase() == name.to_lowercase())
}

/// The hubs that can be called at one endpoint, for whoever has many calls to judge.
#[derive(Debug)]
pub(crate) struct EndpointHubs(HashMap<String, HubName>);

impl EndpointHubs {
    pub(super) fn new<'a>(hubs: impl IntoIterator<Item = &'a HubName>) -> Self {
        Self(hubs.into_iter().map(|name| (name.to_lowercase(), name.clone())).collect())
    }

    /// A hub as it is registered, if it can be called. Wire: as in [`find_hub`].
    pub(super) fn find(&self, name: &str) -> Option<&HubName> {
        self.0.get(&name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_the_end_of_a_path() {
        let receive = |arrival| Operation::Receive(arrival);
        for (path, operation) in [
            ("/signalr/connect", receive(ConnectKind::Connect)),
            ("/signalr/js/CONNECT", receive(ConnectKind::Connect)),
            ("/signalr//connect", receive(ConnectKind::Connect)),
            ("/signalr/reconnect", receive(ConnectKind::Reconnect)),
            ("/signalr/poll", receive(ConnectKind::Other)),
            ("/signalr/xconnect", receive(ConnectKind::Other)),
            ("/signalr/connect/", receive(ConnectKind::Other)),
            ("/signalr", receive(ConnectKind::Other)),
            ("/signalr/x.ping", receive(ConnectKind::Other)),
            ("/signalr/Ping", Operation::Ping),
            ("/signalr/hubs/", Operation::Proxies("/signalr".into())),
            ("/signalr/JS", Operation::Proxies("/signalr".into())),
            ("/signalr/hubs/js", Operation::Proxies("/signalr/hubs".into())),
            ("/signalr/xhubs", receive(ConnectKind::Other)),
            ("/signalr//negotiate", Operation::Negotiate("/signalr/".into())),
            ("/signalr/Negotiate", Operation::Negotiate("/signalr/Negotiate".into())),
        ] {
            assert_eq!(Operation::of(path), operation, "{path}");
        }
    }

    #[test]
    fn a_list_of_hubs_is_taken_in_any_case_and_refused_as_a_whole() {
        let served = [Arc::new(Hub::new("chat")), Arc::new(Hub::new("other"))];
        let names = |data| hubs_of(data, &served).map(|hubs| hubs.iter().map(|hub| hub.name().to_string()).collect());
        assert_eq!(names(None), Ok(Vec::new()));
        for none in ["[]", "null", "", " "] {
            assert_eq!(names(Some(none)), Ok(Vec::new()), "{none:?}");
        }
        assert_eq!(names(Some(r#"[{"name":"OTHER"},{"Name":"chat","x":1}]"#)), Ok(vec!["other".into(), "chat".into()]));
        assert_eq!(names(Some(r#"[{"name":"chat"},{"name":"nope"}]"#)), Err(BadHubs::Unknown("nope".into())));
        assert_eq!(names(Some(r#"[{"name":"chat"},{"name":"CHAT"}]"#)), Err(BadHubs::Twice));
        for data in ["zzz", "{}", r#"["chat"]"#, r#"[{"name":"chat"}"#] {
            assert_eq!(names(Some(data)), Err(BadHubs::Unreadable), "{data}");
        }
    }
}
