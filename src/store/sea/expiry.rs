//! The deletion of rows by a time that they contain.

use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction as Transaction, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::MAX_BIND_VARIABLES;

/// The maximum number of rows of a table that one call deletes. Each renewal of a node makes a call for each table, and has
/// one deadline for all of them. The next calls delete the rest.
pub(super) const MAX_DELETED: usize = 10_000;

/// Rows that can be deleted.
pub(super) struct Expired<E: EntityTrait> {
    /// The column that distinguishes the rows of `scope`, a text.
    pub(super) key: E::Column,
    pub(super) time: E::Column,
    /// The last time of a row that can be deleted.
    pub(super) last: i64,
    /// The rows that are considered.
    pub(super) scope: Condition,
}

impl<E: EntityTrait> Expired<E> {
    /// Of all rows of the table.
    pub(super) fn new(key: E::Column, time: E::Column, last: i64) -> Self {
        Self { key, time, last, scope: Condition::all() }
    }

    /// Deletes the rows, or the earliest ones if they are more than [`MAX_DELETED`].
    ///
    /// Order: find them, then lock them in the order of their keys, then delete them. One statement would lock them in the
    /// order of another index. MariaDB would also lock the entries of that index before the rows, while other transactions
    /// lock the rows first.
    ///
    /// The database chooses the index of the second statement. MariaDB 10.11 takes the primary key even if the statement
    /// names all rows of the table, and waits for no rows that are not named, except revocations of groups.
    pub(super) async fn delete(self, transaction: &Transaction) -> Result<(), DbErr> {
        let Self { key, time, last, scope } = self;
        let oldest = E::find().select_only().column(key).filter(scope.clone()).filter(time.lte(last));
        let oldest = oldest.order_by_asc(time).limit(MAX_DELETED as u64).into_tuple::<String>();
        let mut keys = oldest.all(transaction).await?;
        keys.sort_unstable();
        for keys in keys.chunks(MAX_BIND_VARIABLES) {
            let named = E::find().select_only().columns([key, time]).filter(scope.clone()).filter(key.is_in(keys));
            let named = named.order_by_asc(key).lock_exclusive().into_tuple::<(String, Option<i64>)>();
            // A row can have changed meanwhile: a connection is open again, or a user was seen.
            let expired = named.all(transaction).await?.into_iter().filter(|(_, at)| at.is_some_and(|at| at <= last));
            let expired = Vec::from_iter(expired.map(|(key, _)| key));
            if !expired.is_empty() {
                E::delete_many().filter(scope.clone()).filter(key.is_in(expired)).exec(transaction).await?;
            }
        }
        Ok(())
    }
}
