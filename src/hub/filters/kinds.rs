//! The kinds of events, and sets of them.

use std::ops::BitOr;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident $name:literal),* $(,)?) => {
        /// A kind of event that filters handle.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// The name, such as `before_invoke`: that of the method of [`HubFilter`](super::HubFilter).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A client asks for a connection.
    AuthorizeConnect "authorize_connect",
    /// Before OnConnected.
    BeforeConnect "before_connect",
    /// After OnConnected.
    AfterConnect "after_connect",
    /// Before OnReconnected.
    BeforeReconnect "before_reconnect",
    /// After OnReconnected.
    AfterReconnect "after_reconnect",
    /// Before OnDisconnected.
    BeforeDisconnect "before_disconnect",
    /// After OnDisconnected.
    AfterDisconnect "after_disconnect",
    /// Before a hub method.
    BeforeInvoke "before_invoke",
    /// After a hub method that has succeeded.
    AfterInvoke "after_invoke",
    /// After a hub method that has failed.
    IncomingError "incoming_error",
    /// Before an invocation is sent to clients.
    BeforeSend "before_send",
    /// After an invocation was sent to clients.
    AfterSend "after_send",
    /// A client rejoins its groups.
    RejoiningGroups "rejoining_groups",
}

/// A set of kinds of events: `EventKind::BeforeInvoke | EventKind::AfterInvoke`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u16);

impl Events {
    /// The set of these kinds.
    #[must_use]
    pub fn of(kinds: &[EventKind]) -> Self {
        kinds.iter().fold(Self::default(), |events, kind| events | *kind)
    }

    /// True if the set contains the kind.
    #[must_use]
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & Self::from(kind).0 != 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// True if the sets have a kind in common.
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<EventKind> for Events {
    fn from(kind: EventKind) -> Self {
        Self(1 << kind as u16)
    }
}

impl<E: Into<Events>> BitOr<E> for Events {
    type Output = Self;

    fn bitor(self, other: E) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<E: Into<Events>> BitOr<E> for EventKind {
    type Output = Events;

    fn bitor(self, other: E) -> Events {
        Events::from(self) | other
    }
}
