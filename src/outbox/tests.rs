//! What owners, transports and pushers see of an outbox: who is woken, what is written and in which order.

use std::{
    fmt::Write,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    task::Context,
    task::Wake,
    thread,
};

use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::message::{Invocation, Source};

mod direct;
mod room;

/// A call on this wire is its target and nothing else.
static FORM: WireForm = WireForm { slot: 2, encode: |call| call.target.as_bytes().to_vec().into() };

const LIMITS: Limits = Limits { items: 1_000, bytes: 100_000, overflow: Overflow::Close };

const WINDOW: ReplayLimits = ReplayLimits { items: 100, bytes: 1_000 };

const GOING: End = End { code: 1001 };

/// Frames that a test can read: every element in brackets.
struct Bracketed;

impl Framer for Bracketed {
    fn frame(&self, fields: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        for aside in [&fields.opening, &fields.news].into_iter().flatten() {
            self.whole(aside, out);
        }
        for element in elements {
            write!(out, "[{}]", str::from_utf8(element).unwrap()).unwrap();
        }
    }

    fn whole(&self, frame: &[u8], out: &mut BytesMut) {
        write!(out, "<{}>", str::from_utf8(frame).unwrap()).unwrap();
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(&FORM, LIMITS, ReplayLimits::default())
}

fn attach(outbox: &Arc<Outbox>) -> OutboxReader {
    outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(Bracketed)).0
}

fn call(text: &str) -> Message {
    Message::new(Invocation::new(&"chat".into(), text, &()).unwrap(), Source::Hub)
}

fn message(text: &str) -> SharedMessage {
    SharedMessage::new(call(text))
}

/// What the transport writes next, `end 1000`, or nothing.
fn poll(feed: &mut OutboxReader) -> String {
    poll_with(feed, Waker::noop())
}

fn poll_with(feed: &mut OutboxReader, waker: &Waker) -> String {
    let mut out = BytesMut::new();
    match feed.poll(&mut Context::from_waker(waker), &mut out) {
        Poll::Ready(ReadStep::Write) => String::from_utf8(out.to_vec()).unwrap(),
        Poll::Ready(ReadStep::End(end)) => format!("end {}", end.code),
        Poll::Pending => String::new(),
    }
}

/// All notices that wait for the owner.
fn events(outbox: &Arc<Outbox>) -> Vec<OutboxEvent> {
    let mut events = outbox.events();
    let mut cx = Context::from_waker(Waker::noop());
    let next = || match events.poll_next_unpin(&mut cx) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_transport_that_waits_is_woken_by_whatever_is_pushed() {
    let pushes: [fn(&Arc<Outbox>); 6] = [
        |outbox| assert_eq!(outbox.push(&message("a")), Push::Queued),
        |outbox| assert_eq!(outbox.push_own(*b"a"), Push::Queued),
        |outbox| assert_eq!(outbox.push_frame(*b"a"), Push::Queued),
        |outbox| outbox.change_asides(|fields| fields.opening = Some((*b"a").into())),
        |outbox| outbox.tell_client(Some((*b"a").into())),
        |outbox| outbox.finish(GOING),
    ];
    for (place, push) in pushes.into_iter().enumerate() {
        let (outbox, bell) = (outbox(), Arc::new(Bell::default()));
        let mut feed = attach(&outbox);
        assert_eq!(poll_with(&mut feed, &Arc::clone(&bell).into()), "");
        push(&outbox);
        assert_eq!(bell.rings(), 1, "push {place}");
        assert_ne!(poll(&mut feed), "", "push {place}");
    }
}

#[test]
fn what_changes_nothing_for_the_client_wakes_no_transport() {
    let (outbox, bell) = (outbox(), Arc::new(Bell::default()));
    let mut feed = attach(&outbox);
    poll_with(&mut feed, &Arc::clone(&bell).into());
    outbox.tell_client(None);
    outbox.change_asides(|_| ());
    outbox.change_view(|_| ());
    assert_eq!(outbox.pass_over(&call("a")), Push::Queued);
    assert_eq!((bell.rings(), outbox.tail()), (0, 0));
}

#[test]
fn whoever_is_passed_over_keeps_its_place_if_it_may_return() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    outbox.push(&message("a"));
    outbox.pass_over(&call("b"));
    outbox.push(&message("c"));
    let mut feed = attach(&outbox);
    assert_eq!(poll(&mut feed), "[a][c]");
    assert_eq!(outbox.cursor(), 3);
    let (mut feed, has_gap) = outbox.attach(Resume::From(2), ChannelFilter::default(), Arc::new(Bracketed));
    assert!(!has_gap);
    assert_eq!(poll(&mut feed), "[c]");
}

