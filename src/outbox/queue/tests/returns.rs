//! What a client is replayed that comes back, and what it is told to have missed.

use super::*;

#[test]
fn what_was_left_out_is_replayed_to_whoever_asks_for_it() {
    let mut queue = attached(Limits { items: 2, overflow: Overflow::DropOldest, ..ROOMY }, KEEPS_ALL);
    push_all(&mut queue, &["a", "b", "c"]);
    assert_eq!(drain(&mut queue), "[b c @3]");
    assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
    assert_eq!(drain(&mut queue), "[a b c @3]");
}

#[test]
fn a_client_that_returns_is_replayed_what_the_window_still_holds() {
    let window = ReplayLimits { items: 2, ..KEEPS_ALL };
    for (resume, has_gap, replayed) in [
        (Resume::From(0), true, "[c d @4]"),
        (Resume::From(1), true, "[c d @4]"),
        (Resume::From(2), false, "[c d @4]"),
        (Resume::From(3), false, "[d @4]"),
        (Resume::From(4), false, ""),
        (Resume::From(5), true, ""),
        (Resume::From(u64::MAX), true, ""),
        (Resume::Tail, false, ""),
        (Resume::Waiting, false, ""),
    ] {
        let mut queue = attached(ROOMY, window);
        push_all(&mut queue, &["a", "b", "c", "d"]);
        drain(&mut queue);
        queue.detach();
        assert_eq!(queue.attach(resume, ChannelFilter::default()), has_gap, "{resume:?}");
        assert_eq!(drain(&mut queue), replayed, "{resume:?}");
        push_all(&mut queue, &["e"]);
        assert_eq!(drain(&mut queue), "[e @5]", "{resume:?}");
    }
}

#[test]
fn the_window_is_bounded_in_bytes_too() {
    let mut queue = attached(ROOMY, ReplayLimits { items: 100, bytes: 5 });
    push_all(&mut queue, &["aa", "bb", "cc"]);
    drain(&mut queue);
    assert_eq!(queue.backlog().kept, 2);
    push_all(&mut queue, &["longer than the window"]);
    drain(&mut queue);
    assert_eq!(queue.backlog().kept, 0);
}

#[test]
fn a_client_that_is_away_loses_the_oldest_and_is_told_of_the_gap() {
    let narrow = (Limits { items: 2, ..ROOMY }, ReplayLimits { items: 1, ..KEEPS_ALL });
    let wide = (Limits { items: 1, ..ROOMY }, ReplayLimits { items: 2, ..KEEPS_ALL });
    for ((limits, window), from, has_gap, replayed) in [
        (narrow, 0, true, "[c d e @5]"),
        (narrow, 1, true, "[c d e @5]"),
        (narrow, 2, false, "[c d e @5]"),
        (wide, 0, true, "[b c d e @5]"),
        (wide, 1, false, "[b c d e @5]"),
    ] {
        let mut queue = attached(limits, window);
        push_all(&mut queue, &["a"]);
        drain(&mut queue);
        queue.detach();
        push_all(&mut queue, &["b", "c", "d", "e"]);
        assert_eq!(queue.backlog().items, 2, "the larger of both may wait");
        assert_eq!(queue.attach(Resume::From(from), ChannelFilter::default()), has_gap, "{from}");
        assert_eq!(drain(&mut queue), replayed, "{from}");
    }
}

#[test]
fn a_client_between_two_polls_misses_nothing_that_may_wait_although_the_window_is_smaller() {
    let mut queue = attached(ROOMY, ReplayLimits { items: 2, bytes: 4 });
    queue.detach();
    push_all(&mut queue, &["aa", "bb", "cc", "dd"]);
    for (from, next) in [(0, "[aa bb @2]"), (2, "[cc dd @4]")] {
        assert!(!queue.attach(Resume::From(from), ChannelFilter::default()));
        assert_eq!(take(&mut queue, 3).as_deref(), Some(next));
        queue.detach();
    }
}

#[test]
fn an_item_larger_than_all_that_may_wait_is_there_at_the_return_and_what_comes_behind_it_too() {
    let mut queue = attached(Limits { bytes: 6, ..ROOMY }, ReplayLimits { items: 100, bytes: 6 });
    queue.detach();
    push_all(&mut queue, &["larger than both", "b", "c"]);
    assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
    assert_eq!(drain(&mut queue), "[larger than both b c @3]");
}

#[test]
fn a_client_whose_return_fails_finds_the_same_when_it_returns_again() {
    let mut queue = attached(Limits { items: 2, ..ROOMY }, ReplayLimits { items: 2, ..KEEPS_ALL });
    push_all(&mut queue, &["a", "b"]);
    drain(&mut queue);
    queue.detach();
    push_all(&mut queue, &["c", "d"]);
    for _ in 0..3 {
        assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
        queue.detach();
    }
    assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
    assert_eq!(drain(&mut queue), "[a b c d @4]");
}

#[test]
fn what_came_before_the_first_transport_waits_for_it() {
    for window in [ReplayLimits::default(), KEEPS_ALL] {
        let mut queue = Queue::new(&FORM, ROOMY, window);
        push_all(&mut queue, &["a", "b"]);
        assert!(!queue.attach(Resume::Waiting, ChannelFilter::default()));
        assert_eq!(drain(&mut queue), "[a b @2]");
    }
}

#[test]
fn a_frame_dies_with_the_transport_it_was_made_for() {
    let mut queue = attached(ROOMY, KEEPS_ALL);
    queue.push(frame("taken"));
    push_all(&mut queue, &["a"]);
    drain(&mut queue);
    queue.push(frame("waiting"));
    queue.attach(Resume::From(0), ChannelFilter::default());
    assert_eq!(drain(&mut queue), "[a @3]");
}
