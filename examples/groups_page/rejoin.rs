//! Sample 10: the groups that a client rejoins are checked against the database.

use hubcast::{
    GroupName, HubFilter,
    filters::{Decision, EventKind, Events, RejoiningGroups},
};

use crate::database::Rooms;

/// `RejoingGroupPipelineModule`, with its name corrected.
///
/// There, the module replaces the groups of the client by its rooms in the database:
///
/// * Groups that are no rooms, such as one for a game, are lost. Here, they stay.
/// * A user without a row is an exception. Here, such a user is in no room.
/// * Each hub gets the same list. Here, the filter belongs to one hub, and so does each membership.
/// * It queries the database at each request of a client over server-sent events or long polling, and blocks a thread
///   meanwhile. Here, it runs once for each hub when a client reconnects, and does not block.
///
/// `RejoinSettings` decides without a filter if all groups are rooms: the policy `Store` is the sample's rule.
pub(crate) struct RejoiningRooms(pub(crate) Rooms);

impl HubFilter for RejoiningRooms {
    fn events(&self) -> Events {
        EventKind::RejoiningGroups.into()
    }

    async fn rejoining_groups(&self, mut event: RejoiningGroups) -> Decision<RejoiningGroups> {
        let mut member_of = match &event.user {
            Some(user) => event.users.groups_of(user.clone()).await?,
            None => Vec::new(),
        };
        let names: Vec<_> = event.groups.iter().map(GroupName::as_str).collect();
        let rooms = self.0.among(&names).await?;
        event.groups.retain(|group| !rooms.contains(&**group) && !member_of.contains(group));
        event.groups.append(&mut member_of);
        println!("rejoining {} as {}: {}", event.hub, event.user.as_deref().unwrap_or("nobody"), list(&event.groups));
        Ok(event)
    }
}

fn list(groups: &[GroupName]) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(", ")
}
