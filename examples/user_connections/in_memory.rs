//! Samples 4 and 5: a map from users to connections in memory, which an actor owns.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use actix::prelude::*;
use hubcast::{
    Args, Caller, Clients, ConnectionId, Hub, HubError, State, UserId,
    hub::{Connected, Disconnected, Reconnected},
};

use crate::{
    delivery::{Delivery, chat_message},
    provider::find_user_id,
};

/// Sample 4: `ConnectionMapping<T>`.
///
/// There, `GetConnections` returns the set itself, which throws if another thread changes it during an iteration, and
/// `Count` reads the dictionary without its lock. Here, an actor handles one message after another and answers with a
/// copy.
pub(crate) struct ConnectionMapping<T>(HashMap<T, HashSet<ConnectionId>>);

impl<T: Unpin + 'static> Actor for ConnectionMapping<T> {
    type Context = Context<Self>;
}

/// Adds a connection to those of a key.
#[derive(Message)]
#[rtype(result = "()")]
struct Add<T>(T, ConnectionId);

/// Removes a connection, and the key with its last one.
#[derive(Message)]
#[rtype(result = "()")]
struct Remove<T>(T, ConnectionId);

/// Asks for the connections of a key.
#[derive(Message)]
#[rtype(result = "Vec<ConnectionId>")]
struct GetConnections<T>(T);

/// Asks for the number of keys.
#[derive(Message)]
#[rtype(result = "usize")]
struct Count;

impl<T: Eq + Hash + Unpin + 'static> Handler<Add<T>> for ConnectionMapping<T> {
    type Result = ();

    fn handle(&mut self, Add(key, connection): Add<T>, _: &mut Self::Context) {
        self.0.entry(key).or_default().insert(connection);
    }
}

impl<T: Eq + Hash + Unpin + 'static> Handler<Remove<T>> for ConnectionMapping<T> {
    type Result = ();

    fn handle(&mut self, Remove(key, connection): Remove<T>, _: &mut Self::Context) {
        let Some(connections) = self.0.get_mut(&key) else { return };
        connections.remove(&connection);
        if connections.is_empty() {
            self.0.remove(&key);
        }
    }
}

impl<T: Eq + Hash + Unpin + 'static> Handler<GetConnections<T>> for ConnectionMapping<T> {
    type Result = Vec<ConnectionId>;

    fn handle(&mut self, GetConnections(key): GetConnections<T>, _: &mut Self::Context) -> Self::Result {
        self.0.get(&key).into_iter().flatten().cloned().collect()
    }
}

impl<T: Unpin + 'static> Handler<Count> for ConnectionMapping<T> {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> usize {
        self.0.len()
    }
}

type Mapping = Addr<ConnectionMapping<UserId>>;

/// Sample 5: the hub. There, a static map. Here, the hub and its methods share the address of the actor.
pub(crate) fn chat_hub() -> Hub {
    let mapping = ConnectionMapping::<UserId>(HashMap::new()).start();
    let (connects, reconnects, disconnects) = (mapping.clone(), mapping.clone(), mapping.clone());
    Hub::new("ChatHub")
        .state(mapping)
        .on_connected(move |Connected(context)| add(connects.clone(), context.caller().clone()))
        .on_reconnected(move |Reconnected { context, .. }| add(reconnects.clone(), context.caller().clone()))
        .on_disconnected(move |Disconnected { context, .. }| remove(disconnects.clone(), context.caller().clone()))
        .method("SendChatMessage", send_chat_message)
        .method("Count", count)
}

/// Sample 5, `OnConnected` and `OnReconnected`. A classic client that reconnects after a restart of the server keeps its
/// connection id, and `OnConnected` does not run for it again.
async fn add(mapping: Mapping, caller: Caller) -> Result<(), HubError> {
    if let Some(user) = caller.user() {
        mapping.send(Add(user.clone(), caller.id().clone())).await?;
    }
    Ok(())
}

/// Sample 5, `OnDisconnected`.
async fn remove(mapping: Mapping, caller: Caller) {
    if let Some(user) = caller.user() {
        // The actor ends with the process, and the mapping with it.
        let _ = mapping.send(Remove(user.clone(), caller.id().clone())).await;
    }
}

/// Sample 5, `SendChatMessage`. There, nothing tells the caller that the user has no connection. Here, the result does.
async fn send_chat_message(
    caller: Caller,
    clients: Clients,
    mapping: State<Mapping>,
    Args((who, message)): Args<(String, String)>,
) -> Result<Delivery, HubError> {
    let Some(user) = find_user_id(&who) else { return Ok(Delivery::Unknown) };
    let connections = mapping.send(GetConnections(user)).await?;
    let sent = clients.clients(connections).send("addChatMessage", chat_message(&caller, &message)).await?;
    Ok(Delivery::of(sent))
}

/// The number of users with a connection: the property `Count` of sample 4.
async fn count(mapping: State<Mapping>) -> Result<usize, HubError> {
    Ok(mapping.send(Count).await?)
}
