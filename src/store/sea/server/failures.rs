//! Why the first connection to a server failed, as a text for the operator.

use sea_orm::{DbErr, sqlx};

use super::Driver;
use crate::store::{Error, address::without_credentials, sea::errors};

impl<O: sqlx::ConnectOptions<Connection: Sized>> Driver<O> {
    /// The error of the first connection.
    pub(super) fn failure(&self, url: &str, error: &DbErr) -> Error {
        let address = without_credentials(url);
        match errors::cause(error).and_then(|cause| self.handshake_failure(cause)) {
            Some(text) => Error::Address(format!("{address}: {text}")),
            None => errors::connecting(&address, error),
        }
    }
}
