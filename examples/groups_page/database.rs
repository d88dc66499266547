//! Samples 6 and 7: members of rooms in a database.
//!
//! Sample 6 is the entity model. hubcast's store has its tables, and writes them itself:
//!
//! | sample 6 | here |
//! |---|---|
//! | `User`, `User.Rooms` | tables `users` and `user_rooms` of the store: a user has a row while it is a member |
//! | `Connection` | table `connections` of the store. There, a row whose process was killed says `Connected` forever. Here, a record counts while the lease of its process lasts |
//! | `ConversationRoom` | table `rooms` of this application, which decides the rooms that exist |

use std::collections::HashSet;

use hubcast::{Args, Caller, Hub, HubError, State, Users};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, DbErr, EntityTrait,
    QueryFilter, Schema, sea_query::OnConflict,
};
use serde_json::json;

use crate::{
    members::{self, MembershipChange},
    rooms,
};

/// `ConversationRoom` of sample 6.
#[expect(unreachable_pub, reason = "the entity is generated as public")]
mod conversation_room {
    use sea_orm::entity::prelude::*;

    /// A room that exists.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "rooms")]
    pub struct Model {
        /// The name of its group.
        #[sea_orm(primary_key, auto_increment = false)]
        pub room_name: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

use conversation_room::{ActiveModel, Column, Entity, Model};

/// The rooms that exist.
#[derive(Clone)]
pub(crate) struct Rooms(DatabaseConnection);

impl Rooms {
    /// Opens the table of rooms, and adds these if they are missing.
    pub(crate) async fn open(url: &str, names: &[&str]) -> Result<Self, DbErr> {
        let db = Database::connect(url).await?;
        let mut table = Schema::new(db.get_database_backend()).create_table_from_entity(Entity);
        if db.get_database_backend() == DatabaseBackend::MySql {
            // By default, `Lobby` and `lobby` would be one room.
            table.character_set("utf8mb4").collate("utf8mb4_bin");
        }
        db.execute(table.if_not_exists()).await?;
        let rooms = names.iter().map(|name| ActiveModel { room_name: Set((*name).to_owned()) });
        let unless_there = OnConflict::column(Column::RoomName).do_nothing_on([Column::RoomName]).to_owned();
        Entity::insert_many(rooms).on_conflict(unless_there).exec_without_returning(&db).await?;
        Ok(Self(db))
    }

    /// Those of `names` that are rooms.
    pub(crate) async fn among(&self, names: &[&str]) -> Result<HashSet<String>, DbErr> {
        let rooms = Entity::find().filter(Column::RoomName.is_in(names.iter().copied())).all(&self.0).await?;
        Ok(rooms.into_iter().map(|Model { room_name }| room_name).collect())
    }

    async fn require(&self, name: &str) -> Result<(), HubError> {
        if self.among(&[name]).await?.is_empty() {
            let data = json!({ "code": "unknownRoom", "room": name });
            return Err(HubError::new(format!("There is no room `{name}`.")).with_data(&data));
        }
        Ok(())
    }
}

/// The hub of sample 7, and `JoinRoom` of sample 1 for guests, who are in a room until their connection ends.
///
/// There, `OnConnected` adds the connection to the rooms of its user and does not wait, so a message that follows at once
/// can miss it, and two first connections of a user at the same time insert the same key, so one of them fails. Here,
/// hubcast does both before the first call.
pub(crate) fn chat_hub(rooms: Rooms) -> Hub {
    members::chat_hub()
        .state(rooms)
        .method("AddToRoom", add_to_room)
        .method("RemoveFromRoom", remove_from_room)
        .method("JoinRoom", rooms::join_room)
}

/// Sample 7, `AddToRoom`. There, an unknown room is no error, only the calling connection joins, and a crash after the
/// write leaves a member that is not in the group. Here, an unknown room is an error with a code, all connections of the
/// user join before the answer, and the reconciler of the engine makes joins that a crash has prevented.
async fn add_to_room(
    caller: Caller,
    users: Users,
    rooms: State<Rooms>,
    Args((room_name,)): Args<(String,)>,
) -> Result<MembershipChange, HubError> {
    rooms.require(&room_name).await?;
    members::add(&caller, &users, room_name).await
}

/// Sample 7, `RemoveFromRoom`. There, the other connections of the user stay in the group until they end. Here, all of
/// them leave before the answer.
async fn remove_from_room(
    caller: Caller,
    users: Users,
    rooms: State<Rooms>,
    Args((room_name,)): Args<(String,)>,
) -> Result<MembershipChange, HubError> {
    rooms.require(&room_name).await?;
    members::remove(&caller, &users, room_name).await
}
