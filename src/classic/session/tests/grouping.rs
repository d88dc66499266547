//! Groups tokens: the cases in which a client gets a new one.

use super::*;
use crate::{connection::GroupsChanged, ids::GroupKey, pipeline::RejoinReport};

const HALF: Duration = Duration::from_secs(12 * 60 * 60);

fn groups(names: &[&str]) -> Vec<Arc<GroupKey>> {
    names.iter().map(|name| GroupKey::new(&"Chat".into(), &(*name).into())).collect()
}

fn joined(names: &[&str]) -> TokenGroups {
    TokenGroups { joined: groups(names), durable: Vec::new() }
}

impl TestSession {
    /// The groups change after the previous token was sent.
    fn change_groups(&mut self, names: &[&str], token: &str) -> Vec<String> {
        self.change_groups_with(names, token, false)
    }

    fn change_groups_with(&mut self, names: &[&str], token: &str, has_unsent_token: bool) -> Vec<String> {
        self.on(Event::GroupsChanged(GroupsChanged { groups: joined(names), token: token.into(), has_unsent_token }))
    }

    /// Attaches a channel whose client presents this token.
    fn attach_with_token(&mut self, token: Option<&str>, has_unsent_token: bool) -> Vec<String> {
        let channel = self.channel(Transport::LongPolling, ConnectKind::Other);
        self.attached(&ChannelAttached { token: token.map(ToOwned::to_owned), has_unsent_token, ..channel })
    }
}

#[test]
fn only_a_loss_is_reported() {
    let mut test = TestSession::open();
    let report = |lost| Event::Rejoined(RejoinReport::new(&["chat".into()], groups(&["a"]), None, lost));
    assert!(test.on(report(0)).is_empty());
    let sent = test.on(report(2)).concat();
    let message = r#"{"H":"chat","M":"hubcast:rejoined","A":[{"groups":{"Chat":["a"],"chat":[]}"#;
    assert!(sent.contains(message), "{sent}");
}

#[test]
fn every_change_sends_a_new_token() {
    let mut test = TestSession::open();
    assert_eq!(test.change_groups(&["a"], "T1"), [r#"groups token "G":"T1""#]);
    assert_eq!(test.change_groups(&["a", "b"], "T2"), [r#"groups token "G":"T2""#]);
    assert_eq!(test.change_groups(&[], "T3"), [r#"groups token "G":"T3""#], "leaving all groups is a change too");
}

#[test]
fn unchanged_groups_send_no_token() {
    let mut test = TestSession::open();
    assert_eq!(test.change_groups(&[], "T0"), ["no groups token"]);
    test.change_groups(&["a"], "T1");
    assert_eq!(test.change_groups(&["a"], "T2"), ["no groups token"]);
}

#[test]
fn reverted_unsent_change_sends_no_token() {
    let mut test = TestSession::open();
    test.change_groups(&["a"], "T1");
    test.change_groups(&["a", "b"], "T2");
    assert_eq!(test.change_groups_with(&["a"], "T3", true), ["no groups token"]);
    assert_eq!(test.change_groups(&["a", "b"], "T4"), [r#"groups token "G":"T4""#], "but later it is");
}

#[test]
fn presented_current_token_is_not_sent_again() {
    let mut test = TestSession::open();
    test.change_groups(&["a"], "T1");
    assert!(test.attach_with_token(Some("T1"), false).is_empty());
}

#[test]
fn lost_token_is_sent_again() {
    let mut test = TestSession::open();
    test.change_groups(&["a"], "T1");
    for token in [None, Some("T0")] {
        assert_eq!(test.attach_with_token(token, false), [r#"groups token "G":"T1""#], "{token:?}");
    }
}

#[test]
fn unsent_token_is_sent_on_next_channel() {
    let mut test = TestSession::open();
    test.change_groups(&["a"], "T1");
    test.change_groups_with(&["a", "b"], "T2", false);
    assert_eq!(test.attach_with_token(Some("T1"), true), [r#"groups token "G":"T2""#]);
}

#[test]
fn joined_group_becoming_durable_sends_a_token() {
    let mut test = TestSession::open();
    test.change_groups(&["a"], "T1");
    let durable = TokenGroups { joined: Vec::new(), durable: groups(&["a"]) };
    let changed = |token: &str| GroupsChanged { groups: durable.clone(), token: token.into(), has_unsent_token: false };
    assert_eq!(test.on(Event::GroupsChanged(changed("T2"))), [r#"groups token "G":"T2""#]);
    assert_eq!(test.on(Event::GroupsChanged(changed("T3"))), ["no groups token"]);
}

#[test]
fn rejoin_compares_with_claimed_groups() {
    let mut test = TestSession::open();
    let channel = test.channel(Transport::WebSockets, ConnectKind::Reconnect);
    let back = ChannelAttached { token: Some("T1".into()), claimed: Some(joined(&["a", "b"])), ..channel };
    assert_eq!(test.attached(&back), ["run reconnected", "refresh groups token"]);
    assert_eq!(test.change_groups(&["a", "b"], "T2"), ["no groups token"], "it is in just these");
}

#[test]
fn rejected_rejoin_sends_a_token() {
    let mut test = TestSession::open();
    let channel = test.channel(Transport::WebSockets, ConnectKind::Reconnect);
    test.attached(&ChannelAttached { token: Some("T1".into()), claimed: Some(joined(&["a", "b"])), ..channel });
    assert_eq!(test.change_groups(&["a"], "T2"), [r#"groups token "G":"T2""#]);
}

#[test]
fn unchanged_token_is_renewed_at_half_lifetime() {
    let mut test = TestSession::open_with(Settings { keep_alive: None, ..Settings::default() });
    test.change_groups(&["a"], "T1");
    test.attach(Transport::LongPolling, ConnectKind::Other);
    test.advance(seconds(110));
    assert_eq!(test.until_deadline(), Some(HALF - seconds(110)));
    assert!(test.advance(HALF - seconds(111)).is_empty());
    assert_eq!(test.advance(seconds(1)), ["refresh groups token"]);
    assert_eq!(test.change_groups(&["a"], "T2"), [r#"groups token "G":"T2""#]);
    assert_eq!(test.change_groups(&["a"], "T3"), ["no groups token"], "that was the renewal");
    assert_eq!(test.until_deadline(), Some(HALF));
}

#[test]
fn client_without_groups_renews_no_token() {
    let mut test = TestSession::open();
    assert_eq!(test.advance(HALF), ["frame {}"]);
}
