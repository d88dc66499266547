//! Groups tokens: the cases in which a client gets a new one.

use super::*;
use crate::{
    ids::GroupKey,
    pipeline::{Losses, RejoinReport},
};

const HALF: Duration = Duration::from_secs(12 * 60 * 60);

impl TestSession {
    /// The groups change. `are_known`: to those of the token that the client has.
    fn change_groups(&mut self, are_known: bool) -> Vec<String> {
        self.on(Event::GroupsChanged { are_known })
    }
}

#[test]
fn only_a_loss_is_reported() {
    let mut test = TestSession::open();
    let report = |lost| {
        Event::Rejoined(RejoinReport::new(
            &["chat".into()],
            [GroupKey::new(&"Chat".into(), &"a".into())],
            Losses { unlisted: lost, ..Losses::default() },
        ))
    };
    assert!(test.on(report(0)).is_empty());
    let sent = test.on(report(2)).concat();
    let message = r#"{"H":"chat","M":"hubcast:rejoined","A":[{"groups":{"Chat":["a"],"chat":[]}"#;
    assert!(sent.contains(message), "{sent}");
}

#[test]
fn every_change_sends_a_new_token() {
    let mut test = TestSession::open();
    for _ in 0..2 {
        assert_eq!(test.change_groups(false), ["send token"]);
    }
}

#[test]
fn groups_of_current_token_send_none() {
    let mut test = TestSession::open();
    assert_eq!(test.change_groups(true), ["send no token"]);
    test.change_groups(false);
    assert_eq!(test.change_groups(true), ["send no token"], "the change was reverted before its token was sent");
}

#[test]
fn next_channel_sends_unsent_or_lost_token() {
    let mut test = TestSession::open();
    for (has_unsent_token, has_current_token, expected) in [
        (false, true, &[][..]),
        (false, false, &["send token"]),
        (true, true, &["send token"]),
        (true, false, &["send token"]),
    ] {
        let channel = test.channel(Transport::LongPolling, ConnectKind::Other);
        let attached = ChannelAttached { has_unsent_token, has_current_token, ..channel };
        assert_eq!(test.attached(attached), expected, "unsent {has_unsent_token}, current {has_current_token}");
    }
}

#[test]
fn rejoin_compares_groups_with_presented_token() {
    let mut test = TestSession::open();
    let channel = test.channel(Transport::WebSockets, ConnectKind::Reconnect);
    let back = ChannelAttached { is_rejoined: true, has_current_token: false, ..channel };
    assert_eq!(test.attached(back), ["run reconnected", "refresh groups token"]);
}

#[test]
fn unchanged_token_is_renewed_at_half_lifetime() {
    let mut test = TestSession::open_with(Settings { keep_alive: None, ..Settings::default() });
    test.change_groups(false);
    test.attach(Transport::LongPolling, ConnectKind::Other);
    test.advance(seconds(110));
    assert_eq!(test.until_deadline(), Some(HALF - seconds(110)));
    assert!(test.advance(HALF - seconds(111)).is_empty());
    assert_eq!(test.advance(seconds(1)), ["refresh groups token"]);
    assert_eq!(test.change_groups(true), ["send token"]);
    assert_eq!(test.change_groups(true), ["send no token"], "that was the renewal");
    assert_eq!(test.until_deadline(), Some(HALF));
}

#[test]
fn client_without_groups_renews_no_token() {
    let mut test = TestSession::open();
    assert_eq!(test.advance(HALF), ["frame {}"]);
}
