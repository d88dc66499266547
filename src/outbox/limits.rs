//! How much an outbox holds, and how it stands.

/// What may wait for a slow transport, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many items. Default 10,000: a burst that a healthy client takes in well under a second.
    pub items: usize,
    /// So many bytes. Default 1 MiB, what the best-run services in the field allow a client to lag.
    pub bytes: usize,
    /// What happens to whoever exceeds them.
    pub overflow: Overflow,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items: 10_000, bytes: 1 << 20, overflow: Overflow::Close }
    }
}

/// What happens when more waits than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The client is disconnected and may come back: it never misses a message unnoticed.
    #[default]
    Close,
    /// The oldest waiting broadcast is left out, and counted. A reply is never left out: where one is
    /// the oldest, the client is disconnected.
    DropOldest,
}

/// What is kept for a client that returns of what it was sent. What it was not sent yet waits, while it is away, up to the
/// larger of this and the [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayLimits {
    /// So many items; 0 keeps nothing.
    pub items: usize,
    /// So many bytes, whichever is reached first.
    pub bytes: usize,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It waits for the transport.
    Queued,
    /// It was one too many, and the connection is ending for it.
    Overflowed,
    /// The connection has ended; nothing was kept.
    Closed,
    /// The client does not listen to that hub; nothing was kept.
    Unheard,
}

/// How far a channel has come. Two that are equal say that its client has taken nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The channel, counted from 1.
    pub channel: u32,
    /// Items that its transport has taken.
    pub taken: u64,
    /// How often a full socket has taken a part of them.
    pub writes: u64,
}

/// How an outbox stands, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Items that wait.
    pub items: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The most that ever waited, in bytes.
    pub peak_bytes: usize,
    /// Items that a transport has taken so far.
    pub taken: u64,
    /// Items left out by [`Overflow::DropOldest`].
    pub dropped: u64,
    /// Items kept for a client that returns.
    pub kept: usize,
}
