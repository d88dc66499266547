//! Internals for benchmarks and tests, without any promise of stability.

mod echo;

pub use echo::echo;

pub use crate::{
    connections::{ConnectionHandle, Connections},
    engine::CrashTarget,
    groups::GroupDirectory,
    message::{Source, WireForm},
    outbox::{
        ChannelFilter, DeferredField, End, FlushScheduler, FrameFields, Framer, Outbox, OutboxReader, Progress, Push,
        ReadStep, Resume, SharedMessage, Sink, Unsent,
    },
    transport::FrameType,
};

use crate::Engine;

/// The directory of live connections.
#[must_use]
pub fn connections(engine: &Engine) -> &Connections {
    engine.connections()
}

/// The directory of groups.
#[must_use]
pub fn groups(engine: &Engine) -> &GroupDirectory {
    engine.groups()
}
