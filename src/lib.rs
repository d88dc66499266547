//! Real-time messaging for clients of SignalR, of both generations, in the same durable groups.
//!
//! A server is an [`Engine`] with some [`Hub`]s, mounted into any actix-web application:
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
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
//!     let app = move || App::new().configure(engine.routes());
//!     Ok(HttpServer::new(app).on_connect(hubcast::on_connect).bind(("127.0.0.1", 8080))?.run().await?)
//! }
//! ```
//!
//! Elsewhere in the application, [`Engine::hub`] gives a handle to publish through. An actor can be a hub
//! ([`Hub::actor`]) or a member of a group ([`Groups::add_actor`]), or have a say in who rejoins what
//! ([`pipeline::Module`]).
//!
//! # Glossary
//!
//! * **Connection**: one client, from its first request until it ends; it may outlive a channel.
//! * **Channel**: one transport of a connection, such as a WebSocket; counted from 1.
//! * **Hub**: methods that clients call, under one name. **Group**: connections and actors that are called together, under
//!   a name on one hub; it exists while it has members.
//! * **Member**, **membership**: who is in a group, and that it is. Live membership is a connection's and ends with it;
//!   *durable* membership is a user's, is stored, and is given to each of the user's connections.
//! * **Call**: a method that somebody runs elsewhere: clients call hubs, hubs call clients. A **message** is a call of
//!   a client method on its way to everybody whom it concerns.
//! * **Outbox**: what waits for one client, bounded. **Backlog**: how much that is.
//! * **Dialect**: what one generation of clients speaks. **Session**: the pure rules of a dialect for one connection.
//! * **Token**: something signed that a client carries for the server. A **rejoin token** names the groups that its bearer
//!   may be put back into.
//! * **Store**: what is remembered beyond the process. **Lease**: the row of a connection, believed only for a while.
//! * **Node**: a process among those that share a store.
//!
//! # The path of a message
//!
//! `socket → transport → connection (decode, session rules) → hub method → groups → group → outbox of each member →
//! socket`
//!
//! 1. A [`transport`] hands whole messages to the connection, and reads no further until it can take more.
//! 2. The connection's session decodes and judges: [`aspnetcore`] or [`classic`].
//! 3. The connection runs the [`hub`]'s method, which sends: a [`message`] is made, once for all its recipients.
//! 4. [`groups`] finds the [`group`], which pushes the message into every member's [`outbox`].
//! 5. The outbox encodes it, unless somebody with the same wire form has done so, and all that waits goes into one write.
//!
//! # The doors, from below
//!
//! [`ids`] and [`metrics`]; [`message`], [`store`], [`tokens`] and `supervised`; [`outbox`]; [`group`] and [`transport`];
//! [`groups`]; [`connections`]; `membership` and [`pipeline`]; [`hub`]; [`web`] and the connection itself;
//! [`aspnetcore`] and [`classic`]; the [`Engine`]; [`admin`], [`page`] and [`chat`]; [`config`]; [`server`]. A door uses
//! those before it and never one behind it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod admin;
pub mod aspnetcore;
pub mod chat;
pub mod classic;
pub mod config;
mod connection;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod connections;
mod engine;
mod group;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod groups;
pub mod hub;
mod ids;
mod membership;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod message;
pub mod metrics;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod outbox;
pub mod page;
pub mod pipeline;
pub mod server;
pub mod store;
mod supervised;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tokens;
#[cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "the feature testkit re-exports the items"))]
mod transport;
pub mod web;

pub use connection::{OnStoreFailure, RejoinSettings};
pub use engine::{BuildError, Engine, EngineBuilder, HubHandle};
pub use group::{Delivery, GroupSnapshot};
pub use groups::{ActorMembership, Error as GroupError};
pub use hub::{Args, Call, Caller, CallerState, Clients, Groups, Hub, HubError, Progress, State, Users};
pub use ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, NodeId, UserId};
pub use message::{Invocation, Json, Message};
pub use outbox::{Limits, Overflow, ReplayLimits};
pub use tokens::{BadSecret, KeyRing};
pub use transport::on_connect;
