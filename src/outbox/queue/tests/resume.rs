//! Replay to a reconnecting client, and gaps.

use super::*;

#[test]
fn skipped_broadcast_is_replayed_on_request() {
    let mut queue = attached(Limits { items: 2, overflow: Overflow::DropOldest, ..WIDE_LIMITS }, WIDE_WINDOW);
    push_all(&mut queue, &["a", "b", "c"]);
    assert_eq!(drain(&mut queue), "[b c @3]");
    assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
    assert_eq!(drain(&mut queue), "[a b c @3]");
}

#[test]
fn reconnecting_client_gets_replay_of_window() {
    let window = ReplayLimits { items: 2, ..WIDE_WINDOW };
    for (resume, has_gap, replayed_count) in [
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
        let mut queue = attached(WIDE_LIMITS, window);
        push_all(&mut queue, &["a", "b", "c", "d"]);
        drain(&mut queue);
        queue.detach();
        assert_eq!(queue.attach(resume, ChannelFilter::default()), has_gap, "{resume:?}");
        assert_eq!(drain(&mut queue), replayed_count, "{resume:?}");
        push_all(&mut queue, &["e"]);
        assert_eq!(drain(&mut queue), "[e @5]", "{resume:?}");
    }
}

#[test]
fn window_is_bounded_in_bytes() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits { items: 100, bytes: 5 });
    push_all(&mut queue, &["aa", "bb", "cc"]);
    drain(&mut queue);
    assert_eq!(queue.backlog().kept, 2);
    push_all(&mut queue, &["longer than the window"]);
    drain(&mut queue);
    assert_eq!(queue.backlog().kept, 0);
}

#[test]
fn disconnected_client_loses_oldest_and_learns_of_gap() {
    let narrow = (Limits { items: 2, ..WIDE_LIMITS }, ReplayLimits { items: 1, ..WIDE_WINDOW });
    let wide = (Limits { items: 1, ..WIDE_LIMITS }, ReplayLimits { items: 2, ..WIDE_WINDOW });
    for ((limits, window), from, has_gap, replayed_count) in [
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
        assert_eq!(queue.backlog().items, 2, "the larger of both limits applies");
        assert_eq!(queue.attach(Resume::From(from), ChannelFilter::default()), has_gap, "{from}");
        assert_eq!(drain(&mut queue), replayed_count, "{from}");
    }
}

#[test]
fn waiting_entries_beyond_window_survive_between_polls() {
    let mut queue = attached(WIDE_LIMITS, ReplayLimits { items: 2, bytes: 4 });
    queue.detach();
    push_all(&mut queue, &["aa", "bb", "cc", "dd"]);
    for (from, next) in [(0, "[aa bb @2]"), (2, "[cc dd @4]")] {
        assert!(!queue.attach(Resume::From(from), ChannelFilter::default()));
        assert_eq!(take(&mut queue, 3).as_deref(), Some(next));
        queue.detach();
    }
}

#[test]
fn oversized_entry_and_its_successors_survive_disconnection() {
    let mut queue = attached(Limits { bytes: 6, ..WIDE_LIMITS }, ReplayLimits { items: 100, bytes: 6 });
    queue.detach();
    push_all(&mut queue, &["larger than both", "b", "c"]);
    assert!(!queue.attach(Resume::From(0), ChannelFilter::default()));
    assert_eq!(drain(&mut queue), "[larger than both b c @3]");
}

#[test]
fn failed_reconnect_does_not_change_replay() {
    let mut queue = attached(Limits { items: 2, ..WIDE_LIMITS }, ReplayLimits { items: 2, ..WIDE_WINDOW });
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
fn entries_wait_for_first_transport() {
    for window in [ReplayLimits::default(), WIDE_WINDOW] {
        let mut queue = Queue::new(&FORM, WIDE_LIMITS, window);
        push_all(&mut queue, &["a", "b"]);
        assert!(!queue.attach(Resume::Waiting, ChannelFilter::default()));
        assert_eq!(drain(&mut queue), "[a b @2]");
    }
}

#[test]
fn raw_frame_is_dropped_with_its_channel() {
    let mut queue = attached(WIDE_LIMITS, WIDE_WINDOW);
    queue.push(raw_frame("taken"));
    push_all(&mut queue, &["a"]);
    drain(&mut queue);
    queue.push(raw_frame("waiting"));
    queue.attach(Resume::From(0), ChannelFilter::default());
    assert_eq!(drain(&mut queue), "[a @3]");
}
