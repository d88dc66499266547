//! Whoever can wait, waits until a client has room.

use super::*;

#[test]
fn there_is_room_while_no_more_than_half_of_what_may_wait_does() {
    let limits = Limits { items: 4, ..LIMITS };
    let outbox = Outbox::new(&FORM, limits, ReplayLimits::default());
    let has_room = || outbox.room_for(0).now_or_never().is_some();
    let mut feed = attach(&outbox);
    for (text, expected) in [("a", true), ("b", true), ("c", false)] {
        outbox.push(&message(text));
        assert_eq!(has_room(), expected, "{text}");
    }
    poll(&mut feed);
    assert!(has_room(), "it was taken");
}

#[test]
fn whoever_waits_for_room_is_woken_when_it_was_made_or_will_never_be() {
    type Ending = fn(&Arc<Outbox>, OutboxReader);
    let endings: [Ending; 4] = [
        |_, mut feed| drop(poll(&mut feed)),
        |outbox, _feed| outbox.finish(GOING),
        |outbox, _feed| outbox.abandon(GOING),
        |outbox, _feed| drop(outbox.attach(Resume::Tail, ChannelFilter::default(), Arc::new(Bracketed))),
    ];
    for ending in endings {
        let (outbox, bell) =
            (Outbox::new(&FORM, Limits { items: 2, ..LIMITS }, ReplayLimits::default()), Arc::new(Bell::default()));
        let feed = attach(&outbox);
        outbox.push(&message("a"));
        outbox.push(&message("b"));
        let (waker, mut room) = (Arc::clone(&bell).into(), Box::pin(outbox.room_for(0)));
        assert!(room.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        ending(&outbox, feed);
        assert_eq!(bell.rings(), 1);
        assert!(room.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn a_client_that_is_away_has_no_more_room_than_one_that_is_there() {
    let outbox = Outbox::new(&FORM, Limits { items: 4, ..LIMITS }, WINDOW);
    let has_room = || outbox.room_for(0).now_or_never().is_some();
    drop(attach(&outbox));
    for (text, expected) in [("a", true), ("b", true), ("c", false)] {
        outbox.push(&message(text));
        assert_eq!(has_room(), expected, "{text}");
    }
    let mut feed = attach(&outbox);
    assert!(!has_room(), "what it returns for still waits");
    poll(&mut feed);
    assert!(has_room());
    drop(feed);
    for text in ["d", "e", "f"] {
        outbox.push(&message(text));
    }
    assert!(!has_room());
    outbox.finish(GOING);
    assert!(has_room(), "nobody comes for it any more");
}

#[test]
fn who_brings_much_waits_until_it_fits_into_half_or_nothing_waits() {
    let outbox = Outbox::new(&FORM, Limits { bytes: 8, ..LIMITS }, ReplayLimits::default());
    let has_room_for = |bytes| outbox.room_for(bytes).now_or_never().is_some();
    let mut feed = attach(&outbox);
    assert!(has_room_for(1_000), "it has to go out some day");
    outbox.push(&message("a"));
    assert!(has_room_for(3));
    assert!(!has_room_for(4));
    poll(&mut feed);
    assert!(has_room_for(4));
}
