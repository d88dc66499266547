//! Applies and reverts migrations. The table `seaql_migrations` lists the applied ones, in the format of
//! `sea-orm-migration`. That crate itself would make the first build a fifth longer: it requires all features of SeaORM.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
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

/// Whether an error says that the effect of its statement exists already.
pub type IsDone = fn(&DbErr) -> bool;

/// The database that a migration changes.
pub(crate) struct SchemaManager<'c> {
    db: DatabaseExecutor<'c>,
    /// Set while an interrupted migration is completed: its first statements have taken effect already.
    is_done: Option<IsDone>,
    /// A statement of the migration has succeeded.
    has_changed: AtomicBool,
}

impl<'c> SchemaManager<'c> {
    fn new(db: impl IntoDatabaseExecutor<'c>) -> Self {
        Self { db: db.into_database_executor(), is_done: None, has_changed: AtomicBool::default() }
    }

    pub(crate) fn get_connection(&self) -> &DatabaseExecutor<'c> {
        &self.db
    }

    pub(crate) fn get_database_backend(&self) -> DatabaseBackend {
        self.db.get_database_backend()
    }

    pub(crate) async fn execute<S: StatementBuilder>(&self, statement: S) -> Result<(), DbErr> {
        match self.db.execute(&statement).await {
            Err(error) if self.is_done.is_some_and(|is_done| is_done(&error)) => {}
            result => {
                result?;
            }
        }
        self.has_changed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The table of applied migrations.
const TABLE: &str = "seaql_migrations";

/// The time of a migration that has begun and is not applied.
const BEGUN: i64 = 0;

/// Applies the first `steps` of the missing migrations, or all of them.
///
/// A database that does not undo the statements of an interrupted migration needs `is_done`. Then each migration is
/// recorded before it begins, and an interrupted one is completed.
pub(crate) async fn up<'c>(
    migrations: &[Named],
    db: impl IntoDatabaseExecutor<'c>,
    steps: Option<usize>,
    is_done: Option<IsDone>,
) -> Result<(), DbErr> {
    let mut manager = SchemaManager::new(db);
    let Recorded { applied, begun } = recorded(migrations, &manager).await?;
    let missing = migrations.iter().filter(|(name, _)| !applied.contains(*name));
    for (name, migration) in missing.take(steps.unwrap_or(usize::MAX)) {
        if is_done.is_none() {
            migration.up(&manager).await?;
            insert(&manager, name, unix_time()).await?;
        } else {
            let has_begun = begun.contains(*name);
            manager.is_done = is_done.filter(|_| has_begun);
            begin_and_complete(&manager, name, *migration, has_begun).await?;
        }
    }
    Ok(())
}

/// Applies a migration that an interruption does not undo.
async fn begin_and_complete(
    manager: &SchemaManager<'_>,
    name: &str,
    migration: &dyn MigrationTrait,
    has_begun: bool,
) -> Result<(), DbErr> {
    if !has_begun {
        insert(manager, name, BEGUN).await?;
    }
    manager.has_changed.store(has_begun, Ordering::Relaxed);
    let result = migration.up(manager).await;
    if result.is_err() && !manager.has_changed.load(Ordering::Relaxed) {
        // A table that does not belong to hubcast, for example, must not be taken for its own at the next start. The error
        // of the migration tells more than one of this statement.
        let _ = delete(manager, name).await;
    }
    result?;
    let row = Query::update().table(TABLE).value("applied_at", unix_time()).and_where(is_of(name)).take();
    manager.db.execute(&row).await.map(drop)
}

fn is_of(name: &str) -> Expr {
    Expr::col("version").eq(name)
}

async fn insert(manager: &SchemaManager<'_>, name: &str, applied_at: i64) -> Result<(), DbErr> {
    let row = Query::insert()
        .into_table(TABLE)
        .columns(["version", "applied_at"])
        .values([name.into(), applied_at.into()])
        .map_err(|error| DbErr::Migration(error.to_string()))?
        .take();
    manager.db.execute(&row).await.map(drop)
}

async fn delete(manager: &SchemaManager<'_>, name: &str) -> Result<(), DbErr> {
    let row = Query::delete().from_table(TABLE).and_where(is_of(name)).take();
    manager.db.execute(&row).await.map(drop)
}

/// Reverts the last `steps` of the applied migrations, or all of them.
pub(crate) async fn down<'c>(
    migrations: &[Named],
    db: impl IntoDatabaseExecutor<'c>,
    steps: Option<usize>,
) -> Result<(), DbErr> {
    let manager = SchemaManager::new(db);
    let Recorded { applied, .. } = recorded(migrations, &manager).await?;
    let last = migrations.iter().rev().filter(|(name, _)| applied.contains(*name));
    for (name, migration) in last.take(steps.unwrap_or(usize::MAX)) {
        migration.down(&manager).await?;
        delete(&manager, name).await?;
    }
    Ok(())
}

/// The names of the recorded migrations.
struct Recorded {
    applied: BTreeSet<String>,
    /// Those that have begun and are not applied.
    begun: BTreeSet<String>,
}

/// Reads the recorded migrations. Creates the table for them if it is missing.
///
/// # Errors
/// [`DbErr::Migration`] if one of them is unknown: a later version has changed the schema.
async fn recorded(migrations: &[Named], manager: &SchemaManager<'_>) -> Result<Recorded, DbErr> {
    let table = Table::create()
        .table(TABLE)
        .if_not_exists()
        .col(ColumnDef::new("version").string().not_null().primary_key())
        .col(ColumnDef::new("applied_at").big_integer().not_null())
        .take();
    manager.execute(table).await?;
    let rows = Query::select().columns(["version", "applied_at"]).from(TABLE).take();
    let mut recorded = Recorded { applied: BTreeSet::new(), begun: BTreeSet::new() };
    for row in manager.db.query_all(&rows).await? {
        let (name, applied_at): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if !migrations.iter().any(|(known, _)| *known == name) {
            return Err(DbErr::Migration(format!("the schema has an unknown migration `{name}`")));
        }
        let names = if applied_at == BEGUN { &mut recorded.begun } else { &mut recorded.applied };
        names.insert(name);
    }
    Ok(recorded)
}

/// Seconds since the Unix epoch, at least one: zero is [`BEGUN`].
fn unix_time() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ord::max(since_epoch.as_secs(), 1).try_into().unwrap_or(i64::MAX)
}
