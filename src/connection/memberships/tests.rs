//! Tests of answers that arrive out of order, and of the groups that a channel receives messages from.

use super::*;
use crate::group::Joined;

fn key(name: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &name.into())
}

fn names(keys: &[Arc<GroupKey>]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

/// The groups that the client receives messages from.
fn received(memberships: &Memberships) -> Vec<String> {
    memberships.token_groups().all().iter().map(|key| key.name.to_string()).collect()
}

/// The admission by the group of that generation.
fn admitted_by(generation: u64) -> Option<Admission> {
    Some(Admission::Member(Joined::Now, Generation(generation)))
}

fn join(memberships: &mut Memberships, name: &str) {
    assert!(memberships.begin_join(&key(name), false));
    assert_eq!(memberships.end_join(&key(name), admitted_by(1)), JoinStep::Done);
}

fn leave(memberships: &mut Memberships, name: &str, is_restoring: bool) {
    memberships.begin_leave(&key(name), LeaveCause::Caller);
    memberships.end_leave(&key(name), LeaveCause::Caller, true, is_restoring);
}

fn in_groups(wanted: &[&str]) -> Memberships {
    let mut memberships = Memberships::default();
    for name in wanted {
        join(&mut memberships, name);
    }
    memberships
}

#[test]
fn join_is_listed_before_its_answer() {
    let mut memberships = Memberships::default();
    assert!(memberships.begin_join(&key("a"), false));
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 0));
    assert_eq!(memberships.end_join(&key("a"), admitted_by(1)), JoinStep::Done);
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 1));
}

#[test]
fn failed_join_is_dropped() {
    for answer in [None, Some(Admission::Ended)] {
        let mut memberships = Memberships::default();
        assert!(memberships.begin_join(&key("a"), false));
        assert_eq!(memberships.end_join(&key("a"), answer), JoinStep::Done);
        assert_eq!(memberships.all().count(), 0);
    }
}

#[test]
fn failed_leave_changes_nothing() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"), LeaveCause::Caller);
    memberships.end_leave(&key("a"), LeaveCause::Caller, false, false);
    assert_eq!(received(&memberships), ["a"]);
    leave(&mut memberships, "a", false);
    assert_eq!(memberships.all().count(), 0);
}

#[test]
fn restore_does_not_undo_a_later_leave() {
    let mut memberships = in_groups(&["a"]);
    leave(&mut memberships, "a", true);
    assert!(!memberships.begin_join(&key("a"), true));
    assert!(memberships.begin_join(&key("b"), true), "that group was not left");
    memberships.end_restore();
    assert!(memberships.begin_join(&key("a"), true), "a later restore may join it");
}

#[test]
fn requested_join_undoes_leave_for_restores_too() {
    let mut memberships = in_groups(&["a"]);
    leave(&mut memberships, "a", true);
    join(&mut memberships, "a");
    assert!(memberships.begin_join(&key("a"), true));
}

#[test]
fn leaves_are_remembered_only_during_a_restore() {
    let mut memberships = in_groups(&["a", "b"]);
    leave(&mut memberships, "a", false);
    assert_eq!(memberships.all().count(), 1);
    leave(&mut memberships, "b", true);
    assert_eq!((memberships.all().count(), memberships.entries.len()), (0, 1));
    memberships.end_restore();
    assert_eq!(memberships.entries.len(), 0);
}

fn join_durably(memberships: &mut Memberships, name: &str) {
    join(memberships, name);
    assert!(memberships.make_durable(&key(name)));
}

#[test]
fn group_is_missing_until_joined_durably() {
    let mut memberships = in_groups(&["a"]);
    assert!(memberships.is_missing(&key("a")) && memberships.is_missing(&key("b")));
    assert!(memberships.make_durable(&key("a")));
    assert!(!memberships.is_missing(&key("a")));
    assert_eq!(names(&memberships.durable_and_declined()), ["a"]);
}

