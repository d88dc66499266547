//! Limits, overflow policies and congestion.

use super::*;

#[test]
fn exceeding_the_limits_overflows() {
    let by_count = Limits { items: 2, ..WIDE_LIMITS };
    let by_size = Limits { bytes: 6, ..WIDE_LIMITS };
    for (limits, texts, last) in [
        (by_count, &["a", "b"][..], Push::Queued),
        (by_count, &["a", "b", "c"], Push::Overflowed),
        (by_size, &["aaa", "bbb"], Push::Queued),
        (by_size, &["aaa", "bbb", "c"], Push::Overflowed),
        (by_size, &["a text beyond the limit"], Push::Queued),
        (by_size, &["a text beyond the limit", "b"], Push::Overflowed),
    ] {
        let mut queue = attached(limits, ReplayLimits::default());
        let pushes: Vec<_> = texts.iter().map(|text| queue.push(private(text))).collect();
        let (outcome, earlier) = pushes.split_last().unwrap();
        assert_eq!(*outcome, last, "{texts:?}");
        assert!(earlier.iter().all(|push| *push == Push::Queued), "{texts:?}");
    }
}

#[test]
fn limits_count_only_waiting_entries() {
    let mut queue = attached(Limits { items: 2, ..WIDE_LIMITS }, WIDE_WINDOW);
    for round in 0..10 {
        push_all(&mut queue, &["a", "b"]);
        assert!(take(&mut queue, ANY_BUDGET).is_some(), "round {round}");
    }
    assert_eq!(queue.backlog().kept, 20);
}

#[test]
fn drop_oldest_skips_and_counts_oldest_broadcasts() {
    let mut queue =
        attached(Limits { items: 2, overflow: Overflow::DropOldest, ..WIDE_LIMITS }, ReplayLimits::default());
    push_all(&mut queue, &["a", "b", "c", "d"]);
    assert_eq!(queue.backlog().dropped, 2);
    assert_eq!(drain(&mut queue), "[c d @4]");
}

#[test]
fn drop_oldest_makes_space_for_long_message() {
    let mut queue =
        attached(Limits { bytes: 6, overflow: Overflow::DropOldest, ..WIDE_LIMITS }, ReplayLimits::default());
    push_all(&mut queue, &["aa", "bb", "cc", "ddddd"]);
    assert_eq!(drain(&mut queue), "[ddddd @4]");
    assert_eq!(queue.backlog().dropped, 3);
}

#[test]
fn drop_oldest_never_skips_a_reply() {
    for reply in [private, raw_frame] {
        let mut queue =
            attached(Limits { items: 2, overflow: Overflow::DropOldest, ..WIDE_LIMITS }, ReplayLimits::default());
        assert_eq!(queue.push(reply("one")), Push::Queued);
        push_all(&mut queue, &["a", "b", "c"]);
        assert_eq!(queue.backlog().dropped, 2);
        assert_eq!(queue.push(reply("two")), Push::Queued);
        assert_eq!(queue.backlog().dropped, 3, "no broadcast fits any more");
        assert_eq!(queue.push(reply("three")), Push::Overflowed);
    }
}

#[test]
fn replayed_entries_do_not_count_against_limits() {
    let mut queue = Queue::new(&FORM, Limits { bytes: 10, ..WIDE_LIMITS }, ReplayLimits { items: 100, bytes: 10 });
    queue.attach(Resume::Waiting, ChannelFilter::default());
    queue.detach();
    push_all(&mut queue, &["aaaaa", "bbbbb", "ccccc"]);
    queue.attach(Resume::From(1), ChannelFilter::default());
    push_all(&mut queue, &["ddddd", "eeeee"]);
    assert_eq!(queue.push(call("f")), Push::Overflowed, "further entries count");
}

#[test]
fn switching_channels_without_reading_stays_within_window() {
    let limits = Limits { bytes: 10, ..WIDE_LIMITS };
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
fn without_window_limits_apply_while_detached() {
    let mut queue = Queue::new(&FORM, Limits { items: 2, ..WIDE_LIMITS }, ReplayLimits::default());
    assert!(!queue.keeps_history());
    push_all(&mut queue, &["a", "b"]);
    assert_eq!(queue.push(call("c")), Push::Overflowed);
}

#[test]
fn disconnected_client_never_overflows_and_is_bounded() {
    let mut queue = attached(Limits { items: 4, bytes: 10, ..WIDE_LIMITS }, ReplayLimits { items: 3, bytes: 6 });
    for round in 0..20 {
        queue.detach();
        push_all(&mut queue, &["aa"; 50]);
        let Backlog { items, bytes, kept, .. } = queue.backlog();
        assert!(items <= 4 && bytes <= 10 && kept <= 3, "{round}");
        queue.attach(Resume::From(queue.first), ChannelFilter::default());
        assert_eq!(queue.push(private("aa")), Push::Queued, "{round}");
    }
}

#[test]
fn detached_queue_is_not_congested() {
    let mut queue = Queue::new(&FORM, Limits { items: 16, ..WIDE_LIMITS }, ReplayLimits { items: 100, bytes: 100 });
    push_all(&mut queue, &["a", "b", "c"]);
    assert!(!queue.is_congested());
}

#[test]
fn queue_is_congested_beyond_eighth_of_limits() {
    let mut by_count = attached(Limits { items: 16, ..WIDE_LIMITS }, ReplayLimits::default());
    push_all(&mut by_count, &["", ""]);
    assert!(!by_count.is_congested());
    push_all(&mut by_count, &[""]);
    assert!(by_count.is_congested());

    let mut by_size = attached(Limits { bytes: 16, ..WIDE_LIMITS }, ReplayLimits::default());
    push_all(&mut by_size, &["ab"]);
    assert!(!by_size.is_congested());
    push_all(&mut by_size, &["c"]);
    assert!(by_size.is_congested());
}
