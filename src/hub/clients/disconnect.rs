//! Disconnecting clients of a hub.

use super::Target;
use crate::{connections::Reconnect, groups, router::Recipients};

impl Target {
    /// Ends the connections of these clients and returns the number of clients that were told. They receive messages
    /// that were sent to them before. Connections that begin meanwhile, or join a group meanwhile, are not ended. A
    /// connection of several hubs (SignalR 2.x) ends for all of them. Actors that are members of a group stay.
    ///
    /// The change is logged with the target `hubcast::audit`.
    ///
    /// # Errors
    /// [`groups::Error::Interrupted`], if the actor of a group crashes meanwhile. No connection was ended.
    pub async fn disconnect(self, reconnect: Reconnect) -> Result<usize, groups::Error> {
        let Self { clients, destination, .. } = self;
        let disconnected = clients.router.disconnect(&clients.hub, &destination, reconnect).await;
        let (name, subject) = destination.recipients.subject();
        let subject = [("hub", &*clients.hub), (name, &*subject)];
        clients.requester.audit_disconnect(&subject, reconnect, &disconnected);
        disconnected
    }
}

impl Recipients {
    /// The recipients as a field of the audit log.
    fn subject(&self) -> (&'static str, String) {
        match self {
            Self::All => ("recipients", "all".into()),
            Self::Connections(ids) => ("conn", join(ids.iter().map(|id| &**id))),
            Self::Groups(names) => ("group", join(names.iter().map(|name| &**name))),
            Self::Users(users) => ("user", join(users.iter().map(|user| &**user))),
        }
    }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(",")
}
