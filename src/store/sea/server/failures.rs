//! Why a server cannot be used, as a text for the operator.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, Connection},
};
use tokio::time::timeout;

use super::Driver;
use crate::store::{Error, address::without_credentials, sea::errors};

/// The maximum wait for the connection that finds out why the pool has none at the start. The pool has waited before.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum wait for the connection that finds out why a call has failed. Order: with the wait of the pool, 3 s, it ends
/// before the deadline of the caller, 5 s.
const CALL_DIAGNOSIS_TIMEOUT: Duration = Duration::from_millis(1_500);

impl<O: sqlx::ConnectOptions<Connection: Sized>> Driver<O> {
    /// The error of the first connection. The pool waits for a server that refuses connections, and then reports only that
    /// it has waited: another connection, without the pool, finds the cause.
    pub(super) async fn failure(&self, url: &str, error: DbErr) -> Error {
        let Ok(options) = url.parse::<O>() else { return errors::connecting(&without_credentials(url), &error) };
        let cause = match errors::cause(&error) {
            Some(sqlx::Error::PoolTimedOut) => self.failed_connect(url, &options, DIAGNOSIS_TIMEOUT).await,
            _ => None,
        };
        self.describe(url, &options, &cause.unwrap_or(error))
    }

    /// The error of a call that failed with `text` because the server does not answer. It names the address, and the cause
    /// if another attempt to connect fails too.
    pub(in crate::store::sea) async fn explain(&self, url: &str, text: &str) -> Error {
        let Ok(options) = url.parse::<O>() else { return Error::Unavailable(text.to_owned()) };
        match self.failed_connect(url, &options, CALL_DIAGNOSIS_TIMEOUT).await {
            Some(cause) => Error::Unavailable(self.describe(url, &options, &cause).into_text()),
            None => Error::Unavailable(format!("{}: {text}", without_credentials(url))),
        }
    }

    /// The error of a single attempt to connect; `None` if it succeeds.
    async fn failed_connect(&self, url: &str, options: &O, max_wait: Duration) -> Option<DbErr> {
        let cause = match timeout(max_wait, self.with_tls(url, options.clone()).connect()).await {
            Ok(Ok(connection)) => {
                // If this fails, the server notices the end of the connection by itself.
                let _ = connection.close().await;
                None
            }
            Ok(Err(error)) => Some(error),
            Err(_) => Some(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        };
        cause.map(|cause| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(cause))))
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
