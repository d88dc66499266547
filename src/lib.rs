//! hubcast

pub mod admin;
pub mod aspnetcore;
mod connection;
pub mod connections;
mod engine;
pub mod group;
pub mod groups;
pub mod hub;
pub mod ids;
pub mod membership;
pub mod message;
pub mod metrics;
pub mod outbox;
pub mod page;
pub mod pipeline;
pub mod store;
pub mod supervised;
pub mod tokens;
pub mod transport;
pub mod web;

pub use connection::{OnStoreFailure, RejoinSettings};
pub use engine::{BuildError, Engine, EngineBuilder, HubHandle};
pub use hub::{Args, Call, Caller, CallerState, Clients, Groups, Hub, HubError, Progress, State, Users};
pub use ids::{ConnectionId, GroupName, HubName, UserId};
pub use tokens::KeyRing;
pub use transport::on_connect;
