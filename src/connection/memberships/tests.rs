//! Answers that overtake each other, and what a channel hears.

use super::*;
use crate::group::Joined;

fn key(name: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &name.into())
}

fn names(keys: &[Arc<GroupKey>]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

/// Let in by the group of that generation.
fn within(generation: u64) -> Option<Admission> {
    Some(Admission::Member(Joined::Now, Generation(generation)))
}

fn join(memberships: &mut Memberships, name: &str) {
    assert!(memberships.begin_join(&key(name), false));
    assert_eq!(memberships.end_join(&key(name), within(1)), Joining::Done);
}

fn leave(memberships: &mut Memberships, name: &str, is_restoring: bool) {
    memberships.begin_leave(&key(name));
    memberships.end_leave(&key(name), true, is_restoring);
}

fn in_groups(wanted: &[&str]) -> Memberships {
    let mut memberships = Memberships::default();
    for name in wanted {
        join(&mut memberships, name);
    }
    memberships
}

#[test]
fn a_join_is_listed_from_its_beginning_and_counts_from_its_answer() {
    let mut memberships = Memberships::default();
    memberships.begin_join(&key("a"), false);
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 0));
    memberships.end_join(&key("a"), within(1));
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 1));
}

#[test]
fn a_join_that_came_to_nothing_is_forgotten() {
    for answer in [None, Some(Admission::Ended)] {
        let mut memberships = Memberships::default();
        memberships.begin_join(&key("a"), false);
        memberships.end_join(&key("a"), answer);
        assert_eq!(memberships.all().count(), 0);
    }
}

#[test]
fn a_leave_that_is_not_answered_changes_nothing() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"));
    memberships.end_leave(&key("a"), false, false);
    assert_eq!(names(&memberships.heard()), ["a"]);
    leave(&mut memberships, "a", false);
    assert_eq!(memberships.all().count(), 0);
}

#[test]
fn a_restoration_does_not_undo_what_was_left_since_it_began() {
    let mut memberships = in_groups(&["a"]);
    leave(&mut memberships, "a", true);
    assert!(!memberships.begin_join(&key("a"), true));
    assert!(memberships.begin_join(&key("b"), true), "nobody left that one");
    memberships.end_restoration();
    assert!(memberships.begin_join(&key("a"), true), "the next restoration knows better");
}

#[test]
fn a_join_that_somebody_asks_for_undoes_a_leave_even_for_a_restoration() {
    let mut memberships = in_groups(&["a"]);
    leave(&mut memberships, "a", true);
    join(&mut memberships, "a");
    assert!(memberships.begin_join(&key("a"), true));
}

#[test]
fn when_no_restoration_is_under_way_nothing_is_remembered_of_groups_that_were_left() {
    let mut memberships = in_groups(&["a", "b"]);
    leave(&mut memberships, "a", false);
    assert_eq!(memberships.all().count(), 1);
    leave(&mut memberships, "b", true);
    assert_eq!(memberships.all().count(), 1);
    memberships.end_restoration();
    assert_eq!(memberships.all().count(), 0);
}

#[test]
fn a_group_that_has_died_is_joined_afresh_by_whom_it_had_let_in() {
    let mut memberships = in_groups(&["a"]);
    assert!(!memberships.lose(&key("b"), Generation(1)), "it is not in that one");
    assert!(!memberships.lose(&key("a"), Generation(0)), "it is in a later one");
    assert!(memberships.lose(&key("a"), Generation(1)));
    assert!(memberships.is_adrift(&key("a")));
    assert_eq!(names(&memberships.heard()), ["a"], "it counts as a member meanwhile");
    memberships.begin_join(&key("a"), true);
    assert_eq!(memberships.end_join(&key("a"), within(2)), Joining::Done);
    assert!(!memberships.is_adrift(&key("a")));
}

#[test]
fn a_group_that_dies_before_its_answer_arrives_has_let_nobody_in() {
    for is_member in [false, true] {
        let mut memberships = if is_member { in_groups(&["a"]) } else { Memberships::default() };
        memberships.begin_join(&key("a"), false);
        assert!(!memberships.lose(&key("a"), Generation(1)), "its answer will tell");
        assert_eq!(memberships.end_join(&key("a"), within(1)), Joining::Afresh);
        memberships.begin_join(&key("a"), false);
        assert_eq!(memberships.end_join(&key("a"), within(2)), Joining::Done);
        assert_eq!(names(&memberships.heard()), ["a"]);
    }
}

#[test]
fn whoever_cannot_join_afresh_is_still_adrift() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_join(&key("a"), false);
    memberships.lose(&key("a"), Generation(1));
    assert_eq!(memberships.end_join(&key("a"), None), Joining::Done);
    assert!(memberships.is_adrift(&key("a")));
}

#[test]
fn a_channel_is_deaf_to_groups_that_it_did_not_ask_for() {
    let mut memberships = in_groups(&["a", "b", "c"]);
    memberships.hear(&key("c"), 7);
    memberships.mute_all_but(&[key("a")], 7);
    assert_eq!(names(&memberships.heard()), ["a", "c"], "what was joined meanwhile is heard");
    assert_eq!(memberships.muted(), HashSet::from([key("b")]));
    assert_eq!(memberships.members().count(), 3, "it is a member all the same");
    memberships.hear(&key("b"), 8);
    assert_eq!(names(&memberships.heard()), ["a", "b", "c"]);
    memberships.mute_all_but(&[], 9);
    assert_eq!(names(&memberships.heard()), [""; 0]);
}

#[test]
fn what_a_client_claims_is_corrected_by_what_it_cannot_have_heard_of() {
    let mut memberships = in_groups(&["new", "old"]);
    memberships.hear(&key("old"), 3);
    memberships.hear(&key("new"), 5);
    memberships.forget(&key("left early"), 4);
    memberships.forget(&key("left late"), 5);
    let claimed = || vec![key("left early"), key("left late"), key("kept")];
    let corrected = |cursor| memberships.correct(claimed(), cursor);
    assert_eq!(names(&corrected(5)), ["left early", "kept", "new"]);
    assert_eq!(names(&corrected(3)), ["kept", "new", "old"]);
    assert_eq!(names(&corrected(6)), ["left early", "left late", "kept"]);
}

#[test]
fn a_client_cannot_have_heard_of_what_it_was_restored_into_unless_it_was_told_or_claims_it() {
    let mut memberships = in_groups(&["claimed", "joined", "muted", "restored"]);
    memberships.mute_all_but(&["claimed", "joined", "restored"].map(key), 0);
    memberships.hear(&key("joined"), 3);
    memberships.hear_restored(&[key("claimed")], 5);
    memberships.hear_restored(&[key("claimed")], 7);
    for (cursor, heard) in [(3, &["joined", "restored"][..]), (5, &["restored"]), (6, &[])] {
        assert_eq!(names(&memberships.correct(Vec::new(), cursor)), heard, "{cursor}");
    }
}

#[test]
fn departures_are_remembered_up_to_a_number_and_the_oldest_is_forgotten_first() {
    let mut memberships = Memberships::default();
    for at in 0..=DEPARTURES as u64 {
        memberships.forget(&key(&at.to_string()), at);
    }
    let corrected = memberships.correct(vec![key("0"), key("1")], 0);
    assert_eq!(names(&corrected), ["0"]);
}