#[test]
fn news_of_itself_moves_a_clients_cursor_so_that_it_is_known_who_was_told() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    let mut feed = attach(&outbox);
    outbox.tell_client(Some((*b"old").into()));
    outbox.tell_client(Some((*b"new").into()));
    assert_eq!(poll(&mut feed), "<new>");
    assert_eq!((outbox.cursor(), outbox.tail()), (2, 2));
}

#[test]
fn a_newer_transport_replaces_the_one_before_and_takes_over_what_waits() {
    let (outbox, bell) = (Outbox::new(&FORM, LIMITS, WINDOW), Arc::new(Bell::default()));
    let mut old = attach(&outbox);
    assert_eq!(poll_with(&mut old, &Arc::clone(&bell).into()), "");
    let mut new = attach(&outbox);
    assert_eq!((bell.rings(), old.channel(), new.channel(), outbox.channel()), (1, 1, 2, 2));
    outbox.push(&message("a"));
    assert_eq!(poll(&mut old), "end 1000");
    assert_eq!(poll(&mut old), "", "the end is said once");
    drop(old);
    assert_eq!(poll(&mut new), "[a]");
    assert_eq!(events(&outbox), [OutboxEvent::Detached(1)]);
}

#[test]
fn what_a_replaced_channel_left_unsaid_can_still_be_asked_for() {
    let outbox = Outbox::new(&FORM, LIMITS, WINDOW);
    outbox.push(&message("a"));
    let mut old = attach(&outbox);
    poll(&mut old);
    outbox.change_asides(|fields| fields.news = Some((*b"unsaid").into()));
    let new = attach(&outbox);
    let fields = FrameFields { opening: None, news: Some((*b"unsaid").into()) };
    assert_eq!(old.rest(), Unsent { cursor: 1, fields });
    assert_eq!(new.rest(), Unsent { cursor: 1, fields: FrameFields::default() });
}

#[test]
fn a_transport_that_goes_leaves_what_waits_to_the_next_and_its_owner_hears_of_it() {
    let outbox = outbox();
    let feed = attach(&outbox);
    outbox.push(&message("a"));
    drop(feed);
    assert_eq!(events(&outbox), [OutboxEvent::Detached(1)]);
    assert_eq!(poll(&mut attach(&outbox)), "[a]");
}

#[test]
fn a_client_that_hangs_up_is_sent_nothing_more_and_its_owner_hears_of_it() {
    let outbox = outbox();
    let mut feed = attach(&outbox);
    outbox.push(&message("a"));
    feed.control().hang_up(GOING);
    assert_eq!(poll(&mut feed), "end 1001");
    assert_eq!(events(&outbox), [OutboxEvent::HungUp(1)]);
    assert!(outbox.is_open(), "the connection may go on");
}

#[test]
fn a_channel_that_is_hung_up_from_inside_is_no_news_to_its_owner() {
    let outbox = outbox();
    let mut feed = attach(&outbox);
    outbox.push(&message("a"));
    outbox.hang_up(GOING);
    outbox.hang_up(End { code: 1000 });
    assert_eq!(poll(&mut feed), "end 1001", "the first word holds");
    assert_eq!(events(&outbox), []);
    assert_eq!(poll(&mut attach(&outbox)), "[a]");
}

#[test]
fn the_control_of_a_replaced_channel_does_not_touch_the_new_one() {
    let outbox = outbox();
    let control = attach(&outbox).control();
    let mut new = attach(&outbox);
    control.say((*b"pong").into());
    control.hang_up(GOING);
    assert_eq!(poll(&mut new), "");
}

#[test]
fn an_answer_of_the_transports_own_goes_first_and_only_the_newest_goes() {
    let outbox = outbox();
    let mut feed = attach(&outbox);
    outbox.push(&message("a"));
    feed.control().say((*b"pong 1").into());
    feed.control().say((*b"pong 2").into());
    assert_eq!(poll(&mut feed), "pong 2[a]");
}

#[test]
fn a_stream_that_finishes_is_drained_first_and_one_that_is_abandoned_is_not() {
    for (end, wanted) in
        [(Outbox::finish as fn(&Outbox, End), vec!["[a]", "end 1001", ""]), (Outbox::abandon, vec!["end 1001", "", ""])]
    {
        let outbox = outbox();
        let mut feed = attach(&outbox);
        outbox.push(&message("a"));
        end(&outbox, GOING);
        assert!(!outbox.is_open());
        assert_eq!(outbox.push(&message("b")), Push::Closed);
        assert_eq!([(); 3].map(|()| poll(&mut feed)).to_vec(), wanted);
    }
}

