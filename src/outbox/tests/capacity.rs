//! Backpressure: waiting for capacity.

use super::*;

#[test]
fn capacity_remains_up_to_half_of_limits() {
    let limits = Limits { items: 4, ..LIMITS };
    let outbox = Outbox::new(&FORM, limits, ReplayLimits::default());
    let has_capacity = || outbox.wait_for_capacity(0).now_or_never().is_some();
    let mut reader = attach(&outbox);
    for (text, expected) in [("a", true), ("b", true), ("c", false)] {
        outbox.push(&message(text));
        assert_eq!(has_capacity(), expected, "{text}");
    }
    poll(&mut reader);
    assert!(has_capacity(), "the entries were written");
}

#[test]
fn capacity_waiter_is_woken_by_drain_or_end() {
    type Ending = fn(&Arc<Outbox>, OutboxReader);
    let endings: [Ending; 4] = [
        |_, mut reader| drop(poll(&mut reader)),
        |outbox, _reader| outbox.finish(GOING_AWAY),
        |outbox, _reader| outbox.discard_and_close(GOING_AWAY),
        |outbox, _reader| drop(outbox.attach(Resume::Tail, ChannelFilter::default(), Arc::new(BracketFramer))),
    ];
    for ending in endings {
        let (outbox, wakes) = (
            Outbox::new(&FORM, Limits { items: 2, ..LIMITS }, ReplayLimits::default()),
            Arc::new(WakeCounter::default()),
        );
        let reader = attach(&outbox);
        outbox.push(&message("a"));
        outbox.push(&message("b"));
        let (waker, mut capacity) = (Arc::clone(&wakes).into(), Box::pin(outbox.wait_for_capacity(0)));
        assert!(capacity.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        ending(&outbox, reader);
        assert_eq!(wakes.count(), 1);
        assert!(capacity.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn disconnected_client_has_no_extra_capacity() {
    let outbox = Outbox::new(&FORM, Limits { items: 4, ..LIMITS }, WINDOW);
    let has_capacity = || outbox.wait_for_capacity(0).now_or_never().is_some();
    drop(attach(&outbox));
    for (text, expected) in [("a", true), ("b", true), ("c", false)] {
        outbox.push(&message(text));
        assert_eq!(has_capacity(), expected, "{text}");
    }
    let mut reader = attach(&outbox);
    assert!(!has_capacity(), "replayed entries still wait");
    poll(&mut reader);
    assert!(has_capacity());
    drop(reader);
    for text in ["d", "e", "f"] {
        outbox.push(&message(text));
    }
    assert!(!has_capacity());
    outbox.finish(GOING_AWAY);
    assert!(has_capacity(), "the connection has ended");
}

#[test]
fn large_message_waits_for_capacity_or_empty_queue() {
    let outbox = Outbox::new(&FORM, Limits { bytes: 8, ..LIMITS }, ReplayLimits::default());
    let has_capacity_for = |bytes| outbox.wait_for_capacity(bytes).now_or_never().is_some();
    let mut reader = attach(&outbox);
    assert!(has_capacity_for(1_000), "an empty queue accepts any size");
    outbox.push(&message("a"));
    assert!(has_capacity_for(3));
    assert!(!has_capacity_for(4));
    poll(&mut reader);
    assert!(has_capacity_for(4));
}
