//! The reasons for which a rejoin token is refused.

use crate::{
    metrics::{Counter, Metrics},
    tokens::BadToken,
};

/// Why a rejoin token is not accepted. The client starts without its groups; each reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RejoinError {
    /// It is not a token.
    #[error("malformed")]
    Malformed,
    /// It is signed with a key that is not in the key ring.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// Its signature is invalid.
    #[error("forged")]
    Forged,
    /// It has expired.
    #[error("expired")]
    Expired,
    /// It was issued for another user.
    #[error("issued for another user")]
    WrongUser,
    /// It was issued for another hub.
    #[error("issued for another hub")]
    WrongHub,
    /// It was issued for another connection.
    #[error("issued for another connection")]
    WrongConnection,
    /// It was used before.
    #[error("used before")]
    Replayed,
    /// It was revoked.
    #[error("revoked")]
    Revoked,
    /// The store did not answer whether it was used or revoked.
    #[error("the store did not answer")]
    Unchecked,
}

impl RejoinError {
    /// The code of this reason. Wire: clients compare it.
    #[must_use]
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknownKey",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::WrongUser => "wrongUser",
            Self::WrongHub => "wrongHub",
            Self::WrongConnection => "wrongConnection",
            Self::Replayed => "replayed",
            Self::Revoked => "revoked",
            Self::Unchecked => "unchecked",
        }
    }

    /// The counter of this reason.
    #[must_use]
    pub(crate) fn counter(self, metrics: &Metrics) -> &Counter {
        match self {
            Self::Malformed => &metrics.rejoins_malformed,
            Self::UnknownKey => &metrics.rejoins_unknown_key,
            Self::Forged => &metrics.rejoins_forged,
            Self::Expired => &metrics.rejoins_expired,
            Self::WrongUser => &metrics.rejoins_wrong_user,
            Self::WrongHub => &metrics.rejoins_wrong_hub,
            Self::WrongConnection => &metrics.rejoins_wrong_connection,
            Self::Replayed => &metrics.rejoins_replayed,
            Self::Revoked => &metrics.rejoins_revoked,
            Self::Unchecked => &metrics.rejoins_unchecked,
        }
    }
}

impl From<BadToken> for RejoinError {
    fn from(bad: BadToken) -> Self {
        match bad {
            BadToken::Malformed => Self::Malformed,
            BadToken::UnknownKey => Self::UnknownKey,
            BadToken::Forged => Self::Forged,
        }
    }
}
