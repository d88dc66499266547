//! Limits of an outbox, results of a push, and statistics.

/// The maximum that may wait for a slow transport, and the policy for exceeding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of waiting entries. Default 10,000: a healthy client receives such a burst in well under a
    /// second.
    pub items: usize,
    /// Maximum number of waiting bytes. Default 1 MiB, the usual lag that comparable services allow.
    pub bytes: usize,
    /// The policy for a client that exceeds them.
    pub overflow: Overflow,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items: 10_000, bytes: 1 << 20, overflow: Overflow::Close }
    }
}

/// The policy when the [`Limits`] are exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The client is disconnected and may reconnect: it never misses a message unnoticed.
    #[default]
    Close,
    /// The oldest waiting broadcast is skipped and counted. A reply is never skipped: if only replies wait, the client
    /// is disconnected.
    DropOldest,
}

/// The maximum of sent entries that are kept for replay to a client that reconnects. While a client is disconnected,
/// unsent entries are limited separately, by the larger of this and the [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Maximum number of entries; 0 disables replay.
    pub items: usize,
    /// Maximum number of bytes; the limit that is reached first applies.
    pub bytes: usize,
}

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The entry waits for the transport.
    Queued,
    /// The entry exceeded the limits, and the connection is ending because of it.
    Overflowed,
    /// The connection has ended; the entry was discarded.
    Closed,
    /// The channel does not receive messages of that hub; the entry was discarded.
    Filtered,
}

/// The progress of a channel. Two equal values mean that the client has read nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the channel; the first is 1.
    pub channel: u32,
    /// Entries that transports have taken from the outbox.
    pub taken: u64,
    /// Changes whenever the transport reports that its socket has taken bytes, so that a partly written entry counts
    /// as progress.
    pub writes: u64,
}

/// Statistics of an outbox for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Waiting entries.
    pub items: usize,
    /// Bytes of the waiting entries.
    pub bytes: usize,
    /// The maximum of `bytes` so far.
    pub peak_bytes: usize,
    /// Entries that transports have taken so far.
    pub taken: u64,
    /// Entries skipped by [`Overflow::DropOldest`].
    pub dropped: u64,
    /// Sent entries that are kept for replay.
    pub kept: usize,
}