#[test]
fn only_durable_groups_end_with_the_store() {
    let mut memberships = in_groups(&["a"]);
    join_durably(&mut memberships, "b");
    assert!(!memberships.end_durable(&key("a")) && memberships.end_durable(&key("b")));
    assert!(!memberships.end_durable(&key("c")));
    assert_eq!(memberships.entries.len(), 2);
}

#[test]
fn durable_group_left_by_request_is_declined() {
    for cause in [LeaveCause::Caller, LeaveCause::User, LeaveCause::Repair] {
        let mut memberships = Memberships::default();
        join_durably(&mut memberships, "a");
        memberships.begin_leave(&key("a"), cause);
        memberships.end_leave(&key("a"), cause, true, false);
        let is_declined = cause == LeaveCause::Caller;
        assert_eq!(!memberships.is_missing(&key("a")), is_declined, "{cause:?}");
        assert_eq!(memberships.durable_and_declined().len(), usize::from(is_declined), "{cause:?}");
        assert_eq!((memberships.durable().len(), memberships.all().count()), (0, 0), "{cause:?}");
    }
}

#[test]
fn refused_restore_is_declined_after_own_leave_only() {
    use LeaveCause::{Caller, Repair, User};
    for (causes, is_declined) in [
        (&[Caller][..], true),
        (&[User], false),
        (&[Repair], false),
        (&[Caller, User], false),
        (&[User, Caller], false),
        (&[Caller, Caller], true),
    ] {
        let mut memberships = Memberships::default();
        for cause in causes {
            memberships.begin_leave(&key("a"), *cause);
            memberships.end_leave(&key("a"), *cause, true, true);
        }
        assert!(!memberships.begin_join(&key("a"), true), "{causes:?}");
        memberships.decline(&key("a"));
        memberships.end_restore();
        assert_eq!(!memberships.is_missing(&key("a")), is_declined, "{causes:?}");
        assert_eq!(memberships.entries.len(), usize::from(is_declined), "{causes:?}");
    }
}

#[test]
fn later_change_undoes_a_declined_group() {
    let declined = || {
        let mut memberships = Memberships::default();
        join_durably(&mut memberships, "a");
        leave(&mut memberships, "a", false);
        memberships
    };
    let mut joined = declined();
    join(&mut joined, "a");
    assert!(joined.is_missing(&key("a")), "it is in the group, but not for its user");
    let mut removed = declined();
    leave(&mut removed, "a", false);
    assert!(!removed.is_missing(&key("a")), "another leave changes nothing");
    removed.begin_leave(&key("a"), LeaveCause::User);
    removed.end_leave(&key("a"), LeaveCause::User, true, false);
    assert!(removed.is_missing(&key("a")));
    let mut ended = declined();
    assert!(!ended.end_durable(&key("a")));
    assert!(ended.is_missing(&key("a")) && ended.entries.is_empty());
}

#[test]
fn members_rejoin_a_crashed_group() {
    let mut memberships = in_groups(&["a"]);
    assert!(!memberships.record_crash(&key("b"), Generation(1)), "it is not in that one");
    assert!(!memberships.record_crash(&key("a"), Generation(0)), "it is in a later one");
    assert!(memberships.record_crash(&key("a"), Generation(1)));
    assert!(memberships.needs_rejoin(&key("a")));
    assert_eq!(received(&memberships), ["a"], "it counts as a member meanwhile");
    assert!(memberships.begin_join(&key("a"), true));
    assert_eq!(memberships.end_join(&key("a"), admitted_by(2)), JoinStep::Done);
    assert!(!memberships.needs_rejoin(&key("a")));
}

#[test]
fn group_crash_before_join_answer_retries_the_join() {
    for is_member in [false, true] {
        let mut memberships = if is_member { in_groups(&["a"]) } else { Memberships::default() };
        assert!(memberships.begin_join(&key("a"), false));
        assert!(!memberships.record_crash(&key("a"), Generation(1)), "the answer of the join decides");
        assert_eq!(memberships.end_join(&key("a"), admitted_by(1)), JoinStep::Retry);
        assert!(memberships.begin_join(&key("a"), false));
        assert_eq!(memberships.end_join(&key("a"), admitted_by(2)), JoinStep::Done);
        assert_eq!(received(&memberships), ["a"]);
    }
}

