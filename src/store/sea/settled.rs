//! Closes connections of a pool that cannot be used again.

use std::{future::ready, time::Duration};

use sea_orm::sqlx::{self, Connection, pool::PoolOptions};
use tokio::time::timeout;

/// The maximum wait for the answer of a connection whose call was dropped. A connection to a database that does not answer
/// must not hold a place in the pool for longer.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Closes each connection that does not answer, or whose last transaction did not end: when it is released, and again
/// before it is acquired.
pub(super) fn close_unsettled<D: sqlx::Database>(pool: PoolOptions<D>) -> PoolOptions<D> {
    pool.after_release(|connection, _| Box::pin(is_settled(connection)))
        .before_acquire(|connection, _| Box::pin(ready(Ok(!connection.is_in_transaction()))))
}

/// Order: the rollback of a dropped transaction may still be in the queue of the connection. The ping waits for it.
async fn is_settled(connection: &mut impl Connection) -> Result<bool, sqlx::Error> {
    timeout(RELEASE_TIMEOUT, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    Ok(!connection.is_in_transaction())
}
