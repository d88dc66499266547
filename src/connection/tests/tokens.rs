//! Rejoin tokens: made when they are written.

use super::*;
use crate::{pipeline::Claims, tokens::Purpose};

impl TestEngine {
    /// Connects a client that receives tokens, and reads its first one.
    async fn connect_with_tokens(&mut self, user: &str) -> TestClient {
        let session = ScriptedSession { wants_tokens: true, ..ScriptedSession::default() };
        let mut client = self.open_with(user, ConnectionId::random(), session).await;
        client.send("connect").await;
        assert_eq!(self.event_log.recv().await.as_deref(), Some("connected"));
        assert_eq!(self.next_token(&mut client).await, [""; 0]);
        client
    }

    /// The groups of the token that is written next. Nothing else is written with it.
    async fn next_token(&self, client: &mut TestClient) -> Vec<String> {
        let token = client.next_frame().await;
        let payload = self.rejoin_service.ring.current().open(Purpose::Rejoin, &token).expect("one token");
        let groups = Claims::decode(&payload).unwrap().groups();
        groups.all().iter().map(|key| key.name.to_string()).collect()
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
