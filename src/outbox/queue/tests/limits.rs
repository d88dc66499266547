//! What happens to whoever lets too much wait.

use super::*;

#[test]
fn one_more_than_may_wait_ends_the_client() {
    let by_count = Limits { items: 2, ..ROOMY };
    let by_size = Limits { bytes: 6, ..ROOMY };
    for (limits, texts, last) in [
        (by_count, &["a", "b"][..], Push::Queued),
        (by_count, &["a", "b", "c"], Push::Overflowed),
        (by_size, &["aaa", "bbb"], Push::Queued),
        (by_size, &["aaa", "bbb", "c"], Push::Overflowed),
        (by_size, &["a text beyond the limit"], Push::Queued),
        (by_size, &["a text beyond the limit", "b"], Push::Overflowed),
    ] {
        let mut queue = attached(limits, ReplayLimits::default());
        let pushes: Vec<_> = texts.iter().map(|text| queue.push(own(text))).collect();
        let (outcome, earlier) = pushes.split_last().unwrap();
        assert_eq!(*outcome, last, "{texts:?}");
        assert!(earlier.iter().all(|push| *push == Push::Queued), "{texts:?}");
    }
}

#[test]
fn the_limit_counts_what_waits_and_not_what_was_taken() {
    let mut queue = attached(Limits { items: 2, ..ROOMY }, KEEPS_ALL);
    for round in 0..10 {
        push_all(&mut queue, &["a", "b"]);
        assert!(take(&mut queue, ANY_BUDGET).is_some(), "round {round}");
    }
    assert_eq!(queue.backlog().kept, 20);
}

#[test]
fn the_oldest_broadcasts_are_left_out_and_counted_where_that_is_the_policy() {
    let mut queue = attached(Limits { items: 2, overflow: Overflow::DropOldest, ..ROOMY }, ReplayLimits::default());
    push_all(&mut queue, &["a", "b", "c", "d"]);
    assert_eq!(queue.backlog().dropped, 2);
    assert_eq!(drain(&mut queue), "[c d @4]");
}

#[test]
fn as_many_are_left_out_as_make_room_for_a_long_one() {
    let mut queue = attached(Limits { bytes: 6, overflow: Overflow::DropOldest, ..ROOMY }, ReplayLimits::default());
    push_all(&mut queue, &["aa", "bb", "cc", "ddddd"]);
    assert_eq!(drain(&mut queue), "[ddddd @4]");
    assert_eq!(queue.backlog().dropped, 3);
}

#[test]
fn a_reply_is_never_left_out_but_a_broadcast_behind_it_is() {
    for reply in [own, frame] {
        let mut queue = attached(Limits { items: 2, overflow: Overflow::DropOldest, ..ROOMY }, ReplayLimits::default());
        assert_eq!(queue.push(reply("one")), Push::Queued);
        push_all(&mut queue, &["a", "b", "c"]);
        assert_eq!(queue.backlog().dropped, 2);
        assert_eq!(queue.push(reply("two")), Push::Queued);
        assert_eq!(queue.backlog().dropped, 3, "there is no room for a broadcast any more");
        assert_eq!(queue.push(reply("three")), Push::Overflowed);
    }
}

#[test]
fn what_is_replayed_is_not_held_against_a_client_that_returns() {
    let mut queue = Queue::new(&FORM, Limits { bytes: 10, ..ROOMY }, ReplayLimits { items: 100, bytes: 10 });
    queue.attach(Resume::Waiting, ChannelFilter::default());
    queue.detach();
    push_all(&mut queue, &["aaaaa", "bbbbb", "ccccc"]);
    queue.attach(Resume::From(1), ChannelFilter::default());
    push_all(&mut queue, &["ddddd", "eeeee"]);
    assert_eq!(queue.push(call("f")), Push::Overflowed, "what comes on top of it is");
}

#[test]
fn a_client_that_changes_channels_without_reading_is_held_to_its_window_each_time() {
    let limits = Limits { bytes: 10, ..ROOMY };
    let mut queue = Queue::new(&FORM, limits, ReplayLimits { items: 100, bytes: 10 });
    queue.attach(Resume::Waiting, ChannelFilter::default());
    for _ in 0..10 {
        push_all(&mut queue, &["aaaaa", "bbbbb"]);
        queue.attach(Resume::Waiting, ChannelFilter::default());
        assert!(queue.backlog().bytes <= 10);
    }

    let mut keeps_nothing = Queue::new(&FORM, limits, ReplayLimits::default());
    keeps_nothing.attach(Resume::Waiting, ChannelFilter::default());
    push_all(&mut keeps_nothing, &["aaaaa", "bbbbb"]);
    keeps_nothing.attach(Resume::Waiting, ChannelFilter::default());
    assert_eq!(keeps_nothing.push(call("c")), Push::Overflowed);
}

#[test]
fn without_a_window_nothing_is_kept_and_the_limits_hold_without_a_transport_too() {
    let mut queue = Queue::new(&FORM, Limits { items: 2, ..ROOMY }, ReplayLimits::default());
    assert!(!queue.keeps());
    push_all(&mut queue, &["a", "b"]);
    assert_eq!(queue.push(call("c")), Push::Overflowed);
}

#[test]
fn whoever_is_away_is_never_too_slow_however_much_comes_and_what_is_held_is_bounded() {
    let mut queue = attached(Limits { items: 4, bytes: 10, ..ROOMY }, ReplayLimits { items: 3, bytes: 6 });
    for round in 0..20 {
        queue.detach();
        push_all(&mut queue, &["aa"; 50]);
        let Backlog { items, bytes, kept, .. } = queue.backlog();
        assert!(items <= 4 && bytes <= 10 && kept <= 3, "{round}");
        queue.attach(Resume::From(queue.first), ChannelFilter::default());
        assert_eq!(queue.push(own("aa")), Push::Queued, "{round}");
    }
}

#[test]
fn a_queue_without_a_transport_is_not_congested() {
    let mut queue = Queue::new(&FORM, Limits { items: 16, ..ROOMY }, ReplayLimits { items: 100, bytes: 100 });
    push_all(&mut queue, &["a", "b", "c"]);
    assert!(!queue.is_congested());
}

#[test]
fn a_queue_is_congested_beyond_an_eighth_of_its_limits() {
    let mut by_count = attached(Limits { items: 16, ..ROOMY }, ReplayLimits::default());
    push_all(&mut by_count, &["", ""]);
    assert!(!by_count.is_congested());
    push_all(&mut by_count, &[""]);
    assert!(by_count.is_congested());

    let mut by_size = attached(Limits { bytes: 16, ..ROOMY }, ReplayLimits::default());
    push_all(&mut by_size, &["ab"]);
    assert!(!by_size.is_congested());
    push_all(&mut by_size, &["c"]);
    assert!(by_size.is_congested());
}
