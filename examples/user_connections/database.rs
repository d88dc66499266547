//! Samples 7 and 8: a map from users to connections in a database.

use hubcast::{
    Args, Caller, Clients, Hub, HubError, State, UserId,
    hub::{Connected, Disconnected, Reconnected},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, DbErr, EntityTrait,
    QueryFilter, Schema, sea_query::OnConflict,
};

use crate::{
    delivery::{Delivery, chat_message},
    provider::find_user_id,
};

/// `User` of sample 7.
#[expect(unreachable_pub, reason = "the entity is generated as public")]
mod user {
    use sea_orm::entity::prelude::*;

    /// A user that was connected at least once.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        /// Its name.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_name: String,
        /// Its connections.
        #[sea_orm(has_many)]
        pub connections: HasMany<super::connection::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `Connection` of sample 7.
#[expect(unreachable_pub, reason = "the entity is generated as public")]
mod connection {
    use sea_orm::entity::prelude::*;

    /// An open connection. The row takes the place of the column `Connected`: there, rows stay and their number only grows.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "connections")]
    pub struct Model {
        /// Its id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub connection_id: String,
        /// Its user. There, the column is implied, and may be null.
        pub user_name: String,
        /// The user agent that the client sent.
        pub user_agent: String,
        /// The row of the user.
        #[sea_orm(belongs_to, from = "user_name", to = "user_name", on_delete = "Cascade")]
        pub user: BelongsTo<super::user::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Sample 7: `UserContext`, the tables.
#[derive(Clone)]
pub(crate) struct UserContext(DatabaseConnection);

impl UserContext {
    /// Opens the tables, and creates them if they are missing. Deletes the connections of an earlier process: there, those
    /// of a server that was killed say `Connected` forever, as the page warns.
    pub(crate) async fn open(url: &str) -> Result<Self, DbErr> {
        let db = Database::connect(url).await?;
        let schema = Schema::new(db.get_database_backend());
        let tables =
            [schema.create_table_from_entity(user::Entity), schema.create_table_from_entity(connection::Entity)];
        for mut table in tables {
            if db.get_database_backend() == DatabaseBackend::MySql {
                // By default, `jose` and `josé` would be one user.
                table.character_set("utf8mb4").collate("utf8mb4_bin");
            }
            db.execute(table.if_not_exists()).await?;
        }
        connection::Entity::delete_many().exec(&db).await?;
        Ok(Self(db))
    }

    /// Writes the rows of a user and of its connection. There, two first connections of a user at the same time insert the
    /// same key, so one of them fails. Here, a row that is there is no error.
    async fn add(&self, user: &UserId, caller: &Caller) -> Result<(), DbErr> {
        let row = user::ActiveModel { user_name: Set(user.to_string()) };
        let unless_there =
            OnConflict::column(user::Column::UserName).do_nothing_on([user::Column::UserName]).to_owned();
        user::Entity::insert(row).on_conflict(unless_there).exec_without_returning(&self.0).await?;
        let row = connection::ActiveModel {
            connection_id: Set(caller.id().to_string()),
            user_name: Set(user.to_string()),
            user_agent: Set(caller.request().header("user-agent").unwrap_or_default().to_owned()),
        };
        let id = connection::Column::ConnectionId;
        let unless_there = OnConflict::column(id).do_nothing_on([id]).to_owned();
        connection::Entity::insert(row).on_conflict(unless_there).exec_without_returning(&self.0).await?;
        Ok(())
    }

    /// The open connections of a user; `None` if there is no such user.
    async fn connections_of(&self, user: &UserId) -> Result<Option<Vec<String>>, DbErr> {
        if user::Entity::find_by_id(user.as_str()).one(&self.0).await?.is_none() {
            return Ok(None);
        }
        let rows = connection::Entity::find().filter(connection::Column::UserName.eq(user.as_str()));
        Ok(Some(rows.all(&self.0).await?.into_iter().map(|row| row.connection_id).collect()))
    }
}

/// The hub of sample 8.
pub(crate) fn chat_hub(users: UserContext) -> Hub {
    let (connects, reconnects, disconnects) = (users.clone(), users.clone(), users.clone());
    Hub::new("ChatHub")
        .state(users)
        .on_connected(move |Connected(context)| add(connects.clone(), context.caller().clone()))
        .on_reconnected(move |Reconnected { context, .. }| add(reconnects.clone(), context.caller().clone()))
        .on_disconnected(move |Disconnected { context, .. }| remove(disconnects.clone(), context.caller().clone()))
        .method("SendChatMessage", send_chat_message)
}

/// Sample 8, `OnConnected`. It has no `OnReconnected`, so that after a restart clients that reconnect are not found.
async fn add(users: UserContext, caller: Caller) -> Result<(), HubError> {
    if let Some(user) = caller.user() {
        users.add(user, &caller).await?;
    }
    Ok(())
}

/// Sample 8, `OnDisconnected`. There, a missing row is a null reference. Here, it is no error.
async fn remove(users: UserContext, caller: Caller) {
    // The next start of the process deletes a row that is left.
    let _ = connection::Entity::delete_by_id(caller.id().as_str()).exec(&users.0).await;
}

/// Sample 8, `SendChatMessage`. There, the user counts as offline if its collection of connections is null, but a loaded
/// collection is empty instead, so no caller learns of it. Here, the number of connections decides.
async fn send_chat_message(
    caller: Caller,
    clients: Clients,
    users: State<UserContext>,
    Args((who, message)): Args<(String, String)>,
) -> Result<Delivery, HubError> {
    let connections = match find_user_id(&who) {
        Some(user) => users.connections_of(&user).await?,
        None => None,
    };
    let Some(connections) = connections else { return Delivery::Unknown.report(&clients).await };
    let sent = clients.clients(connections).send("addChatMessage", chat_message(&caller, &message)).await?;
    Delivery::of(sent).report(&clients).await
}
