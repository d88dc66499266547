//! Rejoin tokens: made when they are written.

use std::time::SystemTime;

use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    pipeline::Claims,
    store::{
        Redemption,
        faulty::{FaultMode, FaultyStore},
    },
    tokens::Purpose,
};

impl TestEngine {
    /// Connects a client that receives tokens, and reads its first one.
    async fn connect_with_tokens(&mut self, user: &str) -> TestClient {
        let family = ConnectionId::random().to_string();
        self.connect_in_family(user, family).await
    }

    async fn connect_in_family(&mut self, user: &str, family: String) -> TestClient {
        let session = ScriptedSession { wants_tokens: true, ..ScriptedSession::default() };
        let mut new = self.new_connection(user, ConnectionId::random());
        new.token_subject.family = family;
        let mut client = Self::start_with(new, session);
        client.reader = Some(client.attach(Open::AtOnce).await.expect("the session attaches it"));
        client.send("connect").await;
        assert_eq!(self.event_log.recv().await.as_deref(), Some("connected"));
        assert_eq!(self.next_token(&mut client).await, [""; 0]);
        client
    }

    /// The groups of the token that is written next. Nothing else is written with it.
    async fn next_token(&self, client: &mut TestClient) -> Vec<String> {
        let groups = self.next_claims(client).await.groups();
        groups.all().iter().map(|key| key.name.to_string()).collect()
    }

    async fn next_claims(&self, client: &mut TestClient) -> Claims {
        let token = client.next_frame().await;
        let payload = self.rejoin_service.ring.current().open(Purpose::Rejoin, &token).expect("one token");
        Claims::decode(&payload).unwrap()
    }

    /// The number of groups in the stored list of a family, if there is one.
    async fn stored_groups(&self, family: &str) -> Option<usize> {
        let token = Redemption {
            user: None,
            issued_at: SystemTime::now(),
            groups: Vec::new(),
            list_of: Some(family.to_owned()),
            single_use: None,
        };
        let redeemed = self.services.durable.store.call(|store| store.tokens.redeem_all(std::slice::from_ref(&token)));
        redeemed.await.unwrap().remove(0).list.map(|list| list.groups.len())
    }

    /// An engine whose store can fail.
    fn with_faulty_store() -> (Self, Arc<FaultyStore<MemoryStore>>) {
        let store = Arc::new(FaultyStore::new(MemoryStore::default()));
        (Self::with_store(StoreParts::of(Arc::clone(&store))), store)
    }

    /// Connects a client in twenty groups, which are more than its token can list. Returns its family too.
    async fn connect_with_list(&mut self, user: &str) -> (TestClient, String) {
        let mut client = self.connect_with_tokens(user).await;
        let family = self.join_many(&mut client, 20).await;
        (client, family)
    }

    /// Joins more groups than a token can list. Returns the family.
    async fn join_many(&self, client: &mut TestClient, groups: usize) -> String {
        for number in 0..groups {
            self.join(client, &long_name(number)).await;
        }
        let claims = self.next_claims(client).await;
        assert!(claims.omitted() > 0);
        claims.family
    }

    /// Leaves so many groups of [`TestEngine::connect_with_list`] that the next token lists all others.
    async fn leave_half(&self, client: &mut TestClient) {
        for number in 10..20 {
            self.leave(client, &long_name(number)).await;
        }
        assert!(self.next_claims(client).await.is_complete());
    }

    async fn join(&self, client: &TestClient, group: &str) {
        let joined = self.services.router.join(&client.id, &key(group), JoinCause::Caller).await;
        assert_eq!(joined, Ok(Some(Joined::Now)), "{group}");
    }

    async fn leave(&self, client: &TestClient, group: &str) {
        let handle = self.services.connections.find(&client.id).unwrap();
        assert_eq!(handle.leave(&key(group), LeaveCause::Caller).await, Ok(Some(Left::Now)), "{group}");
    }
}

#[actix::test]
async fn changes_before_a_write_share_one_token() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect_with_tokens("ann").await;
    for group in ["a", "b", "c"] {
        engine.join(&client, group).await;
    }
    engine.leave(&client, "b").await;
    assert_eq!(engine.next_token(&mut client).await, ["a", "c"]);
    assert!(client.next_frame().now_or_never().is_none());
}

#[actix::test]
async fn reverted_change_sends_no_token() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect_with_tokens("ann").await;
    engine.join(&client, "a").await;
    engine.leave(&client, "a").await;
    assert!(client.next_frame().now_or_never().is_none());
    engine.join(&client, "b").await;
    assert_eq!(engine.next_token(&mut client).await, ["b"]);
}

/// The length with which sixteen groups fill a token.
fn long_name(number: usize) -> String {
    format!("{number:-<1000}")
}

