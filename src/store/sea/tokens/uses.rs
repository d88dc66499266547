//! The uses of single-use tokens. One row for each family suffices: its earlier tokens are never accepted again.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use entities::rejoin_family::{Column, Entity, Model};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, Iterable, QueryFilter,
    sea_query::{Expr, OnConflict},
};

use super::millis;
use crate::store::{Holder, Redeemed, Redemption, TokenUse, Verdict};

/// The maximum number of families in one statement: the tokens of a batch of the pipeline.
const MAX_FAMILIES: usize = 1_000;

/// The latest use of each family, by family.
type LatestUses = BTreeMap<String, Model>;

/// Records the uses of the tokens that are accepted so far, one after another, and changes the verdicts of those that
/// cannot be used.
pub(in super::super) async fn record(
    transaction: &Transaction,
    redemptions: &[Redemption],
    redeemed: &mut [Redeemed],
) -> Result<(), DbErr> {
    let uses = redemptions.iter().zip(redeemed).filter(|(_, redeemed)| redeemed.verdict == Verdict::Accepted);
    let mut uses: Vec<_> =
        uses.filter_map(|(redemption, redeemed)| Some((redemption.single_use.as_ref()?, redeemed))).collect();
    let mut latest = lock(transaction, uses.iter().map(|(token_use, _)| *token_use)).await?;
    let mut used = BTreeSet::new();
    for (token_use, redeemed) in &mut uses {
        let Some(row) = latest.get_mut(&token_use.family) else { return Err(missing_row()) };
        match use_token(row, token_use) {
            Verdict::Accepted => drop(used.insert(&*token_use.family)),
            refusal => **redeemed = Redeemed::refused(refusal),
        }
    }
    let rows = latest.into_iter().filter(|(family, _)| used.contains(&**family));
    replace(transaction, &Vec::from_iter(rows.map(|(_, row)| row))).await
}

fn missing_row() -> DbErr {
    DbErr::RecordNotFound("the row of a rejoin family that was just written".into())
}

/// Locks the rows of the families and returns them. The row of a new family has the epoch of its first use and no
/// holder, so the token can be used.
async fn lock<'a>(transaction: &Transaction, uses: impl Iterator<Item = &'a TokenUse>) -> Result<LatestUses, DbErr> {
    let mut unheld = LatestUses::new();
    for token_use in uses {
        let row = || Model { connection_id: None, node_id: None, ..row_of(token_use) };
        unheld.entry(token_use.family.clone()).or_insert_with(row);
    }
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::ExpiresAt));
    let lock = OnConflict::column(Column::Family).value(Column::ExpiresAt, unchanged).to_owned();
    let (families, unheld): (Vec<_>, Vec<_>) = unheld.into_iter().unzip();
    let mut latest = LatestUses::new();
    // Order: every transaction locks in the order of the names.
    for (families, unheld) in families.chunks(MAX_FAMILIES).zip(unheld.chunks(MAX_FAMILIES)) {
        let rows = unheld.iter().cloned().map(IntoActiveModel::into_active_model);
        Entity::insert_many(rows).on_conflict(lock.clone()).exec_without_returning(transaction).await?;
        let rows = Entity::find().filter(Column::Family.is_in(families)).all(transaction).await?;
        latest.extend(rows.into_iter().map(|row| (row.family.clone(), row)));
    }
    Ok(latest)
}

fn row_of(token_use: &TokenUse) -> Model {
    Model {
        family: token_use.family.clone(),
        epoch: token_use.epoch.cast_signed(),
        expires_at: millis::ceil(token_use.expires_at),
        connection_id: Some(token_use.holder.connection.to_string()),
        node_id: Some(token_use.holder.node.to_string()),
    }
}

/// Uses a token, if it can be used. `latest` is the latest use of its family.
fn use_token(latest: &mut Model, token_use: &TokenUse) -> Verdict {
    match (token_use.epoch.cmp(&latest.epoch.cast_unsigned()), holder_of(latest)) {
        (Ordering::Less, _) => Verdict::Replayed,
        (Ordering::Equal, Some(holder)) if token_use.ended.as_ref() != Some(&holder) => Verdict::InUse(holder),
        (Ordering::Equal | Ordering::Greater, _) => {
            let row = row_of(token_use);
            *latest = Model { expires_at: Ord::max(row.expires_at, latest.expires_at), ..row };
            Verdict::Accepted
        }
    }
}

fn holder_of(row: &Model) -> Option<Holder> {
    let (connection, node) = row.connection_id.as_deref().zip(row.node_id.as_deref())?;
    Some(Holder { connection: connection.into(), node: node.into() })
}

/// Replaces rows that this transaction has locked.
async fn replace(transaction: &Transaction, rows: &[Model]) -> Result<(), DbErr> {
    let values = Column::iter().filter(|column| !matches!(column, Column::Family));
    let upsert = OnConflict::column(Column::Family).update_columns(values).to_owned();
    for rows in rows.chunks(MAX_FAMILIES) {
        let rows = rows.iter().cloned().map(IntoActiveModel::into_active_model);
        Entity::insert_many(rows).on_conflict(upsert.clone()).exec_without_returning(transaction).await?;
    }
    Ok(())
}
