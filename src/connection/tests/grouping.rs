//! Tests of concurrent joins and leaves, and of group crashes.

use super::*;

/// The members of a group.
async fn members(engine: &TestEngine, group: &str) -> Vec<ConnectionId> {
    let snapshot = engine.services.groups.inspect(&key(group)).await.unwrap();
    snapshot.map_or_else(Vec::new, |snapshot| snapshot.members)
}

#[actix::test]
async fn members_rejoin_after_group_crash() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &["lobby"]).await;
    engine.services.groups.crash(Some(&key("lobby"))).await;
    client.outbox.report_group_lost(key("a group it is not in"), 1_000);
    sleep(SETTLE_TIME).await;
    assert_eq!(members(&engine, "lobby").await, std::slice::from_ref(&client.id));
    assert_eq!(engine.services.groups.count(), 1);
}

/// Yields to the other tasks of this thread this many times.
async fn yield_times(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn completed_join_survives_concurrent_group_crash() {
    tokio::time::pause();
    for pause in 0..30 {
        let mut engine = TestEngine::new();
        let _bob = engine.connect("bob", &["lobby"]).await;
        let ann = engine.connect("ann", &[]).await;
        let services = Arc::clone(&engine.services);
        let crash = actix::spawn(async move {
            yield_times(pause).await;
            services.groups.crash(Some(&key("lobby"))).await;
        });
        let (services, id) = (Arc::clone(&engine.services), ann.id.clone());
        let join = actix::spawn(async move { services.router.join(&id, &key("lobby"), JoinCause::Caller).await });
        assert_eq!(join.await.unwrap(), Ok(Some(Joined::Now)));
        crash.await.unwrap();
        sleep(SETTLE_TIME).await;
        assert!(members(&engine, "lobby").await.contains(&ann.id), "the group crashes after {pause} yields");
    }
}

#[actix::test]
async fn last_of_concurrent_group_operations_wins() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &[]).await;
    let lobby = key("lobby");
    let join = |cause| engine.services.router.join(&client.id, &lobby, cause);
    for cause in [JoinCause::Caller, JoinCause::Store] {
        let (joined, left) = tokio::join!(join(cause), engine.services.router.leave(&client.id, &lobby));
        assert_eq!((joined, left), (Ok(Some(Joined::Now)), Ok(Some(Left::Now))));
        sleep(SETTLE_TIME).await;
        assert_eq!(members(&engine, "lobby").await, []);
    }
    let (joined, left, again) = tokio::join!(
        join(JoinCause::Caller),
        engine.services.router.leave(&client.id, &lobby),
        join(JoinCause::Caller)
    );
    assert_eq!((joined, left, again), (Ok(Some(Joined::Now)), Ok(Some(Left::Now)), Ok(Some(Joined::Now))));
    assert_eq!(members(&engine, "lobby").await, std::slice::from_ref(&client.id));
}

#[actix::test]
async fn left_group_is_not_rejoined_after_crash() {
    tokio::time::pause();
    for pause in 0..30 {
        let mut engine = TestEngine::new();
        let _bob = engine.connect("bob", &["lobby"]).await;
        let ann = engine.connect("ann", &["lobby"]).await;
        let services = Arc::clone(&engine.services);
        let crash = actix::spawn(async move {
            yield_times(pause).await;
            services.groups.crash(Some(&key("lobby"))).await;
        });
        let left = engine.services.router.leave(&ann.id, &key("lobby")).await;
        crash.await.unwrap();
        sleep(SETTLE_TIME).await;
        let is_member = members(&engine, "lobby").await.contains(&ann.id);
        assert!(left.is_err() || !is_member, "the group crashes after {pause} yields: {left:?}");
    }
}
