//! Disconnecting clients of a hub.

use std::sync::Arc;

use super::{Clients, Recipients, Target};
use crate::{
    connections::{ConnectionHandle, Reconnect, disconnect_all},
    groups,
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName},
};

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
        let Self { clients, recipients } = self;
        let disconnected = match clients.handles(&recipients).await {
            Ok(handles) => Ok(disconnect_all(&handles, reconnect).await),
            Err(error) => Err(error),
        };
        let (name, subject) = recipients.subject(&clients);
        let subject = [("hub", &*clients.hub), (name, &*subject)];
        clients.requester.audit_disconnect(&subject, reconnect, &disconnected);
        disconnected
    }
}

impl Clients {
    /// The live connections of these recipients, each once.
    async fn handles(&self, recipients: &Recipients) -> Result<Vec<Arc<ConnectionHandle>>, groups::Error> {
        let mut handles = match recipients {
            Recipients::All { except } => {
                let mut handles = self.all_on_hub();
                handles.retain(|handle| !except.contains(&handle.id));
                handles
            }
            Recipients::Caller => self.find_all(self.requester.caller().map(|caller| &caller.id)),
            Recipients::Connections(ids) => self.find_all(ids),
            Recipients::Group { name, except } => self.members(std::slice::from_ref(name), except).await?,
            Recipients::Groups(names) => self.members(names, &ConnectionSet::default()).await?,
            Recipients::Users(users) => {
                users.iter().flat_map(|user| self.services.connections.of_user(&self.hub, user)).collect()
            }
        };
        handles.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        handles.dedup_by(|one, other| one.id == other.id);
        Ok(handles)
    }

    fn all_on_hub(&self) -> Vec<Arc<ConnectionHandle>> {
        let mut handles = Vec::new();
        self.services.connections.for_each_on(&self.hub, |handle| handles.push(Arc::clone(handle)));
        handles
    }

    fn find_all<'a>(&self, ids: impl IntoIterator<Item = &'a ConnectionId>) -> Vec<Arc<ConnectionHandle>> {
        let handles = ids.into_iter().filter_map(|id| self.services.connections.find(id));
        handles.filter(|handle| handle.listens_to(&self.hub)).collect()
    }

    async fn members(
        &self,
        groups: &[GroupName],
        except: &ConnectionSet,
    ) -> Result<Vec<Arc<ConnectionHandle>>, groups::Error> {
        let mut handles = Vec::new();
        for name in groups {
            let snapshot = self.services.groups.inspect(&GroupKey::new(&self.hub, name)).await?.unwrap_or_default();
            handles.extend(self.find_all(snapshot.members.iter().filter(|id| !except.contains(id))));
        }
        Ok(handles)
    }
}

impl Recipients {
    /// The recipients as a field of the audit log.
    fn subject(&self, clients: &Clients) -> (&'static str, String) {
        match self {
            Self::All { .. } => ("recipients", "all".into()),
            Self::Caller => ("conn", join(clients.requester.caller().map(|caller| &*caller.id))),
            Self::Connections(ids) => ("conn", join(ids.iter().map(|id| &**id))),
            Self::Group { name, .. } => ("group", name.to_string()),
            Self::Groups(names) => ("group", join(names.iter().map(|name| &**name))),
            Self::Users(users) => ("user", join(users.iter().map(|user| &**user))),
        }
    }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(",")
}
