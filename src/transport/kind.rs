//! The transports and their names on the wire.

/// A transport: how messages travel between a client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket carries the messages of both directions.
    WebSockets,
    /// An event stream carries the messages to the client, and requests carry those to the server.
    ServerSentEvents,
    /// A page in a hidden frame carries the messages to the client. Only SignalR 2.x has it, for old browsers.
    ForeverFrame,
    /// The response to each request carries the messages that wait for the client, and other requests carry those to
    /// the server.
    LongPolling,
}

impl Transport {
    /// The transports of ASP.NET Core SignalR. Wire: clients try them in the order of the negotiation.
    pub(crate) const ASPNETCORE: [Self; 3] = [Self::WebSockets, Self::ServerSentEvents, Self::LongPolling];

    const ALL: [Self; 4] = [Self::WebSockets, Self::ServerSentEvents, Self::ForeverFrame, Self::LongPolling];

    /// Wire: the name in ASP.NET Core SignalR.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSockets => "WebSockets",
            Self::ServerSentEvents => "ServerSentEvents",
            Self::ForeverFrame => "ForeverFrame",
            Self::LongPolling => "LongPolling",
        }
    }

    /// Wire: the name in SignalR 2.x.
    pub(crate) fn classic_name(self) -> &'static str {
        match self {
            Self::WebSockets => "webSockets",
            Self::ServerSentEvents => "serverSentEvents",
            Self::ForeverFrame => "foreverFrame",
            Self::LongPolling => "longPolling",
        }
    }

    /// The transport that a SignalR 2.x client names. Wire: names are compared without case.
    pub(crate) fn from_classic_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.classic_name().eq_ignore_ascii_case(name))
    }

    /// True if the channel ends with its first messages.
    pub(crate) fn is_poll(self) -> bool {
        self == Self::LongPolling
    }
}
