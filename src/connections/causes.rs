//! Why a connection joins or leaves a group.

/// Why a connection joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinCause {
    /// A hub or a client requested it now.
    Caller,
    /// Its user became a durable member of the group now.
    User,
    /// A rejoin token restores the group. A leave that was requested in the meantime takes precedence.
    Token,
    /// The store lists its user as a durable member. A leave that was requested in the meantime takes precedence.
    Store,
    /// The store lists its user as a durable member, and the connection did not join. A leave that was requested for the
    /// connection takes precedence.
    Repair,
}

impl JoinCause {
    /// True if the join restores an earlier membership, and was not requested now.
    pub(crate) fn restores(self) -> bool {
        matches!(self, Self::Token | Self::Store)
    }

    /// True if the membership is a durable one of the user.
    pub(crate) fn is_durable(self) -> bool {
        matches!(self, Self::User | Self::Store | Self::Repair)
    }
}

/// Why a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaveCause {
    /// It was requested for this connection. Its user can still be a durable member.
    Caller,
    /// Its user ceases to be a durable member of the group now.
    User,
    /// The store no longer lists its user as a durable member, and the connection did not leave. A connection that is in
    /// the group for another reason stays.
    Repair,
}