#[actix::test]
async fn list_of_too_many_groups_is_stored_after_a_second() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect_with_tokens("ann").await;
    for number in 0..20 {
        engine.join(&client, &long_name(number)).await;
    }
    let claims = engine.next_claims(&mut client).await;
    assert!(claims.omitted() > 0);
    assert_eq!(engine.stored_groups(&claims.family).await, None);
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&claims.family).await, Some(20));
    engine.join(&client, &long_name(20)).await;
    engine.leave(&client, &long_name(19)).await;
    engine.leave(&client, &long_name(18)).await;
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&claims.family).await, Some(19));
    for number in 10..18 {
        engine.leave(&client, &long_name(number)).await;
    }
    assert!(engine.next_claims(&mut client).await.is_complete());
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&claims.family).await, Some(11), "the token may be on its way");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.stored_groups(&claims.family).await, None, "the token lists all groups");
}

#[actix::test]
async fn list_of_lost_client_stays_for_its_earlier_token() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let (mut client, family) = engine.connect_with_list("ann").await;
    sleep(Duration::from_millis(1_100)).await;
    engine.leave_half(&mut client).await;
    client.disconnect().await;
    sleep(SETTLE_TIME).await;
    assert_eq!(engine.stored_groups(&family).await, Some(10));
}

#[actix::test]
async fn lists_outlive_a_rejoin_that_ends() {
    tokio::time::pause();
    let (mut engine, store) = TestEngine::with_faulty_store();
    let (_ann, family) = engine.connect_with_list("ann").await;
    let (_bob, other) = engine.connect_with_list("bob").await;
    store.set_mode(FaultMode::Hold);
    let rejoin = engine.rejoin_service.lists.flush_family(&family);
    assert!(timeout(Duration::from_millis(1), rejoin).await.is_err());
    store.set_mode(FaultMode::None);
    sleep(Duration::from_millis(2_100)).await;
    for family in [family, other] {
        assert_eq!(engine.stored_groups(&family).await, Some(20));
    }
}

#[actix::test]
async fn rejoins_wait_once_for_a_silent_store() {
    tokio::time::pause();
    let (mut engine, store) = TestEngine::with_faulty_store();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(engine.connect_with_list("ann").await);
    }
    store.set_mode(FaultMode::Hold);
    let start = Instant::now();
    let lists = &engine.rejoin_service.lists;
    futures_util::future::join_all(clients.iter().map(|(_, family)| lists.flush_family(family))).await;
    assert!(start.elapsed() <= Duration::from_millis(5_100), "{:?}", start.elapsed());
    store.set_mode(FaultMode::None);
    sleep(Duration::from_millis(2_100)).await;
    for (_, family) in &clients {
        assert_eq!(engine.stored_groups(family).await, Some(20));
    }
}

#[actix::test]
async fn list_made_before_a_complete_token_is_saved_again() {
    tokio::time::pause();
    let (mut engine, store) = TestEngine::with_faulty_store();
    let (mut client, family) = engine.connect_with_list("ann").await;
    store.set_mode(FaultMode::Hold);
    sleep(Duration::from_millis(1_100)).await;
    engine.leave_half(&mut client).await;
    store.set_mode(FaultMode::None);
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&family).await, Some(10), "the token may be on its way");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.stored_groups(&family).await, None, "the token lists all groups");
}

#[actix::test]
async fn list_stays_for_a_client_that_returns_with_an_earlier_token() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let (mut client, family) = engine.connect_with_list("ann").await;
    engine.leave_half(&mut client).await;
    sleep(Duration::from_millis(1_100)).await;
    engine.rejoin_service.lists.flush_family(&family).await;
    assert_eq!(engine.stored_groups(&family).await, Some(10));
}

#[actix::test]
async fn lost_client_does_not_replace_the_list_of_its_successor() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let (lost, family) = engine.connect_with_list("ann").await;
    let mut back = engine.connect_in_family("ann", family.clone()).await;
    engine.join_many(&mut back, 25).await;
    engine.services.connections.find(&lost.id).unwrap().ended().cancel();
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&family).await, Some(25));
    engine.leave(&lost, &long_name(0)).await;
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(engine.stored_groups(&family).await, Some(25));
}

#[actix::test]
async fn latest_list_of_a_family_is_stored() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let (first, family) = engine.connect_with_list("ann").await;
    let mut second = engine.connect_in_family("ann", family.clone()).await;
    engine.join_many(&mut second, 25).await;
    // The order in which lists are taken depends on their addresses, and is the wrong one for one of these.
    for (earlier, later, number, left) in [(&first, &second, 0, 24), (&second, &first, 1, 18)] {
        engine.leave(earlier, &long_name(number)).await;
        engine.leave(later, &long_name(number)).await;
        sleep(Duration::from_millis(1_100)).await;
        assert_eq!(engine.stored_groups(&family).await, Some(left));
    }
}
