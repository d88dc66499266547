//! What a client is told of its groups.

use super::*;
use crate::{connection::GroupsChanged, ids::GroupKey};

const HALF: Duration = Duration::from_secs(12 * 60 * 60);

fn groups(names: &[&str]) -> Vec<Arc<GroupKey>> {
    names.iter().map(|name| GroupKey::new(&"Chat".into(), &(*name).into())).collect()
}

fn joined(names: &[&str]) -> TokenGroups {
    TokenGroups { joined: groups(names), durable: Vec::new() }
}

impl Bench {
    /// Its groups are these now, and what was said before has reached the channel.
    fn in_groups(&mut self, names: &[&str], token: &str) -> Vec<String> {
        self.regrouped(names, token, false)
    }

    fn regrouped(&mut self, names: &[&str], token: &str, has_unsaid: bool) -> Vec<String> {
        self.on(Event::GroupsChanged(GroupsChanged { groups: joined(names), token: token.into(), has_unsaid }))
    }

    /// A new channel whose client brings this token.
    fn back_with(&mut self, token: Option<&str>, has_unsaid: bool) -> Vec<String> {
        let channel = self.channel(Transport::LongPolling, ConnectKind::Other);
        self.attached(&ChannelAttached { token: token.map(ToOwned::to_owned), has_unsaid, ..channel })
    }
}

#[test]
fn a_change_is_told_with_the_whole_set() {
    let mut bench = Bench::open();
    assert_eq!(bench.in_groups(&["a"], "T1"), [r#"tell "G":"T1""#]);
    assert_eq!(bench.in_groups(&["a", "b"], "T2"), [r#"tell "G":"T2""#]);
    assert_eq!(bench.in_groups(&[], "T3"), [r#"tell "G":"T3""#], "no group is news too");
}

#[test]
fn what_has_not_changed_is_not_told() {
    let mut bench = Bench::open();
    assert_eq!(bench.in_groups(&[], "T0"), ["tell nothing"]);
    bench.in_groups(&["a"], "T1");
    assert_eq!(bench.in_groups(&["a"], "T2"), ["tell nothing"]);
}

#[test]
fn what_changes_back_before_it_is_said_is_no_news() {
    let mut bench = Bench::open();
    bench.in_groups(&["a"], "T1");
    bench.in_groups(&["a", "b"], "T2");
    assert_eq!(bench.regrouped(&["a"], "T3", true), ["tell nothing"]);
    assert_eq!(bench.in_groups(&["a", "b"], "T4"), [r#"tell "G":"T4""#], "but later it is");
}

#[test]
fn a_client_that_brings_what_it_was_told_is_told_nothing() {
    let mut bench = Bench::open();
    bench.in_groups(&["a"], "T1");
    assert!(bench.back_with(Some("T1"), false).is_empty());
}

#[test]
fn a_token_that_got_lost_on_the_way_is_sent_again() {
    let mut bench = Bench::open();
    bench.in_groups(&["a"], "T1");
    for token in [None, Some("T0")] {
        assert_eq!(bench.back_with(token, false), [r#"tell "G":"T1""#], "{token:?}");
    }
}

#[test]
fn news_that_no_channel_has_said_are_said_on_the_next() {
    let mut bench = Bench::open();
    bench.in_groups(&["a"], "T1");
    bench.regrouped(&["a", "b"], "T2", false);
    assert_eq!(bench.back_with(Some("T1"), true), [r#"tell "G":"T2""#]);
}

#[test]
fn being_for_good_in_a_group_that_was_joined_before_is_news() {
    let mut bench = Bench::open();
    bench.in_groups(&["a"], "T1");
    let for_good = TokenGroups { joined: Vec::new(), durable: groups(&["a"]) };
    let regrouped = |token: &str| GroupsChanged { groups: for_good.clone(), token: token.into(), has_unsaid: false };
    assert_eq!(bench.on(Event::GroupsChanged(regrouped("T2"))), [r#"tell "G":"T2""#]);
    assert_eq!(bench.on(Event::GroupsChanged(regrouped("T3"))), ["tell nothing"]);
}

#[test]
fn a_client_that_returns_is_judged_by_the_groups_that_it_claimed() {
    let mut bench = Bench::open();
    let channel = bench.channel(Transport::WebSockets, ConnectKind::Reconnect);
    let back = ChannelAttached { token: Some("T1".into()), claimed: Some(joined(&["a", "b"])), ..channel };
    assert_eq!(bench.attached(&back), ["reconnect", "retoken"]);
    assert_eq!(bench.in_groups(&["a", "b"], "T2"), ["tell nothing"], "it is in just these");
}

#[test]
fn a_client_that_is_not_let_back_into_a_group_is_told_so() {
    let mut bench = Bench::open();
    let channel = bench.channel(Transport::WebSockets, ConnectKind::Reconnect);
    bench.attached(&ChannelAttached { token: Some("T1".into()), claimed: Some(joined(&["a", "b"])), ..channel });
    assert_eq!(bench.in_groups(&["a"], "T2"), [r#"tell "G":"T2""#]);
}

#[test]
fn a_token_is_renewed_at_half_its_life_although_nothing_has_changed() {
    let mut bench = Bench::open_with(Settings { keep_alive: None, ..Settings::default() });
    bench.in_groups(&["a"], "T1");
    bench.attach(Transport::LongPolling, ConnectKind::Other);
    bench.after(seconds(110));
    assert_eq!(bench.rests(), Some(HALF - seconds(110)));
    assert!(bench.after(HALF - seconds(111)).is_empty());
    assert_eq!(bench.after(seconds(1)), ["retoken"]);
    assert_eq!(bench.in_groups(&["a"], "T2"), [r#"tell "G":"T2""#]);
    assert_eq!(bench.in_groups(&["a"], "T3"), ["tell nothing"], "that was the renewal");
    assert_eq!(bench.rests(), Some(HALF));
}

#[test]
fn a_client_that_was_never_in_a_group_has_no_token_to_renew() {
    let mut bench = Bench::open();
    assert_eq!(bench.after(HALF), ["frame {}"]);
}
