//! Answers that overtake each other, and what a channel hears.

use proptest::prelude::*;

use super::*;
use crate::group::{Joined, Left};

fn key(name: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &name.into())
}

fn names(keys: &[Arc<GroupKey>]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

fn member(step: u64) -> Option<Admission> {
    Some(Admission::Member(Joined::Now, Stamp::at(1, step)))
}

fn left(step: u64) -> Option<Departure> {
    Some(Departure { left: Left::Now, stamp: Stamp::at(1, step) })
}

fn join(memberships: &mut Memberships, name: &str, step: u64) {
    assert!(memberships.begin_join(&key(name), false));
    memberships.end_join(&key(name), member(step));
}

fn in_groups(wanted: &[&str]) -> Memberships {
    let mut memberships = Memberships::default();
    for name in wanted {
        join(&mut memberships, name, 1);
    }
    memberships
}

#[test]
fn a_join_is_listed_from_its_beginning_and_counts_from_its_answer() {
    let mut memberships = Memberships::default();
    memberships.begin_join(&key("a"), false);
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 0));
    memberships.end_join(&key("a"), member(1));
    assert_eq!((memberships.all().count(), memberships.members().count()), (1, 1));
    assert!(memberships.concerns(&key("a")));
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
fn of_answers_that_overtake_each_other_the_later_decision_holds() {
    for (joined, departed, is_member) in [(1, 2, false), (2, 1, true)] {
        let mut memberships = Memberships::default();
        memberships.begin_join(&key("a"), false);
        memberships.begin_leave(&key("a"));
        memberships.end_leave(&key("a"), left(departed));
        memberships.end_join(&key("a"), member(joined));
        assert_eq!(memberships.concerns(&key("a")), is_member, "joined at {joined}, left at {departed}");
    }
}

#[test]
fn a_group_that_is_gone_has_no_members_unless_somebody_is_joining() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"));
    memberships.end_leave(&key("a"), None);
    assert!(!memberships.concerns(&key("a")));

    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"));
    memberships.begin_join(&key("a"), false);
    memberships.end_leave(&key("a"), None);
    assert!(memberships.concerns(&key("a")));
}

#[test]
fn a_restoration_does_not_undo_what_was_left_since_it_began() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"));
    memberships.end_leave(&key("a"), left(2));
    assert!(!memberships.begin_join(&key("a"), true));
    assert!(memberships.begin_join(&key("b"), true), "nobody left that one");
    memberships.end_restoration();
    assert!(memberships.begin_join(&key("a"), true), "the next restoration knows better");
}

#[test]
fn a_join_that_somebody_asks_for_undoes_a_leave_even_for_a_restoration() {
    let mut memberships = in_groups(&["a"]);
    memberships.begin_leave(&key("a"));
    memberships.end_leave(&key("a"), left(2));
    join(&mut memberships, "a", 3);
    assert!(memberships.begin_join(&key("a"), true));
}

#[test]
fn when_no_restoration_is_under_way_nothing_is_remembered_of_groups_that_were_left() {
    let mut memberships = in_groups(&["a", "b"]);
    memberships.begin_leave(&key("a"));
    memberships.end_leave(&key("a"), left(2));
    memberships.end_restoration();
    assert_eq!(memberships.all().count(), 1);
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
fn departures_are_remembered_up_to_a_number_and_the_oldest_is_forgotten_first() {
    let mut memberships = Memberships::default();
    for at in 0..=DEPARTURES as u64 {
        memberships.forget(&key(&at.to_string()), at);
    }
    let corrected = memberships.correct(vec![key("0"), key("1")], 0);
    assert_eq!(names(&corrected), ["0"]);
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Join,
    Leave,
}

proptest! {
    /// A group decides in one order and its answers arrive in any.
    #[test]
    fn whatever_the_order_of_the_answers_the_last_decision_of_the_group_holds(
        asks in prop::collection::vec(prop_oneof![Just(Ask::Join), Just(Ask::Leave)], 1..8),
        order in any::<prop::sample::Index>().prop_flat_map(|_| Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle()),
    ) {
        let mut memberships = Memberships::default();
        for ask in &asks {
            match ask {
                Ask::Join => drop(memberships.begin_join(&key("a"), false)),
                Ask::Leave => memberships.begin_leave(&key("a")),
            }
        }
        for place in order.into_iter().filter(|place| *place < asks.len()) {
            let step = place as u64 + 1;
            match asks[place] {
                Ask::Join => memberships.end_join(&key("a"), member(step)),
                Ask::Leave => memberships.end_leave(&key("a"), left(step)),
            }
        }
        memberships.end_restoration();
        let is_member = matches!(asks.last(), Some(Ask::Join));
        prop_assert_eq!(memberships.concerns(&key("a")), is_member);
        prop_assert_eq!(memberships.all().count(), usize::from(is_member), "nothing else is left");
    }
}