#[test]
fn failed_rejoin_leaves_rejoin_pending() {
    let mut memberships = in_groups(&["a"]);
    assert!(memberships.begin_join(&key("a"), false));
    assert!(!memberships.record_crash(&key("a"), Generation(1)), "the answer of the join decides");
    assert_eq!(memberships.end_join(&key("a"), None), JoinStep::Done);
    assert!(memberships.needs_rejoin(&key("a")));
}

#[test]
fn groups_not_requested_by_the_channel_are_filtered() {
    let mut memberships = in_groups(&["a", "b", "c"]);
    memberships.receive_from(&key("c"), 7);
    memberships.filter_all_except(&[key("a")], 7);
    assert_eq!(received(&memberships), ["a", "c"], "groups joined meanwhile are received");
    assert_eq!(memberships.filtered(), HashSet::from([key("b")]));
    assert_eq!(memberships.members().count(), 3, "filtered groups stay joined");
    memberships.receive_from(&key("b"), 8);
    assert_eq!(received(&memberships), ["a", "b", "c"]);
    memberships.filter_all_except(&[], 9);
    assert_eq!(received(&memberships), [""; 0]);
}

#[test]
fn claimed_groups_are_adjusted_by_unseen_changes() {
    let mut memberships = in_groups(&["new", "old"]);
    memberships.receive_from(&key("old"), 3);
    memberships.receive_from(&key("new"), 5);
    memberships.record_leave(&key("left early"), 4);
    memberships.record_leave(&key("left late"), 5);
    let claimed = || vec![key("left early"), key("left late"), key("kept")];
    let adjusted = |cursor| memberships.changes_since(cursor).apply(claimed());
    assert_eq!(names(&adjusted(5)), ["left early", "kept", "new"]);
    assert_eq!(names(&adjusted(3)), ["kept", "new", "old"]);
    assert_eq!(names(&adjusted(6)), ["left early", "left late", "kept"]);
}

#[test]
fn restored_groups_are_unseen_until_sent_or_claimed() {
    let mut memberships = in_groups(&["claimed", "joined", "filtered", "restored"]);
    memberships.filter_all_except(&["claimed", "joined", "restored"].map(key), 0);
    memberships.receive_from(&key("joined"), 3);
    memberships.record_restored(&[key("claimed")], 5);
    memberships.record_restored(&[key("claimed")], 7);
    for (cursor, unseen) in [(3, &["joined", "restored"][..]), (5, &["restored"]), (6, &[])] {
        assert_eq!(names(&memberships.changes_since(cursor).apply(Vec::new())), unseen, "{cursor}");
    }
}

#[test]
fn recorded_leaves_are_bounded_and_drop_oldest() {
    let mut memberships = Memberships::default();
    for at in 0..=MAX_RECORDED_LEAVES as u64 {
        memberships.record_leave(&key(&at.to_string()), at);
    }
    let adjusted = memberships.changes_since(0).apply(vec![key("0"), key("1")]);
    assert_eq!(names(&adjusted), ["0"]);
}

#[test]
fn durable_groups_are_listed_apart() {
    let mut memberships = Memberships::default();
    let shared = Arc::clone(memberships.share_received());
    join(&mut memberships, "a");
    join(&mut memberships, "b");
    assert!(memberships.make_durable(&key("a")));
    assert_eq!(memberships.token_groups(), TokenGroups { joined: vec![key("b")], durable: vec![key("a")] });
    assert_eq!(lock_groups(&shared).all(), memberships.token_groups());
    leave(&mut memberships, "a", false);
    join(&mut memberships, "a");
    assert_eq!(memberships.token_groups().joined, [key("a"), key("b")]);
    assert_eq!(lock_groups(&shared).all(), memberships.token_groups());
}
