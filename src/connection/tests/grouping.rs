//! Joins and leaves that meet each other, and the deaths of groups.

use super::*;

/// Who is in a group.
async fn members(house: &House, group: &str) -> Vec<ConnectionId> {
    let snapshot = house.services.groups.inspect(&key(group)).await.unwrap();
    snapshot.map_or_else(Vec::new, |snapshot| snapshot.members)
}

#[actix::test]
async fn a_member_whose_group_has_died_is_a_member_again() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &["lobby"]).await;
    house.services.groups.crash(Some(&key("lobby"))).await;
    client.outbox.tell_lost(key("a group it is not in"), 1_000);
    sleep(QUIET).await;
    assert_eq!(members(&house, "lobby").await, std::slice::from_ref(&client.id));
    assert_eq!(house.services.groups.count(), 1);
}

/// Lets everybody else on this thread do something.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn whoever_is_told_that_it_has_joined_is_a_member_although_the_group_dies_meanwhile() {
    tokio::time::pause();
    for pause in 0..30 {
        let mut house = House::new();
        let _bob = house.connect("bob", &["lobby"]).await;
        let ann = house.connect("ann", &[]).await;
        let services = Arc::clone(&house.services);
        let crash = actix::spawn(async move {
            turns(pause).await;
            services.groups.crash(Some(&key("lobby"))).await;
        });
        let (services, id) = (Arc::clone(&house.services), ann.id.clone());
        let join = actix::spawn(async move { services.join(&id, &key("lobby"), JoinCause::Caller).await });
        assert_eq!(join.await.unwrap(), Ok(Some(Joined::Now)));
        crash.await.unwrap();
        sleep(QUIET).await;
        assert!(members(&house, "lobby").await.contains(&ann.id), "the group dies after {pause} turns");
    }
}

#[actix::test]
async fn of_what_is_asked_of_a_group_at_once_the_last_holds() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &[]).await;
    let lobby = key("lobby");
    let join = |whose| house.services.join(&client.id, &lobby, whose);
    for whose in [JoinCause::Caller, JoinCause::Store] {
        let (joined, left) = tokio::join!(join(whose), house.services.leave(&client.id, &lobby));
        assert_eq!((joined, left), (Ok(Some(Joined::Now)), Ok(Some(Left::Now))));
        sleep(QUIET).await;
        assert_eq!(members(&house, "lobby").await, []);
    }
    let (joined, left, again) =
        tokio::join!(join(JoinCause::Caller), house.services.leave(&client.id, &lobby), join(JoinCause::Caller));
    assert_eq!((joined, left, again), (Ok(Some(Joined::Now)), Ok(Some(Left::Now)), Ok(Some(Joined::Now))));
    assert_eq!(members(&house, "lobby").await, std::slice::from_ref(&client.id));
}

#[actix::test]
async fn whoever_has_left_a_group_is_not_put_back_when_it_dies() {
    tokio::time::pause();
    for pause in 0..30 {
        let mut house = House::new();
        let _bob = house.connect("bob", &["lobby"]).await;
        let ann = house.connect("ann", &["lobby"]).await;
        let services = Arc::clone(&house.services);
        let crash = actix::spawn(async move {
            turns(pause).await;
            services.groups.crash(Some(&key("lobby"))).await;
        });
        let left = house.services.leave(&ann.id, &key("lobby")).await;
        crash.await.unwrap();
        sleep(QUIET).await;
        let is_member = members(&house, "lobby").await.contains(&ann.id);
        assert!(left.is_err() || !is_member, "the group dies after {pause} turns: {left:?}");
    }
}
