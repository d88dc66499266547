//! Why the first connection to a server failed, as a text for the operator.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, Connection},
};
use tokio::time::timeout;

use super::Driver;
use crate::store::{Error, address::without_credentials, sea::errors};

/// The maximum wait for the connection that finds out why the pool has none. The pool has waited before.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(3);

impl<O: sqlx::ConnectOptions<Connection: Sized>> Driver<O> {
    /// The error of the first connection. The pool waits for a server that refuses connections, and then reports only that
    /// it has waited: another connection, without the pool, finds the cause.
    pub(super) async fn failure(&self, url: &str, error: DbErr) -> Error {
        let Ok(options) = url.parse::<O>() else { return errors::connecting(&without_credentials(url), &error) };
        let cause = match errors::cause(&error) {
            Some(sqlx::Error::PoolTimedOut) => self.failed_connect(&self.with_tls(url, options.clone())).await,
            _ => None,
        };
        let error = cause.map_or(error, |cause| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(cause))));
        self.describe(url, &options, &error)
    }

    /// The error of a single attempt to connect; `None` if it succeeds.
    async fn failed_connect(&self, options: &O) -> Option<sqlx::Error> {
        match timeout(DIAGNOSIS_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => {
                // If this fails, the server notices the end of the connection by itself.
                let _ = connection.close().await;
                None
            }
            Ok(Err(error)) => Some(error),
            Err(_) => Some(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    fn describe(&self, url: &str, options: &O, error: &DbErr) -> Error {
        let address = without_credentials(url);
        if let Some(cause) = errors::cause(error) {
            if let Some(text) = self.handshake_failure(options, cause) {
                return Error::Refused(format!("{address}: {text}"));
            }
            if let sqlx::Error::Io(cause) = cause {
                let endpoint = (self.endpoint)(options);
                return Error::Unavailable(format!("{address}: cannot connect to {endpoint}: {cause}"));
            }
        }
        errors::connecting(&address, error)
    }
}
