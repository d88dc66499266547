//! Real-time messaging for clients of SignalR, of both generations, in the same durable groups.
//!
//! A server is an [`Engine`] with some [`Hub`]s, mounted into any actix-web application:
//!
//! ```no_run
//! use actix_web::App;
//! use hubcast::{Args, Caller, Clients, Engine, Groups, Hub, HubError};
//!
//! async fn join(groups: Groups, Args((room,)): Args<(String,)>) -> Result<(), HubError> {
//!     groups.join(room).await?;
//!     Ok(())
//! }
//!
//! async fn say(who: Caller, to: Clients, Args((room, text)): Args<(String, String)>) -> Result<(), HubError> {
//!     to.group(room).send("said", (who.name(), text)).await?;
//!     Ok(())
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let engine = Engine::builder().hub("/chat", Hub::new("chat").method("Join", join).method("Say", say)).build()?;
//!     let server = engine.http_server(|engine| App::new().configure(engine.routes())).bind(("127.0.0.1", 8080))?;
//!     Ok(engine.serve(server).await?)
//! }
//! ```
//!
//! [`Engine::serve`] runs until SIGTERM or SIGINT, then drains the engine and stops. [`Engine::hub`] returns a handle
//! that publishes from anywhere in the application. An actor can be a hub ([`Hub::actor`]) or a member of a group
//! ([`Groups::add_actor`]). Filters ([`HubFilter`]) run before and after the events of hubs, and can change or refuse them.
//!
//! # Features
//!
//! | feature | adds | |
//! |---|---|---|
//! | `service` | the executable, `config` and `server`; implies `database` and `jwt` | default |
//! | `azure` | `store::azure`: durable memberships in Azure Table Storage | default |
//! | `database` | `store::sea`: durable state in SQLite | |
//! | `mysql` | the same in MySQL or MariaDB; implies `database` | default |
//! | `postgres` | the same in PostgreSQL; implies `database` | default |
//! | `jwt` | `web::Jwt`: authentication with JSON web tokens | |
//! | `http2` | HTTP/2 on listeners with TLS | |
//! | `testkit` | the conformance suite for stores, and internals for tests | |
//!
//! An application that embeds the engine sets `default-features = false`, and adds what it uses.
//!
//! # Glossary
//!
//! * **Connection**: one client, from its first request until it disconnects. A classic connection can outlive a channel.
//! * **Channel**: one transport of a connection, such as a WebSocket. Channels of a connection are numbered from 1.
//! * **Hub**: a named set of methods that clients invoke.
//! * **Group**: the connections and actors of one hub that receive messages together. A group exists while it has
//!   members.
//! * **Member**: a connection or an actor in a group. **Live membership** belongs to a connection and ends with it.
//!   **Durable membership** belongs to a user, is stored, and applies to each connection of the user.
//! * **Invocation**: a call of a hub method by a client, or of a client method by a hub. **Message**: an invocation of a
//!   client method on its way to its recipients.
//! * **Outbox**: the bounded queue of messages for one client. It is unrelated to the transactional outbox of databases.
//!   **Backlog**: the length of an outbox in messages and bytes. **Replay**: sending kept messages again to a classic
//!   client that reconnected; **cursor**: its position in them; **gap**: messages that are no longer kept.
//! * **Dialect**: the code for one protocol generation. **Session**: the pure protocol rules of a dialect for one
//!   connection. **Dispatcher**: the calls, streams and client results of one connection, for its session. **Framer**:
//!   turns messages into the bytes of one transport and dialect.
//! * **Rejoin token**: a signed text that lists groups. A client presents it to return to them. Classic clients know it
//!   as the groups token. **Family**: connections that continue one another by single-use tokens. **Epoch**: the position
//!   of a connection in its family.
//! * **Store**: durable state. **Lease**: the stored record of a connection, open for as long as its node renews it.
//! * **Presence**: whether the users that are durable members of a group are connected. **Presence window**: how long a user
//!   without a connection counts as online.
//! * **Node**: a process among those that share a store. **Shard**: an actor that starts and retires a part of the groups.
//! * **Filter**: code of the application that runs before or after the events of a hub. **Chain**: the filters of a hub, in
//!   order.
//! * **Pipeline**: the actor that validates rejoin tokens and runs the filters of clients that rejoin their groups.
//!
//! `ARCHITECTURE.md` describes the modules and the path of a message.

#![cfg_attr(not(feature = "service"), allow(dead_code, unused_imports, reason = "the service uses the rest"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/hub-methods.md")]
struct HubMethods;

#[cfg(doctest)]
#[doc = include_str!("../docs/hub-filters.md")]
struct HubFilters;

#[cfg(doctest)]
#[doc = include_str!("../docs/presence.md")]
struct Presence;

pub mod admin;
pub mod aspnetcore;
pub mod chat;
pub mod classic;
mod client_log;
#[cfg(feature = "service")]
pub mod config;
mod connection;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod connections;
mod crypto;
mod engine;
mod group;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod groups;
mod http_server;
pub mod hub;
mod ids;
mod membership;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod message;
pub mod metrics;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod outbox;
pub mod page;
mod payload;
pub mod pipeline;
mod router;
#[cfg(feature = "service")]
pub mod server;
#[cfg_attr(not(feature = "service"), allow(unreachable_pub, reason = "the service re-exports the items"))]
mod signals;
pub mod store;
mod supervised;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tokens;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod transport;
pub mod web;

pub use connection::{OnStoreFailure, RejoinSettings};
pub use connections::{ConnectionLimits, Reconnect};
pub use engine::{BoundServer, BuildError, BuildFault, Engine, EngineBuilder, HubHandle, Serve};
pub use group::{Delivery, GroupSnapshot};
pub use groups::{ActorMembership, Error as GroupError};
pub use http_server::{AcceptedSocket, HttpServer};
pub use hub::{
    Args, Call, Caller, CallerState, Clients, Groups, Hub, HubError, HubStream, Progress, State, UploadStream, Users,
    filters, filters::HubFilter,
};
pub use ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, InvalidName, NodeId, UserId};
pub use membership::NodeInUse;
pub use message::{Invocation, Json, Message};
pub use outbox::{Limits, Overflow, ReplayLimits};
pub use payload::{Binary, DecodeError, EncodeError, Format, Payload, Timestamp};
pub use tokens::{BadSecret, KeyRing};
pub use transport::{Transport, on_connect};
