//! Samples 9 and 10: a map from users to connections in Azure Table Storage.
//!
//! A row of `AzureTableStore` is a pair of a user and a name in the partition of the user, so that a connection id in
//! place of a group makes it the table `connection` of the page.

use std::sync::Arc;

use hubcast::{
    Args, Caller, Clients, ConnectionId, GroupName, Hub, HubError, State, UserId,
    hub::{Connected, Disconnected, Reconnected},
    store::{
        Error, MembershipStore, Owner,
        azure::{AzureCredential, AzureTableStore},
    },
};

use crate::{
    delivery::{Delivery, chat_message},
    provider::find_user_id,
};

/// Sample 9: `ConnectionEntity`, with the user as `PartitionKey` and the connection id as `RowKey`. There, a user name that
/// no key can contain makes each connect fail. Here, keys are encoded.
///
/// The server that serves a connection reads and writes its row: the table is for one server, or for each its own.
#[derive(Clone)]
pub(crate) struct ConnectionTable(Arc<AzureTableStore>);

impl ConnectionTable {
    /// Opens the table, and creates it if it is missing. There, each connect does that.
    pub(crate) async fn open(url: &str, key: String) -> Result<Self, Error> {
        Ok(Self(Arc::new(AzureTableStore::connect(url, AzureCredential::key(key)).await?)))
    }

    /// Writes the row of a connection, unless it is there.
    async fn add(&self, user: &UserId, connection: &ConnectionId) -> Result<(), Error> {
        self.0.add(&partition(user), &row(connection)).await.map(drop)
    }

    /// Deletes the row of a connection. There, a missing row is an exception. Here, it is none.
    async fn remove(&self, user: &UserId, connection: &ConnectionId) -> Result<(), Error> {
        self.0.remove(&partition(user), &row(connection)).await.map(drop)
    }

    async fn connections_of(&self, user: &UserId) -> Result<Vec<ConnectionId>, Error> {
        let rows = self.0.groups_of(&[partition(user)]).await?;
        Ok(rows.into_iter().flatten().map(|row| row.as_str().into()).collect())
    }
}

fn partition(user: &UserId) -> Owner {
    Owner { hub: "ChatHub".into(), user: user.clone() }
}

fn row(connection: &ConnectionId) -> GroupName {
    connection.as_str().into()
}

/// The hub of sample 10.
pub(crate) fn chat_hub(table: ConnectionTable) -> Hub {
    let (connects, reconnects, disconnects) = (table.clone(), table.clone(), table.clone());
    Hub::new("ChatHub")
        .state(table)
        .on_connected(move |Connected(context)| add(connects.clone(), context.caller().clone()))
        .on_reconnected(move |Reconnected { context, .. }| add(reconnects.clone(), context.caller().clone()))
        .on_disconnected(move |Disconnected { context, .. }| remove(disconnects.clone(), context.caller().clone()))
        .method("SendChatMessage", send_chat_message)
}

/// Sample 10, `OnConnected`. There, only this method writes the name of the user in lower case, so that a user with
/// capitals is never found. Here, the provider has normalized it for all methods.
async fn add(table: ConnectionTable, caller: Caller) -> Result<(), HubError> {
    if let Some(user) = caller.user() {
        table.add(user, caller.id()).await?;
    }
    Ok(())
}

/// Sample 10, `OnDisconnected`.
async fn remove(table: ConnectionTable, caller: Caller) {
    if let Some(user) = caller.user() {
        // The next message to the user deletes a row that is left.
        let _ = table.remove(user, caller.id()).await;
    }
}

/// Sample 10, `SendChatMessage`. There, the rows of a server that was killed stay forever, and its users never count
/// as offline. Here, a row whose connection has ended is deleted, and does not count.
async fn send_chat_message(
    caller: Caller,
    clients: Clients,
    table: State<ConnectionTable>,
    Args((who, message)): Args<(String, String)>,
) -> Result<Delivery, HubError> {
    let Some(user) = find_user_id(&who) else { return Delivery::Unknown.report(&clients).await };
    let message = chat_message(&caller, &message);
    let mut sent = 0;
    for connection in table.connections_of(&user).await? {
        match clients.client(connection.clone()).send("addChatMessage", &message).await? {
            0 => table.remove(&user, &connection).await?,
            count => sent += count,
        }
    }
    Delivery::of(sent).report(&clients).await
}
