//! Applies and reverts migrations. The table `seaql_migrations` lists the applied ones, in the format of
//! `sea-orm-migration`. That crate itself would make the first build a fifth longer: it requires all features of SeaORM.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseExecutor, DbErr, IntoDatabaseExecutor, StatementBuilder,
    prelude::async_trait,
    sea_query::{ColumnDef, Expr, ExprTrait, Query, Table},
};

/// One change of the schema.
#[async_trait::async_trait]
pub(crate) trait MigrationTrait: Sync {
    /// Applies the change.
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr>;

    /// Reverts the change.
    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr>;
}

/// A migration and its name, which is that of its file and never changes.
pub(crate) type Named = (&'static str, &'static dyn MigrationTrait);

/// The database that a migration changes.
pub(crate) struct SchemaManager<'c>(DatabaseExecutor<'c>);

impl<'c> SchemaManager<'c> {
    pub(crate) fn get_connection(&self) -> &DatabaseExecutor<'c> {
        &self.0
    }

    pub(crate) fn get_database_backend(&self) -> DatabaseBackend {
        self.0.get_database_backend()
    }

    pub(crate) async fn execute<S: StatementBuilder>(&self, statement: S) -> Result<(), DbErr> {
        self.0.execute(&statement).await.map(drop)
    }
}

/// The table of applied migrations.
const TABLE: &str = "seaql_migrations";

/// Applies the first `steps` of the missing migrations, or all of them.
pub(crate) async fn up<'c>(
    migrations: &[Named],
    db: impl IntoDatabaseExecutor<'c>,
    steps: Option<usize>,
) -> Result<(), DbErr> {
    let manager = SchemaManager(db.into_database_executor());
    let applied = applied(migrations, &manager).await?;
    let missing = migrations.iter().filter(|(name, _)| !applied.contains(*name));
    for (name, migration) in missing.take(steps.unwrap_or(usize::MAX)) {
        migration.up(&manager).await?;
        let row = Query::insert()
            .into_table(TABLE)
            .columns(["version", "applied_at"])
            .values([(*name).into(), unix_time().into()])
            .map_err(|error| DbErr::Migration(error.to_string()))?
            .take();
        manager.execute(row).await?;
    }
    Ok(())
}

/// Reverts the last `steps` of the applied migrations, or all of them.
pub(crate) async fn down<'c>(
    migrations: &[Named],
    db: impl IntoDatabaseExecutor<'c>,
    steps: Option<usize>,
) -> Result<(), DbErr> {
    let manager = SchemaManager(db.into_database_executor());
    let applied = applied(migrations, &manager).await?;
    let last = migrations.iter().rev().filter(|(name, _)| applied.contains(*name));
    for (name, migration) in last.take(steps.unwrap_or(usize::MAX)) {
        migration.down(&manager).await?;
        let row = Query::delete().from_table(TABLE).and_where(Expr::col("version").eq(*name)).take();
        manager.execute(row).await?;
    }
    Ok(())
}

/// The names of the applied migrations. Creates the table for them if it is missing.
///
/// # Errors
/// [`DbErr::Migration`] if one of them is unknown: a later version has changed the schema.
async fn applied(migrations: &[Named], manager: &SchemaManager<'_>) -> Result<BTreeSet<String>, DbErr> {
    let table = Table::create()
        .table(TABLE)
        .if_not_exists()
        .col(ColumnDef::new("version").string().not_null().primary_key())
        .col(ColumnDef::new("applied_at").big_integer().not_null())
        .take();
    manager.execute(table).await?;
    let rows = manager.get_connection().query_all(&Query::select().column("version").from(TABLE).take()).await?;
    let applied = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<BTreeSet<String>, _>>()?;
    match applied.iter().find(|name| !migrations.iter().any(|(known, _)| known == name)) {
        Some(unknown) => Err(DbErr::Migration(format!("the schema has an unknown migration `{unknown}`"))),
        None => Ok(applied),
    }
}

/// Seconds since the Unix epoch.
fn unix_time() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs().try_into().unwrap_or(i64::MAX)
}