#[test]
fn a_client_that_is_too_slow_is_given_up_once() {
    let outbox = Outbox::new(&FORM, Limits { items: 8, ..LIMITS }, ReplayLimits::default());
    let mut feed = attach(&outbox);
    let pushes: Vec<_> = (0..20).map(|_| outbox.push(&message("a"))).collect();
    let queued = pushes.iter().filter(|push| **push == Push::Queued).count();
    assert_eq!((queued, pushes[8], pushes[9]), (8, Push::Overflowed, Push::Closed));
    assert_eq!(events(&outbox), [OutboxEvent::Congested, OutboxEvent::Overflowed]);
    assert_eq!(outbox.backlog().items, 0, "what nobody reads is not kept");
    assert_eq!(poll(&mut feed), "end 1008");
}

#[test]
fn the_owner_hears_again_that_much_waits_after_all_was_taken() {
    let outbox = Outbox::new(&FORM, Limits { items: 80, ..LIMITS }, ReplayLimits::default());
    let mut feed = attach(&outbox);
    for round in 0..3 {
        for _ in 0..20 {
            outbox.push(&message("a"));
        }
        assert_eq!(events(&outbox), [OutboxEvent::Congested], "once in round {round}");
        poll(&mut feed);
    }
}

#[test]
fn the_owner_is_woken_for_a_group_that_has_died() {
    let (outbox, bell) = (outbox(), Arc::new(Bell::default()));
    let mut stream = outbox.events();
    let waker = Arc::clone(&bell).into();
    assert!(stream.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    let group = GroupKey::new(&"chat".into(), &"room".into());
    outbox.tell_lost(Arc::clone(&group), 7);
    assert_eq!(bell.rings(), 1);
    assert_eq!(events(&outbox), [OutboxEvent::Lost { group, generation: 7 }]);
}

#[test]
fn much_is_written_in_portions() {
    let outbox = outbox();
    let mut feed = attach(&outbox);
    let long = "x".repeat(10_000);
    for _ in 0..9 {
        outbox.push(&message(&long));
    }
    let lengths: Vec<_> = std::iter::from_fn(|| Some(poll(&mut feed).len()).filter(|length| *length > 0)).collect();
    assert_eq!(lengths, [40_008, 40_008, 10_002]);
}

#[test]
fn pushes_from_many_threads_all_arrive_and_in_the_order_of_each() {
    const THREADS: usize = 4;
    const EACH: usize = 200;
    let outbox = Outbox::new(&FORM, Limits { items: THREADS * EACH, ..LIMITS }, ReplayLimits::default());
    let mut feed = attach(&outbox);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let outbox = &outbox;
            scope.spawn(move || {
                for number in 0..EACH {
                    assert_eq!(outbox.push(&message(&format!("{thread}:{number}"))), Push::Queued);
                }
            });
        }
    });
    let all: String = std::iter::from_fn(|| Some(poll(&mut feed)).filter(|told| !told.is_empty())).collect();
    for thread in 0..THREADS {
        let own = format!("[{thread}:");
        let numbers: Vec<_> = all.split_inclusive(']').filter_map(|told| told.strip_prefix(&own)).collect();
        let wanted: Vec<_> = (0..EACH).map(|number| format!("{number}]")).collect();
        assert_eq!(numbers, wanted, "thread {thread}");
    }
}

#[test]
fn what_is_said_on_hubs_that_a_client_does_not_listen_to_takes_no_place_and_wakes_nobody() {
    let (outbox, bell) = (Outbox::new(&FORM, LIMITS, WINDOW), Arc::new(Bell::default()));
    let on_news = ChannelFilter { hubs: Some(vec!["news".into()]), ..ChannelFilter::default() };
    let (mut feed, _) = outbox.attach(Resume::Waiting, on_news, Arc::new(Bracketed));
    poll_with(&mut feed, &Arc::clone(&bell).into());
    let says = |outbox: &Arc<Outbox>| {
        let pushes =
            [outbox.push(&message("a")), outbox.push_in(&message("a"), &mut FlushScheduler::default().batch())];
        [pushes[0], pushes[1], outbox.pass_over(&call("a"))]
    };
    assert_eq!((says(&outbox), outbox.tail(), bell.rings()), ([Push::Unheard; 3], 0, 0));
    drop(feed);
    assert_eq!((says(&outbox), outbox.tail()), ([Push::Unheard; 3], 0), "away, it is as it was there");
    let in_room = call("b").with_source(Source::Group(GroupKey::new(&"chat".into(), &"room".into())));
    assert_eq!(outbox.push(&SharedMessage::new(in_room)), Push::Queued, "a room is heard on any hub");
    drop(attach(&outbox));
    assert_eq!((says(&outbox), outbox.tail()), ([Push::Queued; 3], 4));
}
